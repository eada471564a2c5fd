"""Parts of the record of a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.fix import LossMean, MethodRecord, TrainedArm, ValidationPoint
from spuraudit.record.folder import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.fix.curve import Curve
    from spuraudit.fix.methods.base import Method


def method_record(method: Method) -> MethodRecord:
    """The method with all options, and what says so of each default."""
    given = method.options.model_fields_set
    fields = type(method.options).model_fields
    return MethodRecord(
        name=method.name,
        options=method.options.model_dump(mode="json"),
        sources={name: "given" if name in given else field.description or "" for name, field in fields.items()},
        paper=method.source,
    )


def trained_arm(name: str, checkpoint: Path, curve: Curve, measure: str | None) -> TrainedArm:
    """A training's curve and its files, all in the folder of the fix. measure: what validation gave."""
    folder = checkpoint.parent
    selected = curve.epochs[curve.best].step if curve.best is not None else curve.steps
    return TrainedArm(
        run=name,
        record_sha256=sha256_of(folder / name / "scan.json"),
        checkpoint=checkpoint.name,
        checkpoint_sha256=sha256_of(checkpoint),
        seconds=round(curve.seconds, 3),
        cpu_seconds_per_step=round(curve.cpu_seconds / curve.steps, 6) if curve.steps else None,
        losses=[LossMean(step=epoch.step, terms=epoch.terms) for epoch in curve.epochs],
        validation=[
            ValidationPoint(step=epoch.step, measures={measure: epoch.validation})
            for epoch in curve.epochs
            if epoch.validation is not None and measure is not None
        ],
        selected_step=selected,
        stopped_early=curve.stopped,
    )
