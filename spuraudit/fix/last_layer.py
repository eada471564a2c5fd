"""Deep feature reweighting (Kirichenko, Izmailov & Wilson 2023): a last layer fitted to balanced images.

The regularisation is chosen on half of the images, then regressions on balanced subsamples are averaged. Where the
authors' code leaves something open or is of two minds, this is done: each group is halved by itself, so that none is
missing in a half; the scaler of the final fit is that of the images fitted on, as in the choice of C, and not of the
training split; all draws are keyed. Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from spuraudit.perturb.draws import key_of, rng_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Penalty = Literal["l1", "l2"]
#: Inverse strengths of the regularisation that are tried (the authors' grid).
GRID = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
_ITERATIONS = 1000


class Scores(NamedTuple):
    """z = x W' + b in features as they are: weights (R, D), bias (R,). R is 1 for two classes: z speaks for class 1.

    More classes have one score each, of the class against all others, as liblinear does it.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def answers(self, features: NDArray[np.float64]) -> NDArray[np.intp]:
        """(N, D) -> (N,) classes."""
        scores = features @ self.weights.T + self.bias
        return (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else scores.argmax(axis=1)

    def layer(self, sigmoid: bool = False) -> Scores:
        """Weights (K, D) and bias (K,) of an ordinary linear layer.

        Two classes: logits (-z/2, +z/2), whose softmax is sigmoid(z); (-z, +z) where each output has its own sigmoid.
        """
        if len(self.bias) > 1:
            return self
        half = 1.0 if sigmoid else 0.5
        weights = np.concatenate([-half * self.weights, half * self.weights])
        return Scores(weights, np.concatenate([-half * self.bias, half * self.bias]))


@dataclass(frozen=True)
class Fitted:
    """scores: averaged, scaler folded in. strength: the chosen C. worst: for each C, accuracy of the worst group on the
    half that it was not fitted on. averaged: regressions. images: that each of them saw."""

    scores: Scores
    strength: float
    worst: dict[float, float]
    averaged: int
    images: int


def fit_last_layer(
    features: NDArray[np.float64],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    seed: int,
    penalty: Penalty = "l1",
    averages: int = 20,
) -> Fitted:
    """Features (N, D), classes 0..K-1 (all present) and groups (N,), each of at least two images and of one class.

    Where all groups have the same size, every balanced subsample is all of the images, and one regression is enough.
    """
    truth, names = np.asarray(labels), np.asarray(groups)
    first, second = halves(names, seed)
    chosen = first[balanced(names[first], seed, "choice")]
    worst = {}
    for strength in GRID:
        scores = _regression(features[chosen], truth[chosen], _Scaler.of(features[first]), strength, penalty, seed)
        worst[strength] = worst_group(scores.answers(features[second]) == truth[second], names[second])
    best = max(GRID, key=lambda strength: worst[strength])  # of equals the first: the weakest regularisation
    if len(set(np.unique(names, return_counts=True)[1].tolist())) == 1:
        averages = 1
    scaler = _Scaler.of(features)
    found = []
    for number in range(averages):
        some = balanced(names, seed, number)
        found.append(_regression(features[some], truth[some], scaler, best, penalty, seed))
    mean = Scores(np.mean([one.weights for one in found], axis=0), np.mean([one.bias for one in found], axis=0))
    return Fitted(mean, best, worst, averages, len(some))


def halves(groups: NDArray[np.str_], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to fit on and rows to choose by: each group is shuffled and cut in the middle; the odd one is fitted on."""
    first, second = [], []
    for name in np.unique(groups):
        members = rng_of(seed, "dfr.halves", str(name)).permutation(np.flatnonzero(groups == name))
        middle = (len(members) + 1) // 2
        first.append(members[:middle])
        second.append(members[middle:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def balanced(groups: NDArray[np.str_], seed: int, draw: int | str) -> NDArray[np.intp]:
    """Rows, as many of each group as the smallest has, drawn without replacement."""
    names, sizes = np.unique(groups, return_counts=True)
    drawn = [
        rng_of(seed, "dfr.balanced", draw, str(name)).permutation(np.flatnonzero(groups == name))[: sizes.min()]
        for name in names
    ]
    return np.sort(np.concatenate(drawn))


def worst_group(right: NDArray[np.bool_], groups: NDArray[np.str_]) -> float:
    """Lowest accuracy of a group."""
    return min(float(right[groups == name].mean()) for name in np.unique(groups))


class _Scaler(NamedTuple):
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> _Scaler:
        scale = features.std(axis=0)
        # a feature that never changes says nothing, and must not be divided by rounding
        still = scale <= 1e-12 * np.abs(features).max(axis=0, initial=1e-300)
        return cls(features.mean(axis=0), np.where(still, 1.0, scale))

    def folded(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> Scores:
        """w' = w / s, b' = b - w . m / s."""
        own = weights / self.scale
        return Scores(own, bias - own @ self.mean)


def _regression(
    features: NDArray[np.float64],
    labels: NDArray[np.int_],
    scaler: _Scaler,
    strength: float,
    penalty: Penalty,
    seed: int,
) -> Scores:
    """Logistic regression on standardised features, by liblinear: one class against the others, its bias penalised."""
    scaled = (features - scaler.mean) / scaler.scale
    classes = int(labels.max()) + 1
    weights, bias = [], []
    for label in [1] if classes == 2 else range(classes):
        model = LogisticRegression(
            C=strength,
            l1_ratio=1.0 if penalty == "l1" else 0.0,
            solver="liblinear",
            max_iter=_ITERATIONS,
            random_state=key_of(seed, "dfr.liblinear") & 0xFFFFFFFF,
        )
        model.fit(scaled, labels == label)
        weights.append(model.coef_[0])
        bias.append(model.intercept_[0])
    return scaler.folded(np.stack(weights), np.array(bias))
