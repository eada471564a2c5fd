"""Whether two definition ids name the same quantity, and in what they differ."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spuraudit.report.zoo_evidence import AuditedModel, ZooEvidence

_DILATION = re.compile(r"square(\d+)@(\d+)x(\d+)")


def differences(one: str, other: str) -> list[str]:
    """How `other` differs from `one`, as 'precision=bf16 instead of precision=fp32'; empty for equal ids."""
    first, second = one.split(";"), other.split(";")
    shared = set(first) & set(second)
    left = {_key(part): part for part in first if part not in shared}
    right = {_key(part): part for part in second if part not in shared}
    return [_said(left.get(key), right.get(key)) for key in dict.fromkeys([*left, *right])]


def _said(usual: str | None, own: str | None) -> str:
    if usual is None:
        return f"{own} added"
    return f"{own} instead of {usual}" if own is not None else f"without {usual}"


def strict_differences(one: str, other: str) -> list[str]:
    """As `differences`, but a dilation that has the same share of a smaller or larger input is the same dilation."""
    return differences(*(_DILATION.sub(_share, text) for text in (one, other)))


def _share(found: re.Match[str]) -> str:
    # 61 of 224 pixels is 87 of 320: a radius of whole pixels misses the exact share by less than one in a hundred.
    width, side = int(found[1]), min(int(found[2]), int(found[3]))
    return f"square {round(50 * (width - 1) / side) / 50:g} of the side"


def _key(part: str) -> str:
    return part.split("=")[0] if "=" in part else part.split("/")[0]


def core_definition(model: AuditedModel, sigma: float | None) -> str | None:
    """The id that core and spurious accuracy and RCS of a model share."""
    found = model.figure("core", sigma)
    return found.definition if found is not None else None


def reference(evidence: ZooEvidence) -> str | None:
    """The id of most models (of several, the first in the zoo file): what the others are compared with."""
    ids = [found for model in evidence.compared if (found := core_definition(model, evidence.sigma)) is not None]
    return max(Counter(ids), key=Counter(ids).__getitem__, default=None)
