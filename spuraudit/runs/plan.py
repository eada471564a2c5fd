"""A plan: model + dataset + audits with their parameters + seed. Equal plans give equal numbers."""

from __future__ import annotations

import hashlib
import json

from pydantic import Field

from spuraudit.record.base import Part
from spuraudit.record.scan import ModelRecord
from spuraudit.record.settings import AuditName, ScanSettings


class Plan(Part):
    """Everything the numbers depend on."""

    tool_version: str
    model: ModelRecord
    data_fingerprint: str
    split: str | None
    donor_split: str | None
    images_sha256: str = Field(description="Of the audited image ids in order.")
    audits: tuple[AuditName, ...]
    settings: ScanSettings

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()
