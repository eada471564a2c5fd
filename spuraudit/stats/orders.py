"""How far two orders of the same things agree: Spearman's rho and Kendall's tau-b.

Comparing every pair suits the hundreds of models of a zoo; importing scipy.stats takes longer than all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks, ties at their mean rank; in -1..1. None where either has a single value."""
    first, second = (_signs(values).sum(axis=1) for values in (one, other))
    return _cosine(first, second)


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Tau-b (Kendall 1945): pairs in the same order minus pairs in the opposite order, over sqrt((pairs that `one`
    tells apart) x (those that `other` does)); in -1..1. None where either has a single value.
    """
    return _cosine(_signs(one), _signs(other))


def _signs(values: Sequence[float]) -> NDArray[np.int64]:
    """(n, n): sign of value i minus value j. A row's sum is twice its mean rank minus n + 1, ascending."""
    column = np.asarray(values, np.float64)[:, None]
    return np.sign(column - column.T).astype(np.int64)


def _cosine(a: NDArray[np.int64], b: NDArray[np.int64]) -> float | None:
    scale = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / scale**0.5 if scale else None
