"""From scores per image to measurements, the same way in every audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spuraudit.perturb.draws import key_of
from spuraudit.record.scan import Measurement
from spuraudit.stats.intervals import Estimate, Floats, bootstrap, mean_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Weighted sum of the columns' means, such as clean - noised; strata as in `stats.intervals.bootstrap`."""
    n = sum(len(scores) for scores in strata)
    if not n:
        return Measurement(metric=metric, definition=definition, scope=scope, value=None, reason="no image", n=0)
    vector = np.asarray(weights, dtype=float)
    key = key_of(seed, metric, *(f"{k}={v}" for k, v in sorted(scope.items())))
    return of_estimate(metric, definition, scope, bootstrap(strata, lambda means: means @ vector, key), n)


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
