"""The record of one scan: what was asked, of which model, on which data, and what came out.

`scan.json` is this, as JSON. It is the interface between measuring and everything after it: gates, reports and
comparisons read a record and never a model. Proportions are in 0..1, RCS in -1..1, drops and gaps in accuracy as
differences of proportions (0.25 = 25 points). The order of fields is part of the file format.
"""

from __future__ import annotations

from math import inf
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from spuraudit.record.base import Count, Interval, Number, Part
from spuraudit.record.geometry import Preprocess
from spuraudit.record.units import lowest

SCHEMA_VERSION = "1.1"

Scalar = str | int | float | bool | None
Scope = dict[str, str | int | float]
Role = Literal["core", "spurious", "background", "unnamed"]

_ROUNDING = 1e-9
#: In classes of unequal size single images weigh more than 1 in these (`audits.labels`), so a resample may too.
_WIDE = frozenset(f"{shown}_mean_label_false_alarm_drop" for shown in ("core", "spurious"))


class ToolRecord(Part):
    """The program that made the record."""

    name: Literal["spuraudit"] = "spuraudit"
    version: str


class RunInfo(Part):
    """One execution."""

    id: str = Field(description="First 16 hex digits of the plan's sha256.")
    plan_sha256: str = Field(description="Model, data, audits, parameters and seed: equal plans, equal numbers.")
    started: str = Field(description="UTC, ISO 8601.")
    seconds: float = Field(ge=0, description="Wall-clock seconds of this call; a resumed run counts the last call.")
    resumed_parts: int = Field(ge=0, description="Parts of observations that an earlier, interrupted call had left.")
    argv: list[str] = Field(description="The command line, without folders of the machine it ran on.")
    seed: int


class TextHead(Part):
    """The classifier of a zero-shot model: mean text embedding of every class name in every template."""

    class_names: str = Field(description="Where the names come from.")
    templates: str = Field(description="Name of the set, or of its file.")
    prompts: int = Field(description="Templates per class.")
    sha256: str = Field(description="Of class names and templates, in order.")


class ModelRecord(Part):
    """The network that was audited."""

    name: str
    source: Literal["file", "timm", "hf-hub", "local-dir", "open_clip", "code"]
    file: str | None = Field(default=None, description="File name without folder.")
    sha256: str | None = Field(default=None, description="Of the file; of the weights in memory for a timm name.")
    size_bytes: int | None = None
    arch: str
    arch_origin: str = Field(description="'--arch', 'checkpoint', 'name', or how it was identified.")
    kwargs: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    parameters: int
    num_classes: int = Field(description="Number of outputs.")
    head: Literal["softmax", "sigmoid"] = Field(
        default="softmax", description="sigmoid: every output is a label of its own, given or not."
    )
    text_head: TextHead | None = Field(default=None, description="Of a zero-shot classifier.")
    preprocess: Preprocess
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    notes: list[str] = Field(default_factory=list, description="What a reader must know of how it was loaded.")


class ClassRecord(Part):
    """A class of the dataset and what the model calls it."""

    index: int
    name: str
    outputs: list[int] = Field(description="Model outputs that count as this class.")
    images: int = Field(description="Images of the class in the audited split (after --limit).")


class FeatureRecord(Part):
    """An annotated visual attribute."""

    name: str
    role: Literal["core", "spurious"]
    classes: list[str] | None = Field(default=None, description="Classes it belongs to; null = every class.")
    masks: int = Field(description="Masks in the audited split (after --limit).")


class DataRecord(Part):
    """The photos and masks that were used."""

    name: str
    source: str = Field(description="As typed, without folders of the machine.")
    layout: str
    fingerprint: str = Field(description="sha256 over ids, labels, splits, groups, mask names and byte sizes.")
    split: str | None = None
    donor_split: str | None = Field(default=None, description="Where region swap and patch swap take donors from.")
    images: Count = Field(description="Images audited.")
    available: int = Field(description="Images in the audited split before --limit.")
    classes: list[ClassRecord]
    features: list[FeatureRecord]
    groups: list[str] = Field(default_factory=list)
    licence: str | None = None
    notes: list[str] = Field(default_factory=list)


