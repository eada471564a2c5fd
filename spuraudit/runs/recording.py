"""Puts a finished scan into its record."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from spuraudit import __version__
from spuraudit.record.folder import sha256_of
from spuraudit.record.scan import (
    ClassRecord,
    DataRecord,
    Environment,
    Exclusion,
    FeatureRecord,
    Finding,
    Notice,
    ObservationPart,
    RunInfo,
    ScanRecord,
    ToolRecord,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.audits.base import Summary
    from spuraudit.runs.plan import Plan
    from spuraudit.runs.prepare import Scan

#: Notice of a scan of a model that cannot be told from chance.
NEAR_CHANCE = "SPA001"
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "pyarrow")


@dataclass(frozen=True)
class Execution:
    """Facts of this call."""

    argv: tuple[str, ...]
    started: str
    seconds: float
    resumed_parts: int
    parts: tuple[Path, ...]


def assemble(
    scan: Scan, plan: Plan, summaries: Sequence[Summary], findings: list[Finding], execution: Execution
) -> ScanRecord:
    """The record of a finished scan."""
    run = execution.parts[0].parent.parent
    definitions = {key: text for summary in summaries for key, text in summary.definitions.items()}
    return ScanRecord(
        tool=ToolRecord(version=__version__),
        run=RunInfo(
            id=plan.sha256[:16],
            plan_sha256=plan.sha256,
            started=execution.started,
            seconds=execution.seconds,
            resumed_parts=execution.resumed_parts,
            argv=[without_folders(argument) for argument in execution.argv],
            seed=scan.settings.seed,
        ),
        model=scan.model.record,
        data=_data(scan, plan),
        audits=[summary.record for summary in summaries if summary.record is not None] + list(scan.skipped),
        definitions=definitions,
        measurements=[m for summary in summaries for m in summary.measurements],
        findings=findings,
        curves=[curve for summary in summaries for curve in summary.curves],
        exclusions=[e for summary in summaries for e in summary.exclusions] + _left_out(scan),
        warnings=_notices(scan),
        environment=environment(str(scan.model.device)),
        observations=[
            ObservationPart(
                file=part.relative_to(run).as_posix(), sha256=sha256_of(part), rows=pq.read_metadata(part).num_rows
            )
            for part in execution.parts
        ],
    )


def without_folders(argument: str) -> str:
    """Records travel: no folder of this machine goes along."""
    if os.sep not in argument or argument.startswith("hf-hub:"):
        return argument
    source = re.match(r"((?:local-dir|zoo):|open_clip:[^,]*,)(.*)", argument)
    if source is not None:
        return source[1] + Path(source[2]).name
    name, sign, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if argument.startswith("-o"):
        name, value = "-o", argument[2:]
    return name + sign + Path(value).name


def without_folders_in(text: str) -> str:
    """The same of a message: of absolute paths the last part is left."""
    return re.sub(r"(?<![\w/.])/(?:[^\s/:'\"]+/)+", "", text)


def _data(scan: Scan, plan: Plan) -> DataRecord:
    dataset, rows = scan.dataset, scan.cohort.rows
    per_class = [0] * len(dataset.classes)
    masks: dict[str, int] = {}
    for row in rows:
        per_class[row.label] += 1
        for mask in row.masks:
            masks[mask.feature] = masks.get(mask.feature, 0) + 1
    names = scan.cohort.class_names
    return DataRecord(
        name=dataset.name,
        source=without_folders(dataset.origin.rstrip(os.sep)) or dataset.name,
        layout=dataset.layout,
        fingerprint=plan.data_fingerprint,
        split=scan.split,
        donor_split=scan.cohort.donor_split,
        images=len(rows),
        available=scan.available,
        classes=[
            ClassRecord(
                index=info.index,
                name=info.name,
                outputs=list(scan.class_map.outputs[info.index]),
                images=per_class[info.index],
            )
            for info in dataset.classes
        ],
        features=[
            FeatureRecord(
                name=feature.name,
                role=feature.role,
                classes=None if feature.classes is None else [names[index] for index in feature.classes],
                masks=masks.get(feature.name, 0),
            )
            for feature in dataset.features
        ],
        groups=sorted({row.group for row in rows if row.group is not None}),
        licence=dataset.licence,
        notes=list(dataset.notes),
    )


def _left_out(scan: Scan) -> list[Exclusion]:
    """What the dataset's layout left out before anything was asked."""
    return [Exclusion(reason=reason, n=n, examples=[]) for reason, n in scan.dataset.left_out.items() if n]


def _notices(scan: Scan) -> list[Notice]:
    found = []
    if scan.chance.near_chance:
        found.append(
            Notice(code=NEAR_CHANCE, text="Clean accuracy is near chance and the scan was made with --allow-chance.")
        )
    if len(scan.cohort.rows) < scan.available:
        text = f"Only {len(scan.cohort.rows)} of {scan.available} images were audited (--limit)."
        found.append(Notice(code="SPA002", text=text))
    counts = Counter(row.label for row in scan.cohort.rows)
    small = [info.name for info in scan.dataset.classes if counts[info.index] < 20]
    if small:
        listed = ", ".join(small[:5]) + (", ..." if len(small) > 5 else "")
        found.append(Notice(code="SPA003", text=f"Fewer than 20 audited images: {listed} ({len(small)} classes)."))
    if "region_swap" in scan.audits and scan.cohort.donor_split is None:
        text = "No train split with core masks: donors of the region swap are the audited images themselves."
        found.append(Notice(code="SPA004", text=text))
    if scan.better is not None:
        found.append(scan.better)
    if scan.precision_note is not None:
        found.append(Notice(code="SPA005", text=scan.precision_note))
    return found


def environment(device: str) -> Environment:
    """Python, system and packages that numbers may depend on. device: as torch names it."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        packages=packages,
    )
