"""Group averages, as in figure 7 of the CoRM paper: mean and spread of the models of a group, the published mean."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.group_bars import Bar, group_bars
from spuraudit.report.formats import NONE, count, signed
from spuraudit.report.views.zoo_map import short
from spuraudit.report.views.zoo_models import shown
from spuraudit.report.zoo_evidence import FIGURES, NO_GROUP

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.report.zoo_evidence import AuditedModel, Figure, ZooEvidence

NAMES: dict[Figure, str] = {
    "clean": "Clean accuracy, %",
    "core": "Core accuracy, %",
    "spurious": "Spurious accuracy, %",
    "rcs": "RCS",
}
_TONES: dict[Figure, str] = {"clean": "slate", "core": "core", "spurious": "spurious", "rcs": "accent"}


@dataclass(frozen=True, slots=True)
class MeanCell:
    """A mean as shown, 'sd 1.2, 80.1 to 84.3' over the models, and 'published 81.0 (3 models)'."""

    mean: str
    spread: str
    published: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of models."""

    name: str
    models: str
    cells: list[MeanCell]


@dataclass(frozen=True, slots=True)
class GroupsView:
    """Charts (title, drawing) and the same numbers as a table, highest mean RCS first."""

    charts: list[tuple[str, Markup]]
    rows: list[GroupRow]
    published: bool


@dataclass(frozen=True, slots=True)
class _Mean:
    values: list[float]
    published: list[float]
    saturated: int

    @property
    def value(self) -> float | None:
        return fmean(self.values) if self.values else None

    @property
    def printed(self) -> float | None:
        return fmean(self.published) if self.published else None


def groups_view(evidence: ZooEvidence) -> GroupsView | None:
    """None where no model names a group. Published means are over the same models as far as these have figures."""
    if not any(model.entry.group for model in evidence.audited):
        return None
    members: dict[str, list[AuditedModel]] = defaultdict(list)
    for model in evidence.audited:
        members[model.entry.group or NO_GROUP].append(model)
    means = {
        name: {figure: _mean(models, figure, evidence.sigma) for figure in FIGURES} for name, models in members.items()
    }
    order = sorted(members, key=lambda name: (-_or_low(means[name]["rcs"].value), name))
    charts = [(NAMES[figure], _chart(figure, order, means)) for figure in FIGURES if _any(means, figure)]
    rows = [
        GroupRow(name, count(len(members[name])), [_cell(figure, means[name][figure]) for figure in FIGURES])
        for name in order
    ]
    return GroupsView(charts, rows, any(mean.published for group in means.values() for mean in group.values()))


def _or_low(value: float | None) -> float:
    return -2.0 if value is None else value


def _mean(models: list[AuditedModel], figure: Figure, sigma: float | None) -> _Mean:
    values, published, saturated = [], [], 0
    for model in models:
        found = model.figure(figure, sigma)
        value = found.value if found is not None else None
        saturated += found is not None and "saturated" in found.flags
        printed = getattr(model.entry.published, figure, None)
        if value is not None:
            values.append(value)
            published += [] if printed is None else [printed]
    return _Mean(values, published, saturated)


def _any(means: dict[str, dict[Figure, _Mean]], figure: Figure) -> bool:
    return any(group[figure].values for group in means.values())


def _chart(figure: Figure, order: list[str], means: dict[str, dict[Figure, _Mean]]) -> Markup:
    bars = []
    for name in order:
        mean = means[name][figure]
        several = len(mean.values) > 1
        bars.append(
            Bar(
                short(name, bounds.GROUP_NAME),
                mean.value,
                min(mean.values) if several else None,
                max(mean.values) if several else None,
                mean.printed,
            )
        )
    ends = [end for bar in bars for end in (bar.mean, bar.low, bar.published) if end is not None]
    low, high = (_fifths(min(ends), -1), _fifths(max(ends), 1)) if figure == "rcs" else (0.0, 1.0)
    said = "; ".join(f"{bar.name} {shown(figure, bar.mean)}" for bar in bars)
    return group_bars(
        bars,
        f"{NAMES[figure]}, mean per group: {said}.",
        low=low,
        high=high,
        tone=_TONES[figure],
        name_of=lambda tick: signed(f"{tick if figure == 'rcs' else tick * 100:g}"),
        value_of=lambda value: shown(figure, value),
    )


def _fifths(value: float, direction: int) -> float:
    """The next multiple of 0.2 away from 0, at most 1, where `value` lies on that side of 0."""
    return direction * min(1.0, ceil(max(value * direction, 0.0) * 5) / 5)


def _cell(figure: Figure, mean: _Mean) -> MeanCell:
    if mean.value is None:
        return MeanCell(NONE, "", "")
    spread = ""
    if len(mean.values) > 1:
        spread = (
            f"sd {shown(figure, stdev(mean.values))}, {shown(figure, min(mean.values))} to "
            f"{shown(figure, max(mean.values))}"
        )
    if mean.saturated:
        spread = f"{spread}; {count(mean.saturated)} saturated" if spread else "saturated"
    over = "" if len(mean.published) == len(mean.values) else f" ({len(mean.published)} of {len(mean.values)})"
    published = f"published {shown(figure, mean.printed)}{over}" if mean.published else ""
    return MeanCell(shown(figure, mean.value), spread, published)
