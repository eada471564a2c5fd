"""The plane of core and spurious accuracy with all models of a zoo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.scatter import legend_mark, looks
from spuraudit.report.charts.zoo_map import Spot, zoo_map
from spuraudit.report.formats import many, percent, plain
from spuraudit.report.views.zoo_summary import in_order
from spuraudit.report.zoo_evidence import NO_GROUP

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.report.zoo_evidence import AuditedModel, ZooEvidence


@dataclass(frozen=True, slots=True)
class MapView:
    """Chart and legend (sign, group). `published`: models drawn twice."""

    chart: Markup
    legend: list[tuple[Markup, str]]
    published: int
    sigma: str


def short(name: str, most: int = bounds.NAME) -> str:
    """A name for a chart; the whole one stands in the tables."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def map_view(evidence: ZooEvidence) -> MapView | None:
    """None without a model that has both accuracies."""
    models = evidence.compared
    if not models or evidence.sigma is None:
        return None
    signs = looks(model.entry.group or NO_GROUP for model in models)
    ordered = [model.entry.id for model, _ in in_order(evidence)]
    ends = list(dict.fromkeys([*ordered[:1], *ordered[-1:]]))
    named = len(models) <= bounds.NAMED_DOTS
    spots = sorted(
        (_spot(model, evidence.sigma, signs[model.entry.group or NO_GROUP], ends, named) for model in models),
        key=lambda spot: not spot.leads,
    )
    label = (
        f"{many(len(models), 'model')} by core and spurious accuracy. Lines of equal RCS from −0.2 to 0.6; on the "
        "diagonal, RCS 0, object and background count the same. All figures are in the table of models."
    )
    return MapView(
        zoo_map(spots, label),
        [(legend_mark(*look), group) for group, look in signs.items()],
        sum(spot.published is not None for spot in spots),
        f"{evidence.sigma:g}",
    )


def _spot(model: AuditedModel, sigma: float, look: tuple[str, str], ends: list[str], named: bool) -> Spot:
    core, spurious = model.figure("core", sigma), model.figure("spurious", sigma)
    assert core is not None  # `compared` saw to it
    assert spurious is not None
    assert core.value is not None
    assert spurious.value is not None
    name, leads = model.entry.name, model.entry.id in ends
    said = f"{name}: core {percent(core.value)}, spurious {percent(spurious.value)}"
    rcs = model.figure("rcs", sigma)
    if rcs is not None:
        said += f", RCS {plain(rcs.value)}{', saturated' if 'saturated' in rcs.flags else ''}"
    printed = model.entry.published
    beside = (
        (printed.core, printed.spurious)
        if printed is not None and printed.core is not None and printed.spurious is not None
        else None
    )
    return Spot(
        said,
        short(name) if leads or named else "",
        (core.value, spurious.value),
        core.ci,
        spurious.ci,
        beside,
        *look,
        leads,
    )
