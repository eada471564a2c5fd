"""What changed between two scans of the same images by two models: paired changes, and what became of each shortcut.

Units are those of the measurements (`record.scan`): proportions in 0..1, a change of accuracy as a difference of
proportions (0.25 = 25 points), always after minus before.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from spuraudit.record.base import Part
from spuraudit.record.scan import Cell, Role, Scope

COMPARISON_SCHEMA_VERSION = "1.1"

Direction = Literal["better", "worse", "unclear"]
State = Literal["repaired", "reduced", "unchanged", "worse", "gone", "new"]
Interval = tuple[float, float]


class Change(Part):
    """One number before and after, and how it changed on the same images."""

    metric: str
    scope: Scope = Field(default_factory=dict)
    definition: str
    before: float | None
    after: float | None
    before_ci: Interval | None = Field(default=None, description="95 % interval of the number before.")
    after_ci: Interval | None = None
    change: float | None = Field(description="After minus before; null where one of the two is undefined.")
    ci: Interval | None = Field(default=None, description="95 % interval of the change, paired over images.")
    ci_method: str | None = None
    reason: str | None = Field(default=None, description="Why change is null.")
    p: float | None = Field(default=None, description="Exact sign-flip over images; null where scores are no counts.")
    q: float | None = Field(default=None, description="Benjamini-Hochberg over all changes of the metric.")
    n: int = Field(ge=0, description="Images behind it.")
    direction: Direction | None = Field(
        description="'better' or 'worse' where the interval excludes 0; null for a metric that is good neither high "
        "nor low: spurious accuracy, which RCS weighs against core accuracy, and drops of core features."
    )
    worst: tuple[str, str] | None = Field(default=None, description="Worst-group accuracy: the group before and after.")


class Shortcut(Part):
    """A tested feature or region that is not the object: how much either model depends on it.

    `effect` is that of the finding (`record.scan.Finding`), 0 = no dependence. States, the first that holds:
    worse: it grew with q <= 0.05, suspected before or not. repaired: suspected before, fell by two thirds or more, and
    the interval of the change excludes 0. reduced: suspected before, the interval excludes 0, but less fell. new:
    suspected after and not before, without a growth that is sure. gone: suspected before and not after, without a fall
    that is sure. unchanged: everything else.
    """

    audit: Literal["feature_drop", "region_swap", "patch_swap"]
    class_name: str
    target_class: str | None = None
    feature: str
    role: Role
    cell: Cell | None = None
    suspected: tuple[bool, bool] = Field(description="Before and after.")
    before: float | None = Field(description="Effect; null where that run did not ask.")
    before_ci: Interval | None = None
    after: float | None
    after_ci: Interval | None = None
    change: float | None
    ci: Interval | None = None
    p: float | None = None
    q: float | None = Field(default=None, description="Benjamini-Hochberg over the shortcuts of the audit.")
    n: int = Field(ge=0, description="Images behind the change.")
    state: State


class ComparedRun(Part):
    """One of the two scans."""

    run_id: str
    record_sha256: str = Field(description="Of its scan.json.")
    model: str
    model_sha256: str | None = None


class Comparison(Part):
    """Two scans of the same images, settings and definitions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/comparison"] = Field(default="spuraudit/comparison", alias="schema")
    schema_version: str = COMPARISON_SCHEMA_VERSION
    before: ComparedRun
    after: ComparedRun
    data: str
    data_fingerprint: str = Field(description="Of the run before.")
    split: str | None = None
    images: int
    same_model: bool = Field(
        default=False,
        description="Weights, network, preprocessing and outputs of the classes are equal: nothing can have changed.",
    )
    preprocessing: str | None = Field(
        default=None, description="What differs in how the images are shown, the run before first; null if nothing."
    )
    changes: list[Change]
    shortcuts: list[Shortcut] = Field(description="Worst first: by state, then by the change.")
    notes: list[str] = Field(default_factory=list, description="What a reader must know, one sentence each.")

    def overall(self, metric: str) -> Change | None:
        """The change of a metric over all images, at the smallest sigma where there are several."""
        found = [one for one in self.changes if one.metric == metric and not set(one.scope) - {"sigma"}]
        return min(found, key=lambda one: float(one.scope.get("sigma", 0)), default=None)

    def of(self, metric: str, scope: Scope) -> Change | None:
        """The change of a metric with exactly this scope."""
        return next((one for one in self.changes if one.metric == metric and one.scope == scope), None)
