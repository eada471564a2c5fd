"""Who gains and who loses places when core accuracy decides instead of clean accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.slopes import Slope, slope_chart
from spuraudit.report.formats import count, many, plain
from spuraudit.report.views.zoo_map import short
from spuraudit.report.zoo_ranks import LEAST, agreement, ranks

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.report.zoo_evidence import Figure, ZooEvidence
    from spuraudit.report.zoo_ranks import Rank


@dataclass(frozen=True, slots=True)
class RanksView:
    """`sentences` say the largest moves; `agreements`: (pair, Spearman, Kendall, n); chart where it can be read."""

    sentences: list[str]
    agreements: list[tuple[str, str, str, str]]
    chart: Markup | None
    models: int
    least: int


def ranks_view(evidence: ZooEvidence) -> RanksView | None:
    """None with fewer than two models in both orders."""
    places = ranks(evidence)
    if len(places) < 2:
        return None
    names = {model.entry.id: model.entry.name for model in evidence.audited}
    return RanksView(
        _sentences(places, names),
        [
            _agreement(evidence, "clean", "core", "clean and core accuracy"),
            _agreement(evidence, "clean", "rcs", "clean accuracy and RCS"),
        ],
        _chart(evidence, places, names) if len(places) <= bounds.HEAT_MODELS else None,
        len(places),
        LEAST,
    )


def _sentences(places: dict[str, Rank], names: dict[str, str]) -> list[str]:
    moved = [name for name in places if places[name].gain]
    if not moved:
        return [f"All {count(len(places))} models have the same rank by clean and by core accuracy."]
    out = [f"{count(len(moved))} of {count(len(places))} models have another rank by core than by clean accuracy."]
    for word, best, sign in (("gains", max, 1), ("loses", min, -1)):
        most = best(place.gain for place in places.values())
        if most * sign <= 0:
            continue
        first, *others = [name for name in places if places[name].gain == most]
        place = places[first]
        also = f" (as {'does' if len(others) == 1 else 'do'} {many(len(others), 'other')})" if others else ""
        out.append(
            f"{names[first]} {word} most{also}: {many(abs(most), 'place')}, from rank {place.clean} to {place.core}."
        )
    return out


def _agreement(evidence: ZooEvidence, first: Figure, second: Figure, pair: str) -> tuple[str, str, str, str]:
    found = agreement(evidence, first, second)
    return pair, plain(found.spearman, 2), plain(found.kendall, 2), count(found.n)


def _chart(evidence: ZooEvidence, places: dict[str, Rank], names: dict[str, str]) -> Markup:
    """Shared ranks stand under each other: by the other rank, then as in the zoo file."""
    order = [model.entry.id for model in evidence.audited if model.entry.id in places]
    left = sorted(order, key=lambda name: (places[name].clean, places[name].core))
    right = sorted(order, key=lambda name: (places[name].core, places[name].clean))
    slopes = [
        Slope(short(names[name]), left.index(name), right.index(name), places[name].clean, places[name].core)
        for name in order
    ]
    gains = sum(place.gain > 0 for place in places.values())
    losses = sum(place.gain < 0 for place in places.values())
    label = (
        f"Ranks of {many(len(order), 'model')} by clean accuracy on the left and by core accuracy on the right: "
        f"{gains} gain, {losses} lose. The ranks are in the table of models."
    )
    return slope_chart(slopes, ("Rank by clean accuracy", "Rank by core accuracy"), label)
