"""The dozen numbers a reader looks for first, each with its interval, its n and a bar on a shared axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.bars import axis, interval_bar, rug
from spuraudit.report.formats import count, interval, many, plain, value_of

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import Measurement
    from spuraudit.report.numbers import Numbers
    from spuraudit.report.views.zoo import ZooView


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A number as shown; `beside` is the mean over images where the front one is the mean over classes."""

    name: str
    explains: str
    value: str
    interval: str
    n: str
    beside: str
    notes: list[str]
    bar: Markup | None


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Rows that share an axis."""

    title: str
    rows: list[KeyRow]
    axis: Markup


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    names: tuple[str, ...]


_SHARE = _Axis(0, 1, (0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100 %"))
_SIGNED = _Axis(-1, 1, (-1, -0.5, 0, 0.5, 1), ("−1", "−0.5", "0", "0.5", "1"))
_POINTS = _Axis(-1, 1, (-1, -0.5, 0, 0.5, 1), ("−100", "−50", "0", "50", "100"))
_UNIT = _Axis(0, 1, (0, 0.25, 0.5, 0.75, 1), ("0", "0.25", "0.5", "0.75", "1"))


def key_groups(numbers: Numbers, zoo: ZooView | None = None) -> list[KeyGroup]:
    """Accuracies, RCS, differences, certainty: each group on its own axis; only what the run measured.

    `zoo`: the models among which the RCS is placed.
    """
    groups = [
        ("Accuracy", _accuracies(numbers), _SHARE),
        ("Relative core sensitivity", [*_sensitivity(numbers), _standing(numbers, zoo)], _SIGNED),
        ("Accuracy lost, in points", _lost(numbers), _POINTS),
        ("Certainty lost", _certainty(numbers), _UNIT),
    ]
    return [
        KeyGroup(title, found, axis(ruler.low, ruler.high, ruler.ticks, ruler.names))
        for title, rows, ruler in groups
        if (found := [row for row in rows if row is not None])
    ]


def _accuracies(numbers: Numbers) -> list[KeyRow | None]:
    sigma = numbers.sigma()
    rows = [_row(numbers, "Clean accuracy", "unchanged images", "clean_accuracy", "clean", "circle", _SHARE)]
    for name, explains, metric, tone, shape in (
        ("Core accuracy", "background noised (σ {}), object visible", "core_accuracy", "core", "circle"),
        ("Spurious accuracy", "object noised (σ {}), background visible", "spurious_accuracy", "spurious", "diamond"),
    ):
        if sigma is not None:
            rows.append(_row(numbers, name, explains.format(f"{sigma:g}"), metric, tone, shape, _SHARE, sigma=sigma))
    rows.append(_worst_group(numbers))
    for name, explains, metric, tone, shape in (
        ("Same-class background", "swapped in from the same class", "swap_same_accuracy", "control", "ring"),
        ("Other-class background", "swapped in from another class", "swap_other_accuracy", "spurious", "diamond"),
    ):
        rows.append(_row(numbers, name, explains, metric, tone, shape, _SHARE, feature="background"))
    return rows


def _sensitivity(numbers: Numbers) -> list[KeyRow | None]:
    sigma = numbers.sigma()
    if sigma is None:
        return []
    explains = f"above 0 the object counts for more, below 0 the background (σ {sigma:g})"
    return [_row(numbers, "RCS", explains, "rcs", "accent", "circle", _SIGNED, sigma=sigma)]


def _standing(numbers: Numbers, zoo: ZooView | None) -> KeyRow | None:
    """Where the model's RCS lies among those of others, on the axis of its own."""
    sigma = numbers.sigma()
    found = numbers.get("rcs", sigma=sigma) if sigma is not None else None
    if zoo is None or found is None or found.value is None:
        return None
    others = [model.rcs for model in zoo.company.models if model.rcs is not None]
    if not others:
        return None
    span = f"{plain(min(others))} to {plain(max(others))}"
    lower = f"{zoo.below} of {len(others)} lower"
    label = f"RCS of {many(len(others), zoo.company.noun, zoo.company.nouns)}: {span}; {lower} than this model."
    return KeyRow(
        zoo.company.title,
        "RCS of the others, thin lines, and of this model, the thick one",
        lower,
        f"theirs: {span}",
        count(len(others)),
        "",
        [f"for orientation only: see the section “{zoo.company.title}”"] if zoo.company.cautions else [],
        rug(others, found.value, low=_SIGNED.low, high=_SIGNED.high, label=label, ticks=_SIGNED.ticks),
    )


