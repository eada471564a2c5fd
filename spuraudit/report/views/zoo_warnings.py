"""Notices without which a model's figures would be read as more than they are, beside its row and below the table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.report.zoo_evidence import AuditedModel

NEAR_CHANCE, LIMITED, PREPROCESSING = "SPA001", "SPA002", "SPA006"
_SAYS = {
    NEAR_CHANCE: "near chance",
    LIMITED: "part of the images",
    PREPROCESSING: "other preprocessing does better",
}
"""What a mark says of each code that is shown beside a model."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Beside a model; `number` leads to the footnote."""

    number: int
    code: str
    says: str


@dataclass(frozen=True, slots=True)
class Footnote:
    """The text of a notice and the models it is about."""

    number: int
    code: str
    text: str
    models: str


def warned(models: Sequence[AuditedModel]) -> tuple[dict[str, list[Mark]], list[Footnote]]:
    """Marks by model id, and the footnotes that they lead to; equal texts share one."""
    holders: dict[tuple[str, str], list[AuditedModel]] = defaultdict(list)
    for model in models:
        for notice in model.record.warnings:
            if notice.code in _SAYS:
                holders[notice.code, notice.text].append(model)
    marks: dict[str, list[Mark]] = defaultdict(list)
    footnotes = []
    for number, ((code, text), holding) in enumerate(sorted(holders.items(), key=lambda item: item[0]), 1):
        everybody = len(holding) == len(models) > 1
        footnotes.append(
            Footnote(number, code, text, "all models" if everybody else listing([m.entry.name for m in holding], 8))
        )
        for model in holding:
            marks[model.entry.id].append(Mark(number, code, _SAYS[code]))
    return marks, footnotes


def with_notice(models: Sequence[AuditedModel], code: str) -> list[str]:
    """Names of the models that have a notice of this code."""
    return [model.entry.name for model in models if any(notice.code == code for notice in model.record.warnings)]
