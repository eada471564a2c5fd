"""Where the model stands among the published ones: orientation, not a ranking, since the images differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.report.charts.scatter import Dot, Here, legend_mark, look, zoo_scatter
from spuraudit.report.formats import percent, plain

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import ScanRecord
    from spuraudit.report.numbers import Numbers
    from spuraudit.report.published import PublishedModel

SALIENT = "salient1m"


@dataclass(frozen=True, slots=True)
class ZooRow:
    """A published model; the audited one has `here` set."""

    name: str
    group: str
    clean: str
    core: str
    spurious: str
    rcs: str
    here: bool


@dataclass(frozen=True, slots=True)
class ZooView:
    """Chart, legend (sign, group), table, and the data plotly draws from."""

    chart: Markup
    legend: list[tuple[Markup, str]]
    rows: list[ZooRow]
    below: int
    total: int
    same_dataset: bool
    data: dict[str, Any]


def zoo_view(record: ScanRecord, numbers: Numbers, published: list[PublishedModel]) -> ZooView | None:
    """None without core and spurious accuracy, or without published rows."""
    sigma = numbers.sigma()
    if sigma is None or not published:
        return None
    core, spurious, rcs, clean = (
        numbers.get("core_accuracy", sigma=sigma),
        numbers.get("spurious_accuracy", sigma=sigma),
        numbers.get("rcs", sigma=sigma),
        numbers.get("clean_accuracy"),
    )
    if core is None or spurious is None or core.value is None or spurious.value is None:
        return None
    dots = [Dot(model.name, model.group, model.core, model.spurious) for model in published]
    groups = sorted({dot.group for dot in dots})
    here = Here(core.value, spurious.value, core.ci, spurious.ci)
    value = rcs.value if rcs is not None else None
    label = (
        f"{len(dots)} published models by core and spurious accuracy; this model at core {percent(core.value)}, "
        f"spurious {percent(spurious.value)}."
    )
    rows = [(model.rcs, _row(model)) for model in published]
    if value is not None:
        shown_clean = percent(clean.value) if clean is not None else percent(None)
        mine = ZooRow(
            record.model.name,
            "this model",
            shown_clean,
            percent(core.value),
            percent(spurious.value),
            plain(value),
            True,
        )
        rows.append((value, mine))
    return ZooView(
        zoo_scatter(dots, here, label),
        [(legend_mark(group), group) for group in groups],
        [row for _, row in sorted(rows, key=lambda pair: -pair[0])],
        sum(model.rcs < value for model in published) if value is not None else 0,
        len(published),
        record.data.layout == SALIENT or record.data.name == SALIENT,
        _plotly(dots, groups, here, record.model.name),
    )


def _row(model: PublishedModel) -> ZooRow:
    return ZooRow(
        model.name,
        model.group,
        percent(model.clean, 2),
        percent(model.core, 2),
        percent(model.spurious, 2),
        plain(model.rcs, 4),
        False,
    )


def _plotly(dots: list[Dot], groups: list[str], here: Here, name: str) -> dict[str, Any]:
    """Plain numbers for report.js; the look is decided there, from the page's own colours."""
    return {
        "groups": [
            {
                "name": group,
                "symbol": look(group)[0],
                "tone": look(group)[1],
                "names": [dot.name for dot in dots if dot.group == group],
                "core": [round(dot.core * 100, 2) for dot in dots if dot.group == group],
                "spurious": [round(dot.spurious * 100, 2) for dot in dots if dot.group == group],
            }
            for group in groups
        ],
        "here": {"name": name, "core": round(here.core * 100, 2), "spurious": round(here.spurious * 100, 2)},
    }
