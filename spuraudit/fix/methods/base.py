"""A method of fixing: what it needs, its options, and what it wants trained. One file each in this folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import ModelWrapValidatorHandler, model_validator

from spuraudit.record.base import Part

if TYPE_CHECKING:
    from spuraudit.fix.job import Job, Prepared


class Options(Part):
    """Of a method that has none. A method's own options are fields with defaults, each with its source described.

    `model_fields_set` holds what was given, whatever defaults a validator fills in that depend on another option.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _only_what_was_given(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(given)
        if isinstance(given, Mapping):
            made.model_fields_set.intersection_update(given)
        return made


@dataclass(frozen=True)
class Method(ABC):
    """name: as typed. title: for people, a few words. source: of the method, as it is cited. needs: in a few words."""

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str]
    #: Of a job's `from_run` and `annotations`, what it looks at.
    reads: ClassVar[tuple[str, ...]] = ()
    options_type: ClassVar[type[Options]] = Options

    options: Options

    def check_options(self, job: Job) -> None:
        """Before anything is trained: raises UsageError for options that would not be read, or cannot be met, here.

        FixError where a scan that was given to find the region suspects nothing.
        """
        region = getattr(self.options, "region", None)
        if region is not None:
            job.region(region)

    @abstractmethod
    def lacks(self, job: Job) -> str | None:
        """One sentence on what the data, or the model, lack for this method; None where it can begin."""

    @abstractmethod
    def prepare(self, job: Job) -> Prepared:
        """What is to be trained. Early models and new images are made here.

        Raises FixError where it turns out that there is nothing to work with (no errors, no samples).
        """


def images_with_core(job: Job) -> int:
    """Training images whose core mask is known."""
    return sum(row.has_core for row in job.train)


def classes_without_core(job: Job) -> list[str]:
    """Names of the classes of which no training image has a core mask."""
    known = {row.label for row in job.train if row.has_core}
    present = {row.label for row in job.train}
    return [info.name for info in job.dataset.classes if info.index in present - known]


def images_with_spurious(job: Job) -> int:
    """Training images of which an annotated spurious feature has a mask."""
    return sum(any(mask.role == "spurious" for mask in row.masks) for row in job.train)
