"""A plan: model + dataset + audits with their parameters + seed. Equal plans give equal numbers."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from spuraudit.record.base import Part
from spuraudit.record.scan import ModelRecord
from spuraudit.record.settings import AuditName, ScanSettings


class Resolved(Part):
    """What a budget pays for. Found by measuring this machine once, then part of the plan: a resumed run keeps it."""

    search: Literal["full", "adaptive"]
    limit_sources: int | None
    answers: int = Field(description="Of the patch swap, at most.")

    def describe(self, budget: str) -> str:
        """A sentence for people."""
        sources = "all source images" if self.limit_sources is None else f"at most {self.limit_sources} source images"
        return f"Budget {budget}: {self.search} search, {sources}, at most {self.answers:,} answers."


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
    resolved: Resolved | None = None

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def as_asked(self) -> Plan:
        """The plan before a budget was resolved: the same on every machine."""
        return self.model_copy(update={"resolved": None})
