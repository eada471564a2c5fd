"""From scores per image to measurements, the same way in every audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spuraudit.perturb.draws import key_of
from spuraudit.record.scan import Exclusion, Measurement
from spuraudit.stats.intervals import Estimate, Floats, mean_accuracy, mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spuraudit.audits.rows import Rows
    from spuraudit.record.scan import Scope


def accuracy(metric: str, definition: str, scope: Scope, strata: Sequence[Floats]) -> Measurement:
    """Mean over strata of the mean score; `strata` hold one score in [0, 1] per image."""
    n = sum(len(scores) for scores in strata)
    if not n:
        return Measurement(metric=metric, definition=definition, scope=scope, value=None, reason="no image", n=0)
    return of_estimate(metric, definition, scope, mean_accuracy(strata), n)


def difference(
    metric: str, definition: str, scope: Scope, strata: Sequence[Floats], weights: Sequence[float], seed: int
) -> Measurement:
    """Weighted sum of scores per image, such as clean - noised, averaged over classes.

    `strata`: per class (n, k) scores; `weights`: one per column, so that the sum lies in -1..1.
    """
    vector = np.asarray(weights, dtype=float)
    return mean(metric, definition, scope, [scores @ vector for scores in strata], (-1.0, 1.0), seed)


def mean(
    metric: str, definition: str, scope: Scope, strata: Sequence[Floats], bounds: tuple[float, float], seed: int
) -> Measurement:
    """Mean over classes of the mean over images of real values within `bounds`; per class one value per image."""
    n = sum(len(values) for values in strata)
    if not n:
        return Measurement(metric=metric, definition=definition, scope=scope, value=None, reason="no image", n=0)
    key = key_of(seed, metric, *(f"{k}={v}" for k, v in sorted(scope.items())))
    return of_estimate(metric, definition, scope, mean_interval(strata, bounds, key), n)


def of_estimate(metric: str, definition: str, scope: Scope, estimate: Estimate, n: int) -> Measurement:
    """A measurement with the estimate's value, interval and method."""
    return Measurement(
        metric=metric,
        definition=definition,
        scope=scope,
        value=estimate.value,
        n=n,
        ci=(estimate.low, estimate.high),
        ci_method=estimate.method,
    )


def exclude(rows: Rows, which: NDArray[np.bool_], reason: str) -> tuple[Exclusion, ...]:
    """The chosen images as an exclusion of the record; nothing where there are none."""
    names = [rows.images[i].id for i in np.flatnonzero(which)]
    return (Exclusion(reason=reason, n=len(names), examples=names[:5]),) if names else ()
