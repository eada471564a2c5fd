"""What noise on each annotated feature costs each model, and which features fool all of them or one alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.bars import Mark, dumbbell
from spuraudit.report.charts.colour import heat_class
from spuraudit.report.charts.grid import legend
from spuraudit.report.formats import count, interval, listing, many, percent, plain, points, pts
from spuraudit.report.views.zoo_map import short

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.compared import FeatureRow
    from spuraudit.report.zoo_evidence import AuditedModel, ZooEvidence

_Key = tuple[str, str]
_FULL = 0.5
"""The drop at the yellow end of the colours."""


@dataclass(frozen=True, slots=True)
class Heat:
    """One cell: points as shown, class of its colours, whether the feature is suspected, what a pointer is told."""

    shown: str
    colour: str
    suspected: bool
    title: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A feature of a class; `cells` in the order of the models, None = not tested."""

    class_name: str
    feature: str
    fooled: str
    cells: list[Heat | None]


@dataclass(frozen=True, slots=True)
class GapRow:
    """Region swap of one model and region."""

    model: str
    region: str
    bar: Markup | None
    same: str
    other: str
    gap: str
    interval: str
    n: str


@dataclass(frozen=True, slots=True)
class FeaturesView:
    """The heat table (None: no feature was tested by any model) and the gaps of region swap."""

    models: list[tuple[str, str]]
    rows: list[HeatRow]
    sentences: list[str]
    legend: Markup
    gaps: list[GapRow]
    several_regions: bool
    left_out: list[str]


def features_view(evidence: ZooEvidence) -> FeaturesView | None:
    """None where no model was asked about features or regions."""
    tested = [model for model in evidence.audited if model.features]
    table = {model.entry.id: {(row.class_name, row.feature): row for row in model.features} for model in tested}
    keys = _ordered(tested)
    gaps = [gap for model in evidence.audited for gap in _gaps(model)]
    if not keys and not gaps:
        return None
    columns = tested[: bounds.HEAT_MODELS]
    rows = [_row(key, columns, table, tested) for key in keys[: bounds.HEAT_ROWS]]
    return FeaturesView(
        [(short(model.entry.name), model.entry.name) for model in columns],
        rows,
        _sentences(keys, tested, table, len(evidence.audited)),
        legend("0 points", f"{_FULL * 100:.0f} or more"),
        gaps[: bounds.MODEL_ROWS],
        len({gap.region for gap in gaps}) > 1,
        _left_out(len(keys), len(tested), len(gaps)),
    )


def _ordered(models: list[AuditedModel]) -> list[_Key]:
    """By the number of models fooled, then by the mean drop, then by name."""
    fooled: dict[_Key, int] = defaultdict(int)
    drops: dict[_Key, list[float]] = defaultdict(list)
    for model in models:
        for row in model.features:
            fooled[row.class_name, row.feature] += row.suspected
            drops[row.class_name, row.feature].append(row.drop or 0.0)
    return sorted(fooled, key=lambda key: (-fooled[key], -sum(drops[key]) / len(drops[key]), key))


def _row(
    key: _Key, columns: list[AuditedModel], table: dict[str, dict[_Key, FeatureRow]], tested: list[AuditedModel]
) -> HeatRow:
    found = [row for model in tested if (row := table[model.entry.id].get(key)) is not None]
    cells = [
        _heat(row, model.entry.name) if (row := table[model.entry.id].get(key)) is not None else None
        for model in columns
    ]
    return HeatRow(key[0], key[1], f"{sum(row.suspected for row in found)} of {len(found)}", cells)


def _heat(row: FeatureRow, model: str) -> Heat:
    said = f"{model}: drop {points(row.drop)}, control {points(row.control_drop)}, q {plain(row.q)}, n {row.n}"
    return Heat(plain((row.drop or 0.0) * 100, 0), heat_class((row.drop or 0.0) / _FULL), row.suspected, said)


def _sentences(
    keys: list[_Key], tested: list[AuditedModel], table: dict[str, dict[_Key, FeatureRow]], audited: int
) -> list[str]:
    if not keys:
        return []
    everyone: list[str] = []
    single: list[str] = []
    nobody = 0
    for key in keys:
        rows = [(model, row) for model in tested if (row := table[model.entry.id].get(key)) is not None]
        fooled = [model for model, row in rows if row.suspected]
        name = f"{key[1]} of {key[0]}"
        if len(fooled) == len(rows) > 1:
            everyone.append(name)
        elif len(fooled) == 1 and len(rows) > 1:
            single.append(f"{name} ({fooled[0].entry.name})")
        nobody += not fooled
    out = [f"{many(len(keys), 'feature')} of classes {'was' if len(keys) == 1 else 'were'} tested."]
    if nobody:
        out.append(f"{count(nobody)} of them {'fools' if nobody == 1 else 'fool'} no model.")
    if len(tested) < audited:
        out.append(f"In {many(audited - len(tested), 'evaluated model')} no feature was tested.")
    if len(tested) > 1:
        every = f"Noise on {listing(everyone, 5)} fools every model." if everyone else "No feature fools every model."
        one = f"One model alone is fooled by {listing(single, 5)}." if single else "None fools one model alone."
        out += [every, one]
    return out


def _left_out(keys: int, tested: int, gaps: int) -> list[str]:
    out = []
    if keys > bounds.HEAT_ROWS:
        out.append(f"{many(keys - bounds.HEAT_ROWS, 'feature')} after the first {bounds.HEAT_ROWS}: see features.csv.")
    if tested > bounds.HEAT_MODELS:
        out.append(
            f"{many(tested - bounds.HEAT_MODELS, 'model')} after the first {bounds.HEAT_MODELS}: see features.csv."
        )
    if gaps > bounds.MODEL_ROWS:
        out.append(f"{many(gaps - bounds.MODEL_ROWS, 'row')} of region swap: see the records of the models.")
    return out


def _gaps(model: AuditedModel) -> list[GapRow]:
    rows = []
    for found in model.numbers.shaped("swap_gap", "feature"):
        region = str(found.scope["feature"])
        same, other = (
            item.value if (item := model.numbers.get(metric, feature=region)) is not None else None
            for metric in ("swap_same_accuracy", "swap_other_accuracy")
        )
        bar = (
            dumbbell(
                Mark("same class", same, percent(same), "control", "ring"),
                Mark("other class", other, percent(other), "spurious", "diamond"),
                f"{percent(same)} with the same class's region, {percent(other)} with another's.",
            )
            if same is not None and other is not None
            else None
        )
        rows.append(
            GapRow(
                model.entry.name,
                region,
                bar,
                percent(same),
                percent(other),
                pts(found.value),
                interval("swap_gap", found.ci),
                count(found.n),
            )
        )
    return rows