class Measurement(Part):
    """One number with its n and interval.

    `scope` is empty for the whole dataset. Keys: class, feature, group, donor_class (names), sigma (float),
    cell (1-based, row-major), row, column (1-based), rows, columns, target_class.
    """

    metric: str
    definition: str
    scope: Scope = Field(default_factory=dict)
    value: Number | None
    reason: str | None = Field(default=None, description="Why value is null.")
    n: Count = Field(description="Images behind the number.")
    ci: Interval | None = Field(default=None, description="95 % interval.")
    ci_method: str | None = None
    flags: list[str] = Field(default_factory=list, description="'saturated': RCS is 1 or -1 by arithmetic only.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        low = lowest(self.metric)
        _check_value("value", self.value, self.metric, low)
        _check_interval("ci", self.ci, self.value, self.metric, -inf if self.metric in _WIDE else low)
        return self


class Panel(Part):
    """One picture of an exhibit."""

    kind: Literal["image", "region", "noised", "control", "same", "other", "swapped"]
    file: str = Field(description="Path inside the run folder, with forward slashes.")
    width: int
    height: int
    alt: str = Field(description="Text alternative.")
    caption: str = Field(description="A few words under the picture, such as 'noised: 12 % monarch'.")
    donor: str | None = Field(default=None, description="Id of the image that lent pixels.")
    donor_class: str | None = Field(default=None, description="Its class.")


class Exhibit(Part):
    """Pictures of one image that back a finding."""

    image: str = Field(description="Image id.")
    class_name: str
    panels: list[Panel]
    role: Literal["example", "counterexample"] = Field(
        default="example", description="counterexample: answered right with and without the change."
    )


class Cell(Part):
    """A rectangle of the model's input, for findings that have no name."""

    number: int = Field(description="1-based, row-major.")
    row: int = Field(description="1-based from the top.")
    column: int = Field(description="1-based from the left.")
    rows: int
    columns: int


class Finding(Part):
    """A tested feature or region: how much the model depends on it, beyond its control, and how sure that is.

    `effect` is in accuracy (feature_drop: drop - control drop; region_swap: accuracy with same-class donors minus
    accuracy with other-class donors) or in predictive probability (patch_swap: certainty unperturbed - swapped).
    """

    id: str = Field(description="'F001': rank in the list, most serious first.")
    fingerprint: str = Field(description="Stable across models and retraining: audit, data, class, feature.")
    audit: Literal["feature_drop", "region_swap", "patch_swap"]
    suspected: bool = Field(
        strict=True, description="Not core, effect > 0 and q <= 0.05. The others were tested and cleared."
    )
    class_name: str
    target_class: str | None = Field(default=None, description="Patch swap: the class of the pasted patches.")
    feature: str = Field(description="Name of the feature, 'background', or 'cell 43'.")
    role: Role
    effect: Number
    effect_ci: Interval
    n: Count = Field(description="Images (patch swap: source images).")
    p: Number = Field(ge=0, le=1)
    q: Number = Field(ge=0, le=1, description="Benjamini-Hochberg over the audit's family.")
    numbers: dict[str, Number | None] = Field(
        description="feature_drop: clean, noised, drop, control, control_drop, p_clean. region_swap: clean, same, "
        "other, gap, pull. patch_swap: unperturbed, swapped, drop, consistency, mean_absolute_change, plain_drop "
        "(without dropout).",
    )
    cell: Cell | None = None
    flags: list[str] = Field(default_factory=list, description="Reasons to read it with care, one sentence each.")
    exhibits: list[Exhibit] = Field(default_factory=list)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _check_value("effect", self.effect, self.id, -1)
        _check_interval("effect_ci", self.effect_ci, self.effect, self.id, -1)
        return self


class PatchCurve(Part):
    """Patch swap of one source image: certainty in its class over the cells (Hagos et al. 2022, figures 3 and 4).

    Lists have one entry per cell in the order of the cells' numbers; null = not asked. Values are mean softmax
    probabilities of the source's class, over MC-dropout passes (`plain_`: one pass without dropout) and over targets.
    """

    image: str = Field(description="Id of the source image.")
    class_name: str
    target_class: str
    rows: int = Field(description="Of the grid.")
    columns: int
    unperturbed: float
    plain_unperturbed: float
    certainty: list[float | None]
    plain_certainty: list[float | None]
    targets: list[int] = Field(description="Target images behind each cell's mean; an adaptive search drops cells.")
    argmin: int = Field(description="Number of the cell with the lowest certainty.")
    plain_argmin: int = Field(description="The same without dropout; an adaptive search looks among the cells it left.")
    settled: bool | None = Field(
        default=None,
        description="Adaptive search: whether every other cell that was left was excluded at the stated confidence.",
    )


class AuditRecord(Part):
    """An audit that was run, or why it was not."""

    name: Literal["noise", "feature_drop", "region_swap", "patch_swap"]
    status: Literal["run", "skipped"]
    reason: str | None = Field(default=None, description="Why it was skipped, and what it would need.")
    params: dict[str, str | int | float | bool | list[float] | list[str] | None] = Field(default_factory=dict)
    images: int = Field(default=0, description="Images it asked questions about.")
    passes: int = Field(
        default=0, description="Passes behind its rows; MC-dropout passes count each, though they share most work."
    )
    notes: list[str] = Field(default_factory=list, description="What a reader must know: injected dropout, fallbacks.")
    unmeasured: list[str] = Field(
        default_factory=list,
        description="Classes that it was to measure and could not, at least not with every target.",
    )


class Exclusion(Part):
    """Images or masks that are not behind the numbers."""

    reason: str
    n: int
    examples: list[str]


class Notice(Part):
    """Something that does not stop the scan and that a reader must know."""

    code: str = Field(pattern=r"^SPA\d{3}$")
    text: str


class Environment(Part):
    """Where it ran."""

    python: str
    platform: str
    device: str
    packages: dict[str, str]


class ObservationPart(Part):
    """One Parquet file of observations."""

    file: str
    sha256: str
    rows: int


class ScanRecord(Part):
    """The whole record; see the module's text for units."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/scan"] = Field(default="spuraudit/scan", alias="schema")
    schema_version: str = SCHEMA_VERSION
    tool: ToolRecord
    run: RunInfo
    model: ModelRecord
    data: DataRecord
    audits: list[AuditRecord]
    definitions: dict[str, str] = Field(description="What the numbers of each definition id are, in words.")
    measurements: list[Measurement]
    findings: list[Finding] = Field(description="Ranked; suspected ones first, then by the lower end of effect_ci.")
    curves: list[PatchCurve] = Field(
        default_factory=list, description="Of the first source images of each class pair; all are in the observations."
    )
    exclusions: list[Exclusion] = Field(default_factory=list)
    warnings: list[Notice] = Field(default_factory=list)
    environment: Environment
    observations: list[ObservationPart]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Numbers rest on images of the dataset, and say what they are."""
        images, defined = self.data.images, self.definitions
        for place, one in enumerate(self.measurements):
            if one.n > images:
                raise ValueError(f"measurements.{place}: n {one.n} of {one.metric} is more than {_of(images)}")
            if one.definition not in defined:
                raise ValueError(
                    f"measurements.{place}: definition {one.definition!r} of {one.metric} is not among definitions"
                )
        for place, finding in enumerate(self.findings):
            if finding.n > images:
                raise ValueError(f"findings.{place}: n {finding.n} of {finding.id} is more than {_of(images)}")
        return self


def _of(images: int) -> str:
    return f"the {images} images of the data"


def _check_value(field: str, value: float | None, name: str, low: float) -> None:
    """Raises ValueError for a number outside the range of its unit."""
    if value is not None and not low - _ROUNDING <= value <= 1 + _ROUNDING:
        raise ValueError(f"{field} {value} of {name} is outside {low} to 1")


def _check_interval(field: str, ci: Interval | None, value: float | None, name: str, low: float) -> None:
    """Raises ValueError for ends that are swapped, outside low..1, or do not hold the value.

    Every interval of `stats.intervals` holds the value that it is of. low: -inf where ends have no range.
    """
    if ci is None:
        return
    start, end = ci
    if start > end:
        raise ValueError(f"{field} [{start}, {end}] of {name} ends below its start")
    if low > -inf and not low - _ROUNDING <= start <= end <= 1 + _ROUNDING:
        raise ValueError(f"{field} [{start}, {end}] of {name} is outside {low} to 1")
    if value is not None and not start - _ROUNDING <= value <= end + _ROUNDING:
        raise ValueError(f"{field} [{start}, {end}] of {name} does not hold its value {value}")
