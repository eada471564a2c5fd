"""How numbers are written in a report: percent for accuracies, points for differences, plain for RCS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.units import unit_of

if TYPE_CHECKING:
    from spuraudit.record.scan import Measurement

NARROW = "\u202f"  # no-break, narrow: between a number and its unit
MINUS = "\u2212"
NONE = "\u2013"


def signed(text: str) -> str:
    """The typographic minus instead of a hyphen."""
    return text.replace("-", MINUS)


def plain(value: float | None, digits: int = 3) -> str:
    """0.263; an en dash where there is no number. Never "-0.000"."""
    if value is None:
        return NONE
    return signed(f"{round(value, digits) + 0.0:.{digits}f}")


def percent(value: float | None, digits: int = 1) -> str:
    """A proportion in 0..1 as '97.5 %'."""
    return NONE if value is None else f"{plain(value * 100, digits)}{NARROW}%"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of proportions as '46.0 points'."""
    return NONE if value is None else f"{plain(value * 100, digits)}{NARROW}points"


def pts(value: float | None, digits: int = 1) -> str:
    """A difference of proportions for a table whose head says points: '46.0'."""
    return NONE if value is None else plain(value * 100, digits)


def value_of(metric: str, value: float | None) -> str:
    """A number in the unit of its metric."""
    unit = unit_of(metric)
    if unit == "proportion":
        return percent(value)
    return points(value) if unit == "difference" else plain(value)


def interval(metric: str, ci: tuple[float, float] | None) -> str:
    """A 95 % interval in the unit of its metric, without the unit: '71.3 to 76.2'."""
    if ci is None:
        return NONE
    scale, digits = (100, 1) if unit_of(metric) in ("proportion", "difference") else (1, 3)
    return f"{plain(ci[0] * scale, digits)} to {plain(ci[1] * scale, digits)}"


def q_value(q: float) -> str:
    """'q < 0.001' or 'q = 0.012'."""
    return "q < 0.001" if q < 0.001 else f"q = {q:.3f}"


def count(number: int) -> str:
    """Thousands set apart by a narrow space: '226 946'."""
    return f"{number:,}".replace(",", NARROW)


def many(number: int, one: str, several: str | None = None) -> str:
    """'1 image', '2 images', '2 classes'."""
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def size(number: int | None) -> str:
    """Bytes for people: '14.2 MB'."""
    if number is None:
        return NONE
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f}{NARROW}{unit}" if unit == "B" else f"{number:.1f}{NARROW}{unit}"
        number = number / 1000  # type: ignore[assignment]
    return f"{number:.1f}{NARROW}GB"


def listing(names: list[str], most: int = 4) -> str:
    """'a', 'a and b', 'a, b, c and 5 more'."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def measured(measurement: Measurement | None) -> str:
    """Value with interval: '73.1 % (70.2 to 76.0)'; the reason where there is no value."""
    if measurement is None:
        return NONE
    if measurement.value is None:
        return f"{NONE} ({measurement.reason or 'undefined'})"
    text = value_of(measurement.metric, measurement.value)
    return f"{text} ({interval(measurement.metric, measurement.ci)})" if measurement.ci else text
