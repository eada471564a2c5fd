"""Where the control noise may lie, and how much energy it can have; restated in plain loops and float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def copies(feature: Floats) -> list[Floats]:
    """The three mirror images of a mask, then four rolls: by half the width, half the height, both, a third of both."""
    height, width = feature.shape

    def moved(source: Callable[[int, int], tuple[int, int]]) -> Floats:
        result = np.zeros_like(feature)
        for row in range(height):
            for column in range(width):
                result[row, column] = feature[source(row, column)]
        return result

    def rolled(down: int, right: int) -> Floats:
        return moved(lambda row, column: ((row - down) % height, (column - right) % width))

    return [
        moved(lambda row, column: (row, width - 1 - column)),
        moved(lambda row, column: (height - 1 - row, column)),
        moved(lambda row, column: (height - 1 - row, width - 1 - column)),
        rolled(0, width // 2),
        rolled(height // 2, 0),
        rolled(height // 2, width // 2),
        rolled(height // 3, width // 3),
    ]


def overlap(copy: Floats, feature: Floats, core: Floats) -> float:
    """Sum over pixels of copy x max(feature, core)."""
    return float(
        sum(c * max(f, o) for c, f, o in zip(copy.flat, feature.flat, core.flat, strict=True)),
    )


def clamped_energy(pixels: Floats, region: Floats, z: Floats, sigma: float) -> float:
    """L2 norm of clip(x + sigma (region o z), 0, 1) - x, in float64."""
    after = np.clip(pixels + sigma * region[None] * z, 0, 1)
    return float(np.sqrt(((after - pixels) ** 2).sum()))
