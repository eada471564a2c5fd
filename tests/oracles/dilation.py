"""Dilation of a soft mask, restated (CoRM paper, definition 6.1): one square maximum per iteration, repeated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dilate_once(mask: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """dil(m)[p, q] = max of m[p + u, q + v] over u, v in -k..k, as far as they lie in the image. Pixel by pixel."""
    height, width = mask.shape
    dilated = np.zeros_like(mask)
    for p in range(height):
        for q in range(width):
            largest = np.float32(0)
            for u in range(-k, k + 1):
                for v in range(-k, k + 1):
                    if 0 <= p + u < height and 0 <= q + v < width:
                        largest = max(largest, mask[p + u, q + v])
            dilated[p, q] = largest
    return dilated


def dilate_once_by_shifts(mask: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The same, one shifted copy of the mask per (u, v): fast enough for 224 pixels."""
    height, width = mask.shape
    framed = np.zeros((height + 2 * k, width + 2 * k), dtype=mask.dtype)
    framed[k : k + height, k : k + width] = mask
    dilated = np.zeros_like(mask)
    for u in range(2 * k + 1):
        for v in range(2 * k + 1):
            dilated = np.maximum(dilated, framed[u : u + height, v : v + width])
    return dilated


def dilate_repeatedly(mask: NDArray[np.float32], iterations: int, k: int) -> NDArray[np.float32]:
    """`iterations` dilations after one another."""
    for _ in range(iterations):
        mask = dilate_once_by_shifts(mask, k)
    return mask
