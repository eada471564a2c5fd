"""What an audit is: questions about images, how to show each, and what the answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from spuraudit.record.limits import BLANK_SHARE as BLANK_SHARE
from spuraudit.record.limits import SUSPECT_Q as SUSPECT_Q

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from spuraudit.audits.rows import Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.record.scan import AuditRecord, Exclusion, Finding, Measurement, PatchCurve

CLEAN = "clean"
BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class Question:
    """One answer wanted: an image under a condition. `donor` is the id of the image that lends pixels."""

    condition: str
    trial: int = 0
    donor: str | None = None
    donor_label: int = -1


class Shown(NamedTuple):
    """What the model sees for some questions about one image.

    pixels (N, 3, H, W) in [0, 1]. Where the audit needs them later: energy (N,) L2 norm of the change; region_share
    (N,) mean over the image of the soft region that was changed; core_share (N,) mean of the core mask in the swapped
    cell.
    """

    pixels: Tensor
    energy: Tensor | None = None
    region_share: Tensor | None = None
    core_share: Tensor | None = None


@dataclass(frozen=True)
class Cohort:
    """The images of an audit, where their donors come from, and the model's input size."""

    dataset: Dataset
    rows: tuple[ImageRow, ...]
    donors: tuple[ImageRow, ...]
    #: The split they come from; None: the audited images' own.
    donor_split: str | None
    height: int
    width: int
    seed: int
    #: What else every number depends on (answers counted, precision); ends each definition id.
    suffix: str

    @property
    def donors_from(self) -> str:
        """Where donors come from, for definition ids."""
        return self.donor_split or "audited images"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(info.name for info in self.dataset.classes)


class Summary(NamedTuple):
    """What an audit concludes from its rows."""

    measurements: list[Measurement]
    findings: list[Finding]
    definitions: dict[str, str]
    record: AuditRecord | None = None
    exclusions: tuple[Exclusion, ...] = ()
    curves: tuple[PatchCurve, ...] = ()


class Audit(Protocol):
    """A kind of question. Adding one is one file in this folder and an entry in `audits.catalogue`."""

    def questions(self, row: ImageRow) -> list[Question]:
        """Everything asked about one image; empty where the audit has nothing to ask."""
        ...

    def show(self, sample: Sample, questions: Sequence[Question], donors: Mapping[str, Sample]) -> Shown:
        """The pixels of some of this image's questions, in their order."""
        ...

    def summarise(self, rows: Rows) -> Summary:
        """Measurements and findings: a pure function of the observations."""
        ...


@runtime_checkable
class Exhibiting(Audit, Protocol):
    """An audit whose findings can be shown on images."""

    def panels(self, finding: Finding, row: ImageRow) -> list[tuple[str, Question]]:
        """(panel kind, question) pairs that show the finding on this image."""
        ...

    def region(self, sample: Sample, finding: Finding) -> Tensor:
        """The part of the image a finding is about: (H, W) soft in [0, 1]."""
        ...


@runtime_checkable
class StochasticAudit(Audit, Protocol):
    """An audit whose answers are means over MC-dropout passes."""

    @property
    def passes(self) -> int:
        """Passes per question."""
        ...

    def mask_key(self, row: ImageRow, question: Question) -> int:
        """Key of the dropout masks of a question; questions with the same donor share it."""
        ...

    def donors(self, row: ImageRow) -> tuple[str, ...]:
        """Ids of all images that may lend pixels to this one."""
        ...

    def most_questions(self, row: ImageRow) -> int:
        """How many questions an image can lead to; as many as `questions` where nothing follows them."""
        ...

    def follow_up(self, row: ImageRow, certainty: Mapping[Question, float]) -> list[Question]:
        """What to ask next, given the answers to all questions so far; empty where the image is done."""
        ...
