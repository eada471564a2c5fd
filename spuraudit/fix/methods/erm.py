"""Plain cross-entropy: what every fix is compared with, and a way to train a model that does not exist yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from spuraudit.fix.job import Prepared
from spuraudit.fix.methods.base import Method

if TYPE_CHECKING:
    from spuraudit.fix.job import Job


@dataclass(frozen=True)
class Erm(Method):
    """Empirical risk minimisation."""

    name: ClassVar[str] = "erm"
    title: ClassVar[str] = "plain training"
    source: ClassVar[str] = "cross-entropy, no repair"
    needs: ClassVar[str] = "nothing"

    def lacks(self, job: Job) -> str | None:
        """Nothing."""
        del job
        return None

    def prepare(self, job: Job) -> Prepared:
        """The start, as it is."""
        return Prepared(job.started())
