"""The unit of a metric, by its name: one definition id covers accuracies, drops and RCS of the same conditions."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

Unit = Literal["proportion", "difference", "probability", "probability_difference", "number"]

_NAMES: dict[str, Unit] = {
    "patch_drop": "probability_difference",
    "patch_argmin_drop": "probability_difference",
    "patch_mean_absolute_change": "probability_difference",
    "patch_argmin_agreement": "proportion",
    "patch_settled": "proportion",
}
_SIZES = frozenset({"patch_mean_absolute_change"})
"""Differences without a sign."""
_ENDINGS: dict[str, Unit] = {
    "accuracy": "proportion",
    "drop": "difference",
    "excess": "difference",
    "gap": "difference",
    "pull": "difference",
    "probability": "probability",
    "certainty": "probability",
    "certainty_unperturbed": "probability",
    "consistency": "proportion",
    "recall": "proportion",
    "false_alarm": "proportion",
}


def unit_of(metric: str) -> Unit:
    """`proportion` and `probability` lie in 0..1, their differences in -1..1 (absolute ones in 0..1).

    Everything else, RCS above all, is a `number` in -1..1. `_images` (mean over images instead of classes) keeps it.
    """
    base = metric.removesuffix("_images")
    if base in _NAMES:
        return _NAMES[base]
    return next((unit for ending, unit in _ENDINGS.items() if base == ending or base.endswith(f"_{ending}")), "number")


@lru_cache(maxsize=1024)
def lowest(metric: str) -> int:
    """The lower end of the metric's range, 0 or -1; the upper end is 1."""
    return 0 if metric in _SIZES or unit_of(metric) in ("proportion", "probability") else -1
