"""A record with a handful of measurements, for judging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import (
    AuditRecord,
    ClassRecord,
    DataRecord,
    Environment,
    FeatureRecord,
    Measurement,
    ModelRecord,
    RunInfo,
    ScanRecord,
    ToolRecord,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.scan import Scope


def measured(
    metric: str,
    value: float | None,
    *,
    n: int = 1000,
    ci: tuple[float, float] | None = None,
    scope: Scope | None = None,
    reason: str | None = None,
    flags: Sequence[str] = (),
) -> Measurement:
    """A measurement whose definition is `<metric>/1`."""
    return Measurement(
        metric=metric,
        definition=f"{metric}/1",
        scope=scope or {},
        value=value,
        reason=reason,
        n=n,
        ci=ci,
        ci_method="bootstrap" if ci else None,
        flags=list(flags),
    )


def record(
    *measurements: Measurement,
    images: int | None = None,
    audits: Sequence[AuditRecord] = (),
    classes: Sequence[str] = (),
    features: Sequence[FeatureRecord] = (),
    groups: Sequence[str] = (),
) -> ScanRecord:
    """A whole record around `measurements`; without `classes` those that they name."""
    images = max([1000, *(one.n for one in measurements)]) if images is None else images
    names = {measurement.metric for measurement in measurements}
    named = list(dict.fromkeys(str(one.scope["class"]) for one in measurements if "class" in one.scope))
    preprocess = Preprocess(
        geometry=Geometry(height=224, width=224, crop_pct=0.875), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    return ScanRecord(
        tool=ToolRecord(version="0.1.0"),
        run=RunInfo(
            id="0123456789abcdef",
            plan_sha256="0" * 64,
            started="2026-11-22T07:00:00Z",
            seconds=1.0,
            resumed_parts=0,
            argv=["scan", "m.pt"],
            seed=0,
        ),
        model=ModelRecord(
            name="m",
            source="file",
            file="m.pt",
            arch="resnet18",
            arch_origin="--arch",
            parameters=1,
            num_classes=2,
            preprocess=preprocess,
        ),
        data=DataRecord(
            name="birds",
            source="birds",
            layout="manifest",
            fingerprint="0" * 64,
            images=images,
            available=images,
            classes=[
                ClassRecord(index=place, name=name, outputs=[place], images=images)
                for place, name in enumerate(classes or named or ["monarch"])
            ],
            features=list(features),
            groups=list(groups),
        ),
        audits=list(audits),
        definitions={f"{name}/1": name for name in names},
        measurements=list(measurements),
        findings=[],
        environment=Environment(python="3.11", platform="linux", device="cpu", packages={}),
        observations=[],
    )
