"""How the lowest of several means changed, in loops: see spuraudit/stats/lowest.py for what is computed, and why."""

from __future__ import annotations

import math

import numpy as np

Z = 1.959963984540054


def unseen(n: int) -> float:
    return (1 - 0.025 ** (1 / n)) / Z


def may_be_lowest(means: list[float], replicates: list[list[float]], images: float) -> list[int]:
    lowest = min(range(len(means)), key=lambda g: means[g])
    kept = []
    for g in range(len(means)):
        gaps = [(a - means[g]) - (b - means[lowest]) for a, b in zip(replicates[g], replicates[lowest], strict=True)]
        if means[g] - means[lowest] <= math.sqrt(math.log(images)) * float(np.std(gaps)) + 1e-12:
            kept.append(g)
    return kept


def error(before: list[float], after: list[float], off: list[float], same: bool) -> float:
    """Of a difference of two means: `off` are its replicates less itself."""
    variance = float(np.var(off))
    if same:
        if len({round(a - b, 9) for a, b in zip(after, before, strict=True)}) == 1:
            variance += unseen(len(after)) ** 2
    else:
        for scores in (before, after):
            if len(set(scores)) == 1:
                variance += unseen(len(scores)) ** 2
    return math.sqrt(variance)


def bounds(strata: list[np.ndarray], replicates: list[np.ndarray]) -> tuple[float, float]:
    """strata: (n, 2) per group, before and after; replicates: (r, 2) of its means."""
    groups = range(len(strata))
    before = [float(one[:, 0].mean()) for one in strata]
    after = [float(one[:, 1].mean()) for one in strata]
    images = sum(len(one) for one in strata) / len(strata)
    low_before = may_be_lowest(before, [one[:, 0].tolist() for one in replicates], images)
    low_after = may_be_lowest(after, [one[:, 1].tolist() for one in replicates], images)
    off, se = {}, {}
    for g in groups:
        for h in groups:
            change = after[g] - before[h]
            pairs = zip(replicates[g][:, 1].tolist(), replicates[h][:, 0].tolist(), strict=True)
            off[g, h] = [a - b - change for a, b in pairs]
            se[g, h] = error(strata[h][:, 0].tolist(), strata[g][:, 1].tolist(), off[g, h], g == h)
    count = len(replicates[0])
    lows, highs = [], []
    for g in groups:
        largest = [max(off[g, h][r] / se[g, h] for h in low_before) for r in range(count)]
        critical = max(Z, float(np.quantile(largest, 0.975)))
        lows.append(max(after[g] - before[h] - critical * se[g, h] for h in low_before))
    for h in groups:
        largest = [max(-off[g, h][r] / se[g, h] for g in low_after) for r in range(count)]
        critical = max(Z, float(np.quantile(largest, 0.975)))
        highs.append(min(after[g] - before[h] + critical * se[g, h] for g in low_after))
    return max(-1.0, min(lows)), min(1.0, max(highs))
