"""Ranks of the models of a zoo by clean and by core accuracy, and how far the two orders agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.stats.orders import kendall, spearman

if TYPE_CHECKING:
    from spuraudit.report.zoo_evidence import Figure, ZooEvidence

LEAST = 3
"""Models that a rank correlation needs."""


@dataclass(frozen=True, slots=True)
class Rank:
    """1 = most accurate; equal accuracies share a rank. `gain` > 0: better by core than by clean accuracy."""

    clean: int
    core: int

    @property
    def gain(self) -> int:
        """Places won when core accuracy decides instead of clean accuracy."""
        return self.clean - self.core


@dataclass(frozen=True, slots=True)
class Agreement:
    """Correlations of two orders over n models, each in -1..1 or None where it is undefined."""

    n: int
    spearman: float | None
    kendall: float | None


def ranked(values: list[float]) -> list[int]:
    """Rank of each value, the highest first; ties share the best place. ranked([0.5, 0.9, 0.5]) = [2, 1, 2]."""
    ordered = sorted(values, reverse=True)
    places: dict[float, int] = {}
    for place, value in enumerate(ordered, 1):
        places.setdefault(value, place)
    return [places[value] for value in values]


def ranks(evidence: ZooEvidence) -> dict[str, Rank]:
    """By model id, over the models with clean and core accuracy."""
    both = _pairs(evidence, "clean", "core")
    clean = ranked([values[0] for values in both.values()])
    core = ranked([values[1] for values in both.values()])
    return {name: Rank(a, b) for name, a, b in zip(both, clean, core, strict=True)}


def agreement(evidence: ZooEvidence, first: Figure, second: Figure) -> Agreement:
    """Spearman's rho and Kendall's tau-b between two figures over the models that have both."""
    pairs = list(_pairs(evidence, first, second).values())
    if len(pairs) < LEAST:
        return Agreement(len(pairs), None, None)
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    return Agreement(len(pairs), spearman(one, other), kendall(one, other))


def _pairs(evidence: ZooEvidence, first: Figure, second: Figure) -> dict[str, tuple[float, float]]:
    out: dict[str, tuple[float, float]] = {}
    for model in evidence.audited:
        a, b = model.value(first, evidence.sigma), model.value(second, evidence.sigma)
        if a is not None and b is not None:
            out[model.entry.id] = (a, b)
    return out
