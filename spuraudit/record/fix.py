"""The record of one fix: what was trained, from what, beside which control, and what the scans of both say.

FIX/fix.json                 this; written last: without it the fix is unfinished
FIX/before/, control/, fixed/  ordinary run folders (`record.folder`) of the held-out images
FIX/fixed.safetensors, control.safetensors
FIX/report.html

A method is credited with what exceeds its control, which had the same start, steps, seed and data: `credit`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ConfigDict, Field

from spuraudit.errors import RunError
from spuraudit.record.base import Part
from spuraudit.record.comparison import Comparison, Interval
from spuraudit.record.folder import read_json
from spuraudit.record.scan import Environment, ModelRecord, Scope, ToolRecord

FIX_SCHEMA_VERSION = "1.1"
RECORD = "fix.json"

Outcome = Literal["gained", "nothing", "lost", "unknown"]


class MethodRecord(Part):
    """The method, with everything that it was told or assumed."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict, description="Plain values; defaults resolved.")
    sources: dict[str, str] = Field(
        default_factory=dict, description="Per option, where its default comes from; 'given' where it was asked for."
    )
    paper: str | None = Field(default=None, description="What describes the method.")


class SplitRecord(Part):
    """Images that served one purpose."""

    split: str | None = Field(description="Name in the dataset; null = part of another split, see `held_out_how`.")
    images: int = Field(ge=0)


class FixData(Part):
    """The photos, and which of them were for what. Held-out images were never trained on and chose nothing."""

    name: str
    fingerprint: str
    train: SplitRecord
    validation: SplitRecord
    held_out: SplitRecord
    held_out_how: str = Field(description="One sentence.")


class LossMean(Part):
    """Means of the loss and its terms over the steps since the last entry."""

    step: int = Field(ge=0)
    terms: dict[str, float]


class ValidationPoint(Part):
    """Measures on the validation images after a step, proportions (RCS in -1..1)."""

    step: int = Field(ge=0)
    measures: dict[str, float | None]


class StartArm(Part):
    """The model as it was delivered."""

    run: str = Field(description="Run folder inside the fix's, with forward slashes.")
    record_sha256: str = Field(description="Of the run folder's scan.json.")


class TrainedArm(StartArm):
    """A training and the scan of what it left."""

    checkpoint: str = Field(description="File inside the fix's folder.")
    checkpoint_sha256: str
    seconds: float = Field(ge=0, description="Wall-clock seconds of the training.")
    cpu_seconds_per_step: float | None = Field(default=None, ge=0)
    losses: list[LossMean]
    validation: list[ValidationPoint] = Field(default_factory=list)
    selected_step: int = Field(ge=0, description="The step whose weights the checkpoint holds.")
    stopped_early: str | None = Field(default=None, description="Why it ended before its steps were done.")


class Arms(Part):
    """What stands beside each other."""

    before: StartArm | None = Field(description="null where training began with a new head or from scratch.")
    control: TrainedArm = Field(description="Plain cross-entropy: same start, steps, seed and data.")
    fixed: TrainedArm


class Comparisons(Part):
    """Paired, on the held-out images."""

    fixed_before: Comparison | None = None
    control_before: Comparison | None = None
    credit: Comparison = Field(description="From the control to the fixed model: what the method may be credited with.")


class FixVerdict(Part):
    """What the method gained beyond its control, by the measure that it was judged with."""

    metric: str
    scope: Scope = Field(default_factory=dict)
    outcome: Outcome = Field(description="By the 95 % interval: all above 0, on both sides of it, or all below.")
    gain: float | None = None
    ci: Interval | None = None
    n: int = 0
    reason: str | None = Field(default=None, description="Why nothing can be said.")


class FixRecord(Part):
    """The whole record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/fix"] = Field(default="spuraudit/fix", alias="schema")
    schema_version: str = FIX_SCHEMA_VERSION
    tool: ToolRecord
    argv: list[str] = Field(description="The command line, without folders of the machine it ran on.")
    started: str = Field(description="UTC, ISO 8601.")
    seconds: float = Field(ge=0, description="Wall-clock seconds of this call.")
    method: MethodRecord
    training: dict[str, Any] = Field(description="Optimiser, schedule, precision and the like, as resolved.")
    start: Literal["model", "new-head", "scratch"]
    model: ModelRecord = Field(description="The delivered model; its file was not touched.")
    data: FixData
    seed: int
    steps: int = Field(ge=0, description="Planned, of each arm.")
    beyond: str | None = Field(
        default=None, description="Images beyond those of its control that the method learned from, as words."
    )
    arms: Arms
    comparisons: Comparisons
    verdict: FixVerdict
    environment: Environment
    notes: list[str] = Field(default_factory=list, description="Sentences, such as the first value of a loss.")


#: What a fix is judged by: the first that both scans measured.
DECIDING = ("worst_group_accuracy", "core_accuracy", "clean_accuracy")


def deciding_verdict(credit: Comparison) -> FixVerdict:
    """By worst-group accuracy where there are groups, else by core accuracy, else by clean accuracy."""
    found = [change for metric in DECIDING if (change := credit.overall(metric)) is not None]
    return verdict_of(credit, found[0].metric, found[0].scope) if found else verdict_of(credit, DECIDING[-1], {})


def verdict_of(credit: Comparison, metric: str, scope: Scope) -> FixVerdict:
    """What the comparison of control and fixed model says about one measure, such as worst_group_accuracy or rcs."""
    change = credit.of(metric, scope)
    if change is None:
        return FixVerdict(metric=metric, scope=scope, outcome="unknown", reason=f"The scans did not measure {metric}.")
    if change.change is None or change.ci is None or change.direction is None:
        reason = change.reason or f"{metric} is good neither high nor low."
        return FixVerdict(metric=metric, scope=scope, outcome="unknown", n=change.n, reason=reason)
    outcomes: dict[str, Outcome] = {"better": "gained", "worse": "lost", "unclear": "nothing"}
    return FixVerdict(
        metric=metric,
        scope=scope,
        outcome=outcomes[change.direction],
        gain=change.change,
        ci=change.ci,
        n=change.n,
    )


def read_fix(folder: Path) -> FixRecord:
    """The record of a finished fix: `folder` or its fix.json.

    Raises RunError: no fix here, unfinished, not JSON, another version, an invalid field, a path that leads outside.
    """
    folder = folder.parent if folder.name == RECORD and folder.is_file() else folder
    file = folder / RECORD
    if not file.is_file():
        raise RunError(
            f"{folder}: no finished fix here (no {RECORD}).",
            "Give a folder that `spuraudit fix` wrote; the same command again resumes an unfinished one.",
        )
    foreign = RunError(f"{file}: not the record of a fix.", "Give a folder that `spuraudit fix` wrote.")
    record = read_json(file, FixRecord, "run the fix again", foreign)
    arms = record.arms
    inside = [arms.control.run, arms.control.checkpoint, arms.fixed.run, arms.fixed.checkpoint]
    for name in (*inside, *([arms.before.run] if arms.before is not None else [])):
        parts = PurePosixPath(name)
        if not name or parts.is_absolute() or not (folder / parts).resolve().is_relative_to(folder.resolve()):
            raise RunError(f"{file}: {name!r} lies outside the fix's folder.", "Run the fix again.")
    return record
