"""Relative core sensitivity (CoRM paper, definition 6.3 and appendix H)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Rcs(NamedTuple):
    """`value` is None where RCS is undefined (then `reason` says why).

    `saturated`: |value| is 1 only because one accuracy sits at 0 or 1, while the gap between the two is below 1.
    """

    value: float | None
    reason: str | None
    saturated: bool


def rcs_values(core: Floats, spurious: Floats) -> Floats:
    """RCS = (c - s) / (2 min(a, 1 - a)), a = (c + s) / 2, elementwise; NaN where c = s = 0 or c = s = 1.

    Accuracies in [0, 1]; result in [-1, 1]. High: noise on the object hurts more than noise around it.
    """
    mean = (core + spurious) / 2
    room = 2 * np.minimum(mean, 1 - mean)
    # 1 - a is rounded: a room of 1e-17 would otherwise turn 0/0 into a number.
    defined = room > 1e-12
    return np.where(defined, np.clip((core - spurious) / np.where(defined, room, 1.0), -1, 1), np.nan)


def rcs(core: float, spurious: float) -> Rcs:
    """RCS of one pair of accuracies in [0, 1]. Example: rcs(0.8423, 0.7695) = 0.19."""
    value = float(rcs_values(np.array([core]), np.array([spurious]))[0])
    if np.isnan(value):
        both = "0" if core + spurious < 1 else "1"
        return Rcs(None, f"core and spurious accuracy are both {both}: RCS is 0/0", False)
    saturated = 1 - abs(value) < 1e-12 and abs(core - spurious) < 1 - 1e-12
    return Rcs(value, None, bool(saturated))
