"""JSON Schema (draft 2020-12) of the files in a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spuraudit.record.annotations import About
from spuraudit.record.comparison import Comparison
from spuraudit.record.fix import FixRecord
from spuraudit.record.fix_trials import FixTrials
from spuraudit.record.scan import ScanRecord
from spuraudit.record.verdict import AcceptedFindings, Verdict

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMAS: dict[str, type[BaseModel]] = {
    "scan": ScanRecord,
    "verdict": Verdict,
    "accepted": AcceptedFindings,
    "comparison": Comparison,
    "fix": FixRecord,
    "fix-trials": FixTrials,
    "annotate": About,
}


def json_schema(name: str) -> dict[str, Any]:
    """The schema of a file by its name in SCHEMAS: 'scan' of scan.json, and so on."""
    schema = SCHEMAS[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
