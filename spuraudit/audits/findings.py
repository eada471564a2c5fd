"""The one ranked list of findings, whatever audit they come from."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.scan import Finding


def fingerprint(audit: str, dataset: str, class_name: str, feature: str) -> str:
    """Identity of a finding without any number or model in it: it survives retraining."""
    return sha256("\x1f".join((audit, dataset, class_name, feature)).encode()).hexdigest()[:16]


def rank(findings: Iterable[Finding]) -> list[Finding]:
    """Suspected ones first, each part by the lower end of the effect's interval, then by the effect; ids by rank."""
    ordered = sorted(findings, key=lambda f: (not f.suspected, -f.effect_ci[0], -f.effect, f.fingerprint))
    return [finding.model_copy(update={"id": f"F{place:03d}"}) for place, finding in enumerate(ordered, start=1)]