def _lost(numbers: Numbers) -> list[KeyRow | None]:
    sigma = numbers.sigma()
    rows: list[KeyRow | None] = []
    for name, explains, metric, tone, shape in (
        ("Core drop", "by noise on the background", "core_drop", "core", "circle"),
        ("Spurious drop", "by noise on the object", "spurious_drop", "spurious", "diamond"),
    ):
        if sigma is not None:
            rows.append(_row(numbers, name, explains, metric, tone, shape, _POINTS, sigma=sigma))
    for name, explains, metric in (
        ("Background gap", "same-class minus other-class background, by region swap", "swap_gap"),
        ("Background pull", "extra share given the class the background came from", "swap_pull"),
    ):
        rows.append(_row(numbers, name, explains, metric, "spurious", "diamond", _POINTS, feature="background"))
    return rows


def _certainty(numbers: Numbers) -> list[KeyRow | None]:
    return [_patch(numbers)]


def _row(
    numbers: Numbers, name: str, explains: str, metric: str, tone: str, shape: str, ruler: _Axis, **scope: str | float
) -> KeyRow | None:
    found = numbers.get(metric, **scope)
    if found is None:
        return None
    images = numbers.get(f"{metric}_images", **scope)
    beside = ""
    # Equal means may round apart in the last bit: only a difference that a reader could use is shown.
    if images is not None and abs((images.value or 0.0) - (found.value or 0.0)) > 5e-4:
        beside = f"over images {value_of(metric, images.value)}"
    return _drawn(found, name, explains, beside, tone, shape, ruler)


def _drawn(found: Measurement, name: str, explains: str, beside: str, tone: str, shape: str, ruler: _Axis) -> KeyRow:
    value, shown = found.value, value_of(found.metric, found.value)
    notes = [f"undefined: {found.reason}"] if value is None and found.reason else []
    if "saturated" in found.flags:
        notes.append("saturated: at its limit by arithmetic only, read the accuracies instead")
    ends = interval(found.metric, found.ci)
    bar = (
        interval_bar(
            value,
            found.ci,
            low=ruler.low,
            high=ruler.high,
            tone=tone,
            shape=shape,
            label=f"{name}: {shown}, 95 % interval {ends}.",
            ticks=ruler.ticks,
        )
        if value is not None
        else None
    )
    return KeyRow(name, explains, shown, ends, count(found.n), beside, notes, bar)


def _worst_group(numbers: Numbers) -> KeyRow | None:
    found = numbers.get("worst_group_accuracy") or next(iter(numbers.shaped("worst_group_accuracy", "group")), None)
    if found is None:
        return None
    groups = [item for item in numbers.shaped("clean_accuracy", "group") if item.value is not None]
    worst = min(groups, key=lambda item: item.value or 0.0, default=None)
    explains = (
        f"clean accuracy in the group “{worst.scope['group']}”" if worst else "the lowest clean accuracy of a group"
    )
    return _drawn(found, "Worst-group accuracy", explains, "", "clean", "square", _SHARE)


def _patch(numbers: Numbers) -> KeyRow | None:
    drops = [
        item
        for keys in (("class", "target_class"), ("class", "target_class", "cell"), _CELL)
        for item in numbers.shaped("patch_drop", *keys)
        if item.value is not None
    ]
    if not drops:
        return None
    worst = max(drops, key=lambda item: item.value or 0.0)
    explains = f"at the worst cell: {worst.scope['class']}, with cells of {worst.scope['target_class']}"
    return _drawn(worst, "Largest patch drop", explains, "", "spurious", "diamond", _UNIT)


_CELL = ("class", "target_class", "cell", "row", "column", "rows", "columns")
