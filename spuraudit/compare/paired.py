"""A paired change with its interval and its p."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spuraudit.stats.intervals import Estimate, mean_interval
from spuraudit.stats.keys import key_of
from spuraudit.stats.paired import sign_flip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.compare.joined import Ints
    from spuraudit.compare.scores import Scores
    from spuraudit.record.scan import Scope


class Paired(NamedTuple):
    """Class-averaged values before and after, the change, its p, and the images behind it."""

    before: float
    after: float
    change: Estimate
    p: float
    n: int


def bootstrap_key(seed: int, metric: str, scope: Scope) -> int:
    """Of the resampling of a change."""
    return key_of(seed, "change", metric, *(f"{k}={v}" for k, v in sorted(scope.items())))


def paired_change(scores: Scores, strata: Sequence[Ints], key: int) -> Paired | None:
    """After minus before, averaged over the strata; None without images.

    `strata`: per class counts (n, 2). Images are resampled within classes; an image's trials, and its answers to both
    models, stay together.
    """
    if not strata:
        return None
    before, after = (float(np.mean([one[:, side].mean() for one in strata])) / scores.parts for side in (0, 1))
    steps = [one[:, 1] - one[:, 0] for one in strata]
    change = mean_interval([step / scores.parts for step in steps], (-scores.reach, scores.reach), key)
    return Paired(before, after, change, stratified_sign_flip(steps), sum(len(one) for one in strata))


def stratified_sign_flip(strata: Sequence[Ints]) -> float:
    """p of the sign-flip test whose statistic is the mean over classes of the mean over images.

    An image of a class of n images counts 1 / n; weights are whole numbers, the largest class's 100, so that the null
    distribution can be counted. Any fixed weights give a valid test.
    """
    largest = max(len(one) for one in strata)
    weights = [round(100 * largest / len(one)) for one in strata]
    return sign_flip(np.concatenate([weight * one for weight, one in zip(weights, strata, strict=True)]))
