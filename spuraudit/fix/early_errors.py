"""The training images that an early model gets wrong: what JTT repeats, and what SCGS starts from.

A model that is trained to the end makes few errors on its own training images, and they say little. After one or two
epochs the errors are the images that the easiest feature gets wrong. JTT's authors collect the predictions of epoch T
while it is trained (training mode, weights that still change, augmented images); here the early model is asked once,
after its epochs, in eval mode and on images as they are stored.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from spuraudit.errors import FixError, ModelError
from spuraudit.fix.head import find_head
from spuraudit.fix.methods.base import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spuraudit.data.dataset import ImageRow
    from spuraudit.fix.job import Job
    from spuraudit.fix.settings import Start
    from spuraudit.models.model import Model

#: One image repeated is memorised, not learned from.
FEWEST = 2
#: Share of the training images. A shortcut's minority is 3 to 5 % in the usual datasets; networks trained to the end on
#: 97 % correlated shapes still got 0.1 to 0.7 % wrong, and not these.
ENOUGH = 0.02
#: Methods that work on errors: none of them helps where another one finds none.
OF_ERRORS = ("jtt", "scgs")
_TOO_MANY = 0.5


class EarlyOptions(Options):
    """Of methods that work on the errors of an early model."""

    early_start: Literal["auto", "new-head", "scratch", "model"] = Field(
        default="auto",
        description="Where the early model begins. auto: where the fix begins; where that is the delivered model, its "
        "own errors are taken if it gets 2 % of the training images wrong, else those of a model with a new head.",
    )
    early_epochs: float = Field(
        default=1.0,
        ge=0,
        description="Of plain training, with the fix's own settings, before its errors are taken. 1 from pretrained "
        "weights (measured on Waterbirds photos), 2 for a small network from scratch; JTT: 60 of 300 (Waterbirds, SGD "
        "1e-5), 1 of 50 (CelebA). 0, with early_start=model: the delivered model's own errors.",
    )

    @model_validator(mode="after")
    def _untrained_models_err_at_random(self) -> Self:
        if self.early_epochs == 0 and self.early_start != "model":
            raise ValueError("early_epochs=0 asks a model that has not learned anything; it needs early_start=model")
        return self


@dataclass(frozen=True, eq=False)
class EarlyErrors:
    """An early model and the training images it gets wrong, in their order.

    job: the fix's, with the early model's start, so that its `class_map` is the early model's.
    """

    model: Model
    job: Job
    rows: tuple[ImageRow, ...]
    notes: tuple[str, ...]


def early_start(job: Job, options: EarlyOptions) -> Start:
    """Where the early model begins."""
    if options.early_start != "auto":
        return options.early_start
    return "new-head" if job.start == "model" else job.start


def lacks_early(job: Job, options: EarlyOptions) -> str | None:
    """Why no early model can be trained; None where it can."""
    if early_start(job, options) != "new-head":
        return None
    try:
        find_head(job.model)
    except ModelError as error:
        return f"{error.message} Its early model cannot get a new head; early_start=scratch or model needs none."
    return None


def _asked(job: Job, options: EarlyOptions) -> tuple[Model, Job, tuple[ImageRow, ...], str]:
    """The model whose errors are taken, the job with its start, the errors, and its name for people."""
    start, epochs = early_start(job, options), options.early_epochs
    if epochs == 0 or (options.early_start == "auto" and job.start == "model"):
        wrong = _wrong(replace(job, start="model"), job.model)
        if epochs == 0 or len(wrong) >= max(FEWEST, ENOUGH * len(job.train)):
            return job.model, replace(job, start="model"), wrong, "the delivered model"
    model, asked = job.early(start, epochs), replace(job, start=start)
    whose = f"a model after {epochs:g} epoch{'' if epochs == 1 else 's'} from {start}"
    return model, asked, _wrong(asked, model), whose


def _wrong(job: Job, model: Model) -> tuple[ImageRow, ...]:
    answers = job.predicted(model, job.train).tolist()
    return tuple(row for row, answer in zip(job.train, answers, strict=True) if answer != row.label)


def errors_of(job: Job, options: EarlyOptions, method: str) -> EarlyErrors:
    """Train the early model, or take the one that is there, and ask it about the training images.

    Raises FixError for fewer than two errors.
    """
    # The catalogue imports every method, and so this module.
    from spuraudit.fix.catalogue import works_instead

    model, asked, wrong, whose = _asked(job, options)
    if len(wrong) < FEWEST:
        count = "no misclassified training images" if not wrong else "a single misclassified training image"
        raise FixError(
            f"{count}: {method} has nothing to work with ({whose} was asked about {len(job.train)}).",
            f"An earlier model errs more (early_start, early_epochs); where no image contradicts the shortcut, "
            f"none does. {works_instead(job, *OF_ERRORS)}",
        )
    return EarlyErrors(model, asked, wrong, _notes(job, wrong, whose))


def _notes(job: Job, wrong: Sequence[ImageRow], whose: str) -> tuple[str, ...]:
    names = [info.name for info in job.dataset.classes]
    notes = [
        f"Errors of {whose}, asked in eval mode about images as they are stored: {len(wrong)} of {len(job.train)} "
        f"training images. By class: {_shares((names[r.label] for r in wrong), (names[r.label] for r in job.train))}."
    ]
    if any(row.group for row in job.train):
        grouped = _shares((row.group or "no group" for row in wrong), (row.group or "no group" for row in job.train))
        notes.append(f"Errors by group: {grouped}.")
    if len(wrong) > _TOO_MANY * len(job.train):
        notes.append(
            f"Warning: {whose} gets {len(wrong) / len(job.train):.0%} of the training images wrong: it has learned "
            "too little for its errors to mean anything. More early_epochs, or a larger lr, would help."
        )
    return tuple(notes)


def _shares(some: Iterable[str], of: Iterable[str]) -> str:
    counts, wholes = Counter(some), Counter(of)
    return ", ".join(f"{name} {counts[name]} of {wholes[name]}" for name in sorted(wholes))
