"""How the pages of fixes and comparisons name numbers and write changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.units import unit_of
from spuraudit.report.formats import NARROW, NONE, interval, plain

if TYPE_CHECKING:
    from spuraudit.record.comparison import Interval, Shortcut
    from spuraudit.record.scan import Scope

METRICS = {
    "clean_accuracy": "clean accuracy",
    "mean_group_accuracy": "mean-group accuracy",
    "worst_group_accuracy": "worst-group accuracy",
    "core_accuracy": "core accuracy",
    "spurious_accuracy": "spurious accuracy",
    "rcs": "RCS",
    "swap_same_accuracy": "accuracy with same-class",
    "swap_other_accuracy": "accuracy with other-class",
    "swap_gap": "swap gap of",
    "swap_pull": "swap pull of",
    "feature_drop": "drop by noise on",
    "control_drop": "drop by the control noise of",
    "feature_drop_excess": "drop beyond its control by noise on",
}
EXPLAINS = {
    "clean_accuracy": "unchanged images",
    "mean_group_accuracy": "every group counts the same",
    "worst_group_accuracy": "the lowest group of each model",
    "core_accuracy": "background noised, object visible",
    "spurious_accuracy": "object noised; read it with core accuracy, as RCS does",
    "rcs": "above 0 the object counts for more",
    "swap_gap": "same-class minus other-class region, 0 is best",
    "swap_other_accuracy": "the region comes from another class",
}
STATES = {
    "worse": "Worse",
    "behind": "The control depends on it less",
    "new": "New suspect",
    "unchanged": "Unchanged",
    "reduced": "Reduced",
    "gone": "No longer suspected",
    "repaired": "Repaired",
}
EFFECTS = {"feature_drop": "feature_drop_excess", "region_swap": "swap_gap", "patch_swap": "patch_drop"}
"""Audit to the metric in whose unit its effects are."""


def metric_name(metric: str, scope: Scope) -> str:
    """'core accuracy (σ 0.25) of waterbird', 'swap gap of background'."""
    name = METRICS.get(metric, metric.replace("_", " "))
    if "feature" in scope:
        name += f" {scope['feature']}"
    if "sigma" in scope:
        name += f" (σ\u00a0{scope['sigma']:g})"
    if "class" in scope:
        name += f" of {scope['class']}" if "feature" not in scope else f", {scope['class']}"
    return f"{name} in the group {scope['group']}" if "group" in scope else name


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def change_of(metric: str, value: float | None, *, unit: bool = True) -> str:
    """A change with its sign: '+31.2 points' for accuracies and their differences, '+0.250' for the others."""
    if value is None:
        return NONE
    in_points = unit_of(metric) in ("proportion", "difference")
    text = plain(value * 100, 1) if in_points else plain(value)
    sign = "+" if value > 0 and text.strip("0.") else ""
    return f"{sign}{text}{NARROW}points" if in_points and unit else f"{sign}{text}"


def change_interval(metric: str, ci: Interval | None) -> str:
    """The 95 % interval of a change in the same unit, without it: '24.0 to 38.1'."""
    return interval(metric, ci)


def shortcut_name(one: Shortcut) -> str:
    """'background of waterbird', 'cell 43 of sneaker, with cells of shirt'."""
    target = f", with cells of {one.target_class}" if one.target_class else ""
    return f"{one.feature} of {one.class_name}{target}"
