"""Exchange of regions between images, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Place = tuple[int, int]


def cell_number(row: int, column: int, patch: int, width: int) -> int:
    """Number, from 1 and row-major, of the cell of `patch` pixels in which a pixel (from 0) lies."""
    per_row = -(-width // patch)
    return (row // patch) * per_row + column // patch + 1


def composite(x: Floats, region: Floats, donor: Floats) -> Floats:
    """x* = x o (1 - s) + d o s."""
    result = np.zeros_like(x)
    for channel, row, column in np.ndindex(*x.shape):
        soft = region[row, column]
        result[channel, row, column] = x[channel, row, column] * (1 - soft) + donor[channel, row, column] * soft
    return result


def replacements(inside: NDArray[np.bool_], pixel: Place) -> set[Place]:
    """Where an object pixel may take its colour from: one place per nearest surrounding pixel (there may be ties).

    The border pixel b is the nearest one outside the object; the mirrored place lies as far beyond b as the pixel
    lies before it; where that is the object again, or no pixel of the image, b itself serves.
    """
    height, width = inside.shape
    outside = [(row, column) for row in range(height) for column in range(width) if not inside[row, column]]
    distances = [(row - pixel[0]) ** 2 + (column - pixel[1]) ** 2 for row, column in outside]
    places = set()
    for border, distance in zip(outside, distances, strict=True):
        if distance > min(distances):
            continue
        beyond = (border[0] + (border[0] - pixel[0]), border[1] + (border[1] - pixel[1]))
        in_image = 0 <= beyond[0] < height and 0 <= beyond[1] < width
        places.add(beyond if in_image and not inside[beyond] else border)
    return places
