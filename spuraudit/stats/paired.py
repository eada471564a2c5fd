"""Paired tests over images: exact sign-flip permutation, of which exact McNemar is the case of one trial."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

#: Above this many steps of the exact convolution the normal approximation is used (it then has thousands of images).
EXACT_WORK = 20_000_000
#: No p-value is 0; smaller ones than a float can hold come back as this.
SMALLEST = float(np.finfo(np.float64).tiny)


def sign_flip(differences: NDArray[np.int64]) -> float:
    """Two-sided p of the sign-flip test that paired differences are symmetric around 0.

    `differences`: one integer per image, such as (right answers clean x T) - (right answers noised) over T trials.
    Exact: the distribution of the sum of independent +-d_i is built by convolution. With one trial every d_i is
    -1, 0 or 1 and the test is exact McNemar (binomial on the discordant pairs). No image that differs: p = 1.
    """
    steps = np.abs(differences[differences != 0]).astype(np.int64)
    if not len(steps):
        return 1.0
    observed = abs(int(differences.sum()))
    scale = math.gcd(*steps.tolist())
    steps, observed = steps // scale, observed // scale
    reach = int(steps.sum())
    if len(steps) * (2 * reach + 1) > EXACT_WORK:
        deviation = math.sqrt(float((steps.astype(float) ** 2).sum()))
        # The sum moves in steps of 2: half a step of continuity correction.
        return float(min(1.0, max(SMALLEST, 2 * ndtr(-(observed - 1) / deviation))))
    weights = np.zeros(2 * reach + 1)
    weights[reach] = 1.0
    for step in steps.tolist():
        moved = np.zeros_like(weights)
        moved[step:] += 0.5 * weights[:-step]
        moved[:-step] += 0.5 * weights[step:]
        weights = moved
    tail = weights[: reach - observed + 1].sum() + weights[reach + observed :].sum()
    return float(min(1.0, max(SMALLEST, tail))) if observed else 1.0
