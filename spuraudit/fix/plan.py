"""A fix as a plan: what the trained weights depend on. Its hash names the folder; a resumed fix must have the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import Field

from spuraudit.fix.settings import Start, TrainingSettings
from spuraudit.record.base import Part
from spuraudit.record.scan import ModelRecord
from spuraudit.record.settings import ScanSettings


class FixPlan(Part):
    """model + data + method + seed. Hashes of image ids are of their order too."""

    tool_version: str
    model: ModelRecord
    data_fingerprint: str
    train_sha256: str = Field(description="Of the training image ids in order.")
    validation_sha256: str
    held_out: str
    method: str
    options: dict[str, Any]
    training: TrainingSettings
    start: Start
    seed: int
    from_run_sha256: str | None = Field(default=None, description="Of the record whose findings are the region.")
    annotations_sha256: str | None = None
    scan: ScanSettings

    @property
    def of_control(self) -> FixPlan:
        """Plain training of the same: equal for every method."""
        update: dict[str, Any] = {"method": "erm", "options": {}, "from_run_sha256": None, "annotations_sha256": None}
        return self.model_copy(update=update)

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()
