"""Noise in a soft region and its energy, one number after the other (CoRM paper, definition 6.2)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def noised(x: Floats, region: Floats, z: Floats, sigma: float, clamp: bool) -> Floats:
    """x* = x + sigma (z o region) for x, z of (3, H, W) and region of (H, W); cut to 0..1 if `clamp`."""
    result = np.zeros_like(x)
    channels, height, width = x.shape
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                value = x[channel, row, column] + sigma * z[channel, row, column] * region[row, column]
                result[channel, row, column] = min(1.0, max(0.0, value)) if clamp else value
    return result


def norm_of_change(before: Floats, after: Floats) -> float:
    """Square root of the sum of squared changes over all channels and pixels."""
    return math.sqrt(sum((float(b) - float(a)) ** 2 for b, a in zip(before.flat, after.flat, strict=True)))
