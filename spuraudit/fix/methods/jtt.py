"""JTT: just train twice (Liu et al. 2021). The errors of an early model are repeated in a second training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from spuraudit.fix.early_errors import EarlyOptions, errors_of, lacks_early
from spuraudit.fix.feed import repeated
from spuraudit.fix.job import Prepared
from spuraudit.fix.methods.base import Method, Options

if TYPE_CHECKING:
    from spuraudit.fix.job import Job


class JttOptions(EarlyOptions):
    """Of `jtt`."""

    upweight: int = Field(
        default=20,
        ge=1,
        description="How many times more an error is drawn. The authors' script tries 20, 50 and 100; published are "
        "100 (Waterbirds) and 50 (CelebA), DISC's version has 10. 20 is for short trainings of a pretrained model.",
    )


@dataclass(frozen=True)
class Jtt(Method):
    """An error appears upweight + 1 times in an epoch; steps are the control's, so it makes fewer epochs."""

    name: ClassVar[str] = "jtt"
    title: ClassVar[str] = "just train twice"
    source: ClassVar[str] = "Liu et al. 2021; the authors' code"
    needs: ClassVar[str] = "training images that an early model gets wrong"
    options_type: ClassVar[type[Options]] = JttOptions

    def lacks(self, job: Job) -> str | None:
        """A layer for a new head, where the early model gets one. Whether there are errors shows when it is asked."""
        assert isinstance(self.options, JttOptions)
        return lacks_early(job, self.options)

    def prepare(self, job: Job) -> Prepared:
        """The errors, then the job's own start on the repeated images. Raises FixError for fewer than two errors."""
        options = self.options
        assert isinstance(options, JttOptions)
        errors = errors_of(job, options, self.name)
        rows = repeated(job.train, errors.rows, options.upweight)
        drawn = (1 + options.upweight) * len(errors.rows) / len(rows)
        note = f"Each error is drawn {1 + options.upweight} times as often: {drawn:.0%} of the images of a batch."
        return Prepared(job.started(), rows=rows, notes=(*errors.notes, note))
