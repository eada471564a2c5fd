"""Measurements as a tidy table: RFC 4180 CSV, one row per number, no thousands signs, empty where unknown."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from spuraudit.record.units import unit_of

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord

SCOPE = (
    "class",
    "feature",
    "group",
    "donor_class",
    "target_class",
    "sigma",
    "cell",
    "row",
    "column",
    "rows",
    "columns",
)
COLUMNS = (
    "run",
    "model",
    "model_sha256",
    "data",
    "data_fingerprint",
    "metric",
    "definition",
    "unit",
    *SCOPE,
    "value",
    "n",
    "ci_low",
    "ci_high",
    "ci_method",
    "flags",
    "reason",
)


def csv_text(record: ScanRecord) -> str:
    """Header and rows, CRLF line ends. Values are raw: proportions in 0..1, RCS in -1..1."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    common = {
        "run": record.run.id,
        "model": record.model.name,
        "model_sha256": record.model.sha256,
        "data": record.data.name,
        "data_fingerprint": record.data.fingerprint,
    }
    for item in record.measurements:
        writer.writerow(
            {
                **common,
                **{key: item.scope.get(key) for key in SCOPE},
                "metric": item.metric,
                "definition": item.definition,
                "unit": unit_of(item.metric),
                "value": item.value,
                "n": item.n,
                "ci_low": item.ci[0] if item.ci else None,
                "ci_high": item.ci[1] if item.ci else None,
                "ci_method": item.ci_method,
                "flags": ";".join(item.flags),
                "reason": item.reason,
            }
        )
    return out.getvalue()
