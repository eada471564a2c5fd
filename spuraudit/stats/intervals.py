"""95 % intervals: Wilson for proportions, bootstrap over images (stratified by class) for differences and RCS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
_Z = float(ndtri(0.5 + LEVEL / 2))


class Estimate(NamedTuple):
    """A value in 0..1 (or a difference, or an RCS) with its 95 % interval and the method behind it."""

    value: float
    low: float
    high: float
    method: str


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson score interval of a proportion; `n` may be an effective, fractional number of trials. n > 0."""
    p = successes / n
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def effective_n(strata: Sequence[Floats]) -> float:
    """Independent yes/no answers that would give a mean of class means the variance it has here.

    `strata`: per class, one score in [0, 1] per image (mean over its trials, so trials of an image stay together).
    A class of one image, and a set without any spread, count as plain yes/no answers: never surer than n images.
    """
    k = len(strata)
    mean = float(np.mean([s.mean() for s in strata]))
    plain = k**2 / sum(1 / len(s) for s in strata)
    # Clusters of trials vary less than yes/no answers; with a single image no spread can be seen.
    parts = [(s.var(ddof=1) if len(s) > 1 else s.mean() * (1 - s.mean())) / len(s) for s in strata]
    variance = float(np.sum(parts)) / k**2
    if variance <= 0 or mean in (0.0, 1.0):
        return float(plain)
    return float(mean * (1 - mean) / variance)


def mean_accuracy(strata: Sequence[Floats]) -> Estimate:
    """Mean over classes of the mean score over images, with a Wilson interval at the effective n.

    `strata` as in `effective_n`; give one stratum for a mean over images. At 0 % and 100 % the interval stays open.
    """
    value = float(np.mean([s.mean() for s in strata]))
    n = effective_n(strata)
    low, high = wilson(value * n, n)
    method = "wilson" if len(strata) == 1 else "wilson (effective n, classes as strata)"
    return Estimate(value, min(low, value), max(high, value), method)


def bootstrap_means(strata: Sequence[Floats], seed: int, resamples: int = RESAMPLES) -> Floats:
    """Bootstrap replicates of class-averaged means.

    `strata`: per class an array (n images, k columns) of scores; the columns of an image are resampled together.
    Returns (resamples, k): in each replicate the mean over classes of the mean over that class's resampled images.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    total = np.zeros((resamples, strata[0].shape[1]))
    for scores in strata:
        n = len(scores)
        # Resampling n images is drawing multinomial counts: one matrix product instead of an index per image.
        counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
        total += counts @ scores / n
    return total / len(strata)


def percentile(replicates: Floats, value: float, method: str) -> Estimate:
    """Percentile interval of bootstrap replicates around the estimate `value`; NaN replicates are left out."""
    kept = replicates[~np.isnan(replicates)]
    if not len(kept):
        return Estimate(value, value, value, f"{method}, no spread")
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), method)


def bootstrap(strata: Sequence[Floats], statistic: Callable[[Floats], Floats], seed: int) -> Estimate:
    """Interval of `statistic` of class-averaged means.

    `statistic` maps (r, k) means to (r,) values. The estimate is the statistic of the observed means.
    """
    observed = np.mean([scores.mean(axis=0) for scores in strata], axis=0)
    value = float(statistic(observed[None, :])[0])
    method = f"bootstrap over images{', by class' if len(strata) > 1 else ''} ({RESAMPLES})"
    return percentile(statistic(bootstrap_means(strata, seed)), value, method)


def jeffreys_pairs(strata: Sequence[Floats], seed: int, resamples: int = RESAMPLES) -> Floats:
    """Draws (resamples, k) of k accuracies from Beta(x + 1/2, n - x + 1/2) at each column's effective n.

    For accuracies that sit at 0 or 1: there resampling images shows no spread at all, which is not certainty.
    Columns are drawn independently, which is wider than their true, paired spread.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    columns = []
    for j in range(strata[0].shape[1]):
        scores = [s[:, j] for s in strata]
        n = effective_n(scores)
        p = float(np.mean([s.mean() for s in scores]))
        columns.append(rng.beta(p * n + 0.5, (1 - p) * n + 0.5, size=resamples))
    return np.stack(columns, axis=1)
