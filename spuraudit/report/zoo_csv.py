"""A zoo as tidy tables: RFC 4180 CSV, raw numbers (proportions in 0..1, RCS in -1..1), empty where unknown."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from spuraudit.record.zoo_folder import fingerprint_of
from spuraudit.report.zoo_evidence import FIGURES
from spuraudit.report.zoo_ranks import ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.compared import FeatureRow
    from spuraudit.record.scan import Measurement
    from spuraudit.report.zoo_evidence import AuditedModel, ZooEvidence

_PARTS = ("", "_ci_low", "_ci_high", "_n", "_published", "_difference")
ZOO_COLUMNS = (
    "id",
    "name",
    "group",
    "status",
    "sigma",
    *(f"{figure}{part}" for figure in FIGURES for part in _PARTS),
    "rcs_flags",
    "rcs_reason",
    "rank_clean",
    "rank_core",
    "rank_gain",
    "definition",
    "warnings",
    "precision",
    "spec",
    "licence",
    "model_sha256",
    "run",
    "data",
    "data_fingerprint",
    "reason",
)
FEATURE_COLUMNS = (
    "class",
    "feature",
    "role",
    "id",
    "drop",
    "drop_ci_low",
    "drop_ci_high",
    "control_drop",
    "excess",
    "excess_ci_low",
    "excess_ci_high",
    "n",
    "p",
    "q",
    "suspected",
)


def zoo_csv_text(evidence: ZooEvidence) -> str:
    """One row per model in the order of the zoo file; failed models carry their reason. CRLF line ends.

    `_difference` is measured minus published; `rank_gain` is the rank by clean minus the rank by core accuracy;
    `warnings` holds the code and text of every notice, with " | " between them.
    """
    audited = {model.entry.id: model for model in evidence.audited}
    places = ranks(evidence)
    rows = []
    for entry in evidence.zoo.models:
        row: dict[str, object] = {
            **{key: getattr(entry, key) for key in ("id", "name", "group", "status", "reason", "spec", "licence")},
            "data": evidence.zoo.data,
            "data_fingerprint": fingerprint_of(evidence.zoo, entry),
        }
        for figure in FIGURES:
            row[f"{figure}_published"] = getattr(entry.published, figure) if entry.published else None
        if entry.id in audited:
            row |= _measured(evidence, audited[entry.id])
        if entry.id in places:
            place = places[entry.id]
            row |= {"rank_clean": place.clean, "rank_core": place.core, "rank_gain": place.gain}
        rows.append(row)
    return _text(ZOO_COLUMNS, (tuple(map(row.get, ZOO_COLUMNS)) for row in rows))


def _measured(evidence: ZooEvidence, model: AuditedModel) -> dict[str, object]:
    row: dict[str, object] = {
        "sigma": evidence.sigma,
        "warnings": " | ".join(f"{notice.code} {notice.text}" for notice in model.record.warnings),
        "precision": model.record.model.precision,
        "model_sha256": model.record.model.sha256,
        "run": model.entry.run,
    }
    for figure in FIGURES:
        found = model.figure(figure, evidence.sigma)
        if found is not None:
            row |= _number(figure, found, getattr(model.entry.published, figure, None))
    rcs = model.figure("rcs", evidence.sigma)
    if rcs is not None:
        row |= {"rcs_flags": ";".join(rcs.flags), "rcs_reason": rcs.reason, "definition": rcs.definition}
    return row


def _number(figure: str, found: Measurement, published: float | None) -> dict[str, object]:
    low, high = found.ci or (None, None)
    known = found.value is not None and published is not None
    return {
        figure: found.value,
        f"{figure}_ci_low": low,
        f"{figure}_ci_high": high,
        f"{figure}_n": found.n,
        f"{figure}_difference": round(found.value - published, 6) if known else None,  # type: ignore[operator]
    }


def features_csv_text(evidence: ZooEvidence) -> str:
    """One row per (class, feature, model): sorted by class and feature, models in the order of the zoo file.

    `excess` = drop - control drop, over the images that could be compared with the control; `n` counts those.
    """
    rows = [
        (row.class_name, row.feature, place, model.entry.id, row)
        for place, model in enumerate(evidence.audited)
        for row in model.features
    ]
    rows.sort(key=lambda item: item[:3])
    return _text(FEATURE_COLUMNS, (_feature(name, row) for _, _, _, name, row in rows))


def _feature(name: str, row: FeatureRow) -> tuple[object, ...]:
    return (
        row.class_name,
        row.feature,
        row.role,
        name,
        row.drop,
        *(row.drop_ci or (None, None)),
        row.control_drop,
        row.excess,
        *row.excess_ci,
        row.n,
        row.p,
        row.q,
        "true" if row.suspected else "false",
    )


def _text(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
