"""Which misclassified images of a class are worked on (SCGS, section II.C): k-means, Gaussian sampling in clusters.

Equation 3 cannot be computed as printed. With n images in a cluster and D features the covariance has rank n - 1 at
most, its determinant is 0 and (2 pi)^(D/2) overflows at D = 2048; with a pseudo-inverse and n <= D every image lies at
the same Mahalanobis distance, (n - 1)^2 / n, which is uniform sampling. What is done instead:

- Each cluster is rotated onto its own first min(5, n // 4) principal axes. The covariance there is diagonal with at
  least four images per axis, so it needs no shrinkage, and where D is that small the weights are those of equation 3.
  More axes (32 with Ledoit-Wolf shrinkage would be another way) do not describe a cluster better: the log density
  spreads with the number of axes, so that of 32 the few images nearest to the mean take almost all of the weight.
- Only logarithms are used, and constants cancel: weights are softmax(log density) inside the cluster.
- Drawing without replacement is Gumbel top-k, which has the distribution of drawing one by one and renormalising.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.cluster import KMeans

from spuraudit.errors import DataError, NotEvaluatedError, UsageError
from spuraudit.perturb.draws import key_of, rng_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Of a class's misclassified images (paper, section III.A).
SHARE = 0.2
_STARTS = 10
_LARGEST_DIMENSIONS = 5
_IMAGES_PER_DIMENSION = 4
#: Below, a covariance says nothing: every image of the cluster is as likely.
_SMALLEST_GAUSSIAN = 8
#: Principal variances below this share of the largest are rounding.
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class ClusterDraw:
    """How one cluster was sampled, for the log.

    dimensions: principal axes used, 0 where uniform. effective: 1 / sum of squared weights, between 1 (one image has
    all the weight) and `errors` (uniform). reason: why uniform, None where not.
    """

    errors: int
    sampled: int
    method: Literal["gaussian", "uniform"]
    dimensions: int
    effective: float
    reason: str | None = None


@dataclass(frozen=True)
class ErrorSample:
    """Rows of the features that were drawn, in the order of their ids, and how."""

    indices: tuple[int, ...]
    clusters: tuple[ClusterDraw, ...]


def sample_errors(
    features: NDArray[np.floating[Any]], ids: Sequence[str], *, clusters: int, seed: int, share: float = SHARE
) -> ErrorSample:
    """Draw round(share * n) of one class's misclassified images, at least one from each cluster.

    features: (n, D), finite, of one class. ids: n different names; the draws are keyed on them and on the seed, so the
    order of the rows does not matter. A cluster's quota is proportional to its size; clusters of fewer than 8 images,
    and those whose images all agree, are sampled uniformly. Where fewer different images than clusters exist, each of
    them is a cluster.
    Raises NotEvaluatedError for fewer than two images per cluster, UsageError for an impossible share or number of
    clusters, DataError for features that are not finite or do not fit the ids.
    """
    _check(features, ids, clusters, share)
    order = sorted(range(len(ids)), key=lambda row: ids[row])
    rows = np.asarray(features, dtype=np.float64)[order]
    groups = _k_means(rows, clusters, seed)
    quotas = _quotas([len(group) for group in groups], share)
    # One per image, keyed on it: whatever else is in the set, an image keeps its luck.
    gumbel = np.array([rng_of(seed, ids[row], "scgs.sample").gumbel() for row in order])
    drawn: list[int] = []
    log = []
    for group, quota in zip(groups, quotas, strict=True):
        log_weights, dimensions, reason = log_weights_of(rows[group])
        best = np.argsort(-(log_weights + gumbel[group]), kind="stable")[:quota]
        drawn += [int(group[at]) for at in best]
        effective = float(1.0 / np.square(np.exp(log_weights)).sum())
        method: Literal["gaussian", "uniform"] = "uniform" if reason else "gaussian"
        log.append(ClusterDraw(len(group), quota, method, dimensions, effective, reason))
    return ErrorSample(tuple(order[at] for at in sorted(drawn)), tuple(log))


def log_weights_of(cluster: NDArray[np.float64]) -> tuple[NDArray[np.float64], int, str | None]:
    """log softmax(log density) of each image in its cluster: (n, D) -> (n,), the axes used, why uniform (or None).

    The density is equation 3 on the first min(5, n // 4) principal axes, with the covariance over n - 1.
    """
    count = len(cluster)
    uniform = np.full(count, -np.log(count))
    if count < _SMALLEST_GAUSSIAN:
        return uniform, 0, f"fewer than {_SMALLEST_GAUSSIAN} images"
    centred = cluster - cluster.mean(axis=0)
    scale = np.abs(centred).max(initial=0.0)
    # Rounding of the mean leaves a trace where all images agree.
    if scale <= 1e-12 * np.abs(cluster).max(initial=0.0):
        return uniform, 0, "all images have the same features"
    # scaled first: squares of very large or small features leave the range of float64
    left, singular, _ = np.linalg.svd(centred / scale, full_matrices=False)
    rank = int((singular**2 > _RANK_TOLERANCE * singular[0] ** 2).sum())
    dimensions = min(_LARGEST_DIMENSIONS, count // _IMAGES_PER_DIMENSION, rank)
    # Coordinates over standard deviations: U S / (S / sqrt(n - 1)).
    distance = (count - 1) * np.square(left[:, :dimensions]).sum(axis=1)
    # The determinant and (2 pi)^d are the same for all of the cluster.
    log_density = -0.5 * distance
    weights: NDArray[np.float64] = log_density - np.logaddexp.reduce(log_density)
    return weights, dimensions, None


def _k_means(rows: NDArray[np.float64], clusters: int, seed: int) -> list[NDArray[np.intp]]:
    """Rows of each cluster, ascending; the clusters in the order of their first row."""
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    if len(distinct) <= clusters:
        labels = which.reshape(-1)
    else:
        # scikit-learn takes 32 bits of seed
        start = key_of(seed, "scgs.k-means") & 0xFFFFFFFF
        labels = KMeans(clusters, n_init=_STARTS, random_state=start).fit_predict(rows)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return sorted(groups, key=lambda group: int(group[0]))


def _quotas(sizes: Sequence[int], share: float) -> list[int]:
    """How many of each cluster: one each, then one at a time where most is missing to the proportional share."""
    total = max(len(sizes), round(share * sum(sizes)))
    ideal = [total * size / sum(sizes) for size in sizes]
    quotas = [1] * len(sizes)
    for _ in range(total - len(sizes)):
        open_to = [at for at, size in enumerate(sizes) if quotas[at] < size]
        quotas[max(open_to, key=lambda at: ideal[at] - quotas[at])] += 1
    return quotas


def _check(features: NDArray[np.floating[Any]], ids: Sequence[str], clusters: int, share: float) -> None:
    if clusters < 1:
        raise UsageError(f"{clusters} clusters per class are impossible.", "Use 1 or more; the paper uses 2 and 4.")
    if not 0 < share <= 1:
        raise UsageError(f"A share of {share} of the errors cannot be drawn.", "Use more than 0 and at most 1.")
    if features.ndim != 2 or len(features) != len(ids) or (len(ids) and not features.shape[1]):
        raise DataError(f"Features of shape {features.shape} do not describe {len(ids)} misclassified images.")
    if len(set(ids)) != len(ids):
        raise DataError("Misclassified images must have different ids.")
    if len(ids) < 2 * clusters:
        raise NotEvaluatedError(
            f"{len(ids)} misclassified training images are too few for {clusters} clusters (two each).",
            "Use fewer clusters, or take the errors of an earlier epoch: a trained model makes few on its own images.",
        )
    broken = [name for name, row in zip(ids, features, strict=True) if not np.isfinite(row).all()]
    if broken:
        raise DataError(f"{broken[0]}: features are not finite ({len(broken)} of {len(ids)} images).")
