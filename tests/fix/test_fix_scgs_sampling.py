"""Which errors SCGS works on: equation 3 where it can be computed, and what is done where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.scgs import (
    density,
    inclusion,
    mean_and_covariance,
    principal_coordinates,
    probabilities,
    pseudo_distances,
)

from spuraudit.errors import DataError, NotEvaluatedError, UsageError
from spuraudit.fix.scgs.sampling import log_weights_of, sample_errors


def names(count: int) -> list[str]:
    return [f"image-{number:04d}" for number in range(count)]


def cloud(seed: int, count: int, dimensions: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions)) + rng.normal(
        size=dimensions
    )


@pytest.mark.parametrize(("count", "dimensions"), [(8, 1), (8, 2), (20, 3), (20, 5), (60, 5)])
def test_weights_are_those_of_equation_3_where_it_can_be_computed(count: int, dimensions: int) -> None:
    cluster = cloud(count, count, dimensions)
    weights, used, reason = log_weights_of(cluster)
    assert (used, reason) == (dimensions, None)
    np.testing.assert_allclose(np.exp(weights), probabilities(cluster), rtol=1e-9)


@pytest.mark.parametrize(("count", "dimensions", "used"), [(20, 64, 5), (9, 64, 2), (40, 12, 5)])
def test_weights_are_those_of_equation_3_on_the_first_principal_axes(count: int, dimensions: int, used: int) -> None:
    cluster = cloud(3, count, dimensions)
    weights, axes, _ = log_weights_of(cluster)
    assert axes == used
    np.testing.assert_allclose(np.exp(weights), probabilities(principal_coordinates(cluster, used)), rtol=1e-7)


def test_equation_3_as_printed_cannot_be_computed_in_many_dimensions() -> None:
    cluster = cloud(0, 20, 60)
    mean, covariance = mean_and_covariance(cluster)
    assert np.linalg.matrix_rank(covariance) == 19
    with np.errstate(all="ignore"):
        assert not np.isfinite((2 * np.pi) ** np.float64(2048 / 2))
        literal = np.array([density(s, mean, covariance + 1e-30 * np.eye(60)) for s in cluster])
    assert not (np.isfinite(literal) & (literal > 0)).all()
    weights, _, reason = log_weights_of(cluster)
    assert reason is None
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(("count", "dimensions"), [(20, 60), (20, 20), (30, 512)])
def test_with_a_pseudo_inverse_all_images_are_equally_far_and_here_they_are_not(count: int, dimensions: int) -> None:
    cluster = np.random.default_rng(count).normal(size=(count, dimensions))
    if dimensions <= 60:
        np.testing.assert_allclose(pseudo_distances(cluster), (count - 1) ** 2 / count, rtol=1e-6)
    weights, _, _ = log_weights_of(cluster)
    assert np.exp(weights.max() - weights.min()) > 5
    assert np.exp(weights).sum() == pytest.approx(1)


def test_scale_of_the_features_does_not_matter_even_at_the_ends_of_float64() -> None:
    cluster = cloud(5, 24, 6)
    plain, _, _ = log_weights_of(cluster)
    for factor in (1e-160, 1e160):
        np.testing.assert_allclose(log_weights_of(cluster * factor)[0], plain, rtol=1e-6)


def test_small_and_flat_clusters_are_uniform_and_say_so() -> None:
    weights, used, reason = log_weights_of(cloud(1, 7, 3))
    assert (used, reason) == (0, "fewer than 8 images")
    np.testing.assert_allclose(np.exp(weights), 1 / 7)
    _, used, reason = log_weights_of(np.full((9, 4), 0.1))
    assert (used, reason) == (0, "all images have the same features")
    line = np.outer(np.arange(12.0), np.ones(5))
    assert log_weights_of(line)[1:] == (1, None)


def test_draws_have_the_chances_of_drawing_one_by_one() -> None:
    cluster = cloud(2, 10, 2)
    expected = inclusion(probabilities(cluster), 3)
    rounds = 600
    counts = np.zeros(10)
    for seed in range(rounds):
        drawn = sample_errors(cluster, names(10), clusters=1, seed=seed, share=0.3)
        counts[list(drawn.indices)] += 1
    error = np.sqrt(expected * (1 - expected) / rounds)
    assert (np.abs(counts / rounds - expected) < 4.5 * error + 1e-9).all()
    assert expected.max() - expected.min() > 0.3


def test_clusters_are_found_and_share_the_quota_by_size() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0] * 32, [20.0] * 32, [-20.0] * 32])
    which = np.repeat([0, 1, 2], [50, 30, 5])
    rng.shuffle(which)
    sample = sample_errors(centres[which] + rng.normal(size=(85, 32)), names(85), clusters=3, seed=0)
    of_size = {cluster.errors: cluster for cluster in sample.clusters}
    assert {errors: cluster.sampled for errors, cluster in of_size.items()} == {50: 10, 30: 6, 5: 1}
    assert np.bincount(which[list(sample.indices)]).tolist() == [10, 6, 1]
    assert (of_size[50].method, of_size[50].dimensions) == ("gaussian", 5)
    assert of_size[5].method == "uniform"
    assert of_size[5].reason
    assert of_size[5].effective == pytest.approx(5)
    assert 1 < of_size[50].effective < 50


def test_every_cluster_gives_one_however_small_the_share() -> None:
    features = np.concatenate([cloud(0, 90, 3), cloud(1, 3, 3) + 500])
    sample = sample_errors(features, names(93), clusters=2, seed=0, share=0.01)
    assert sorted(cluster.sampled for cluster in sample.clusters) == [1, 1]


def test_a_share_of_all_draws_all() -> None:
    sample = sample_errors(cloud(0, 11, 3), names(11), clusters=3, seed=0, share=1.0)
    assert sample.indices == tuple(range(11))


def test_draws_depend_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    features, ids = cloud(4, 60, 16), names(60)
    first = sample_errors(features, ids, clusters=2, seed=7)
    assert first == sample_errors(features, ids, clusters=2, seed=7)
    shuffled = np.random.default_rng(1).permutation(60)
    again = sample_errors(features[shuffled], [ids[at] for at in shuffled], clusters=2, seed=7)
    assert [ids[shuffled[at]] for at in again.indices] == [ids[at] for at in first.indices]
    assert again.clusters == first.clusters
    assert any(sample_errors(features, ids, clusters=2, seed=seed).indices != first.indices for seed in range(3))


def test_fewer_different_images_than_clusters() -> None:
    features = np.repeat(cloud(0, 2, 3), 5, axis=0)
    sample = sample_errors(features, names(10), clusters=4, seed=0)
    assert [cluster.errors for cluster in sample.clusters] == [5, 5]


def test_float32_features_of_many_dimensions() -> None:
    features = np.random.default_rng(0).normal(size=(60, 2048)).astype(np.float32)
    sample = sample_errors(features, names(60), clusters=2, seed=0)
    assert len(sample.indices) == 12
    assert len(set(sample.indices)) == 12


def test_too_few_errors_are_not_evaluated() -> None:
    with pytest.raises(NotEvaluatedError, match="3 misclassified training images are too few for 2 clusters"):
        sample_errors(cloud(0, 3, 2), names(3), clusters=2, seed=0)
    with pytest.raises(NotEvaluatedError, match="0 misclassified"):
        sample_errors(np.zeros((0, 5)), [], clusters=1, seed=0)


def test_impossible_input_is_refused() -> None:
    features = cloud(0, 10, 3)
    with pytest.raises(UsageError, match="0 clusters"):
        sample_errors(features, names(10), clusters=0, seed=0)
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="share"):
            sample_errors(features, names(10), clusters=1, seed=0, share=share)
    with pytest.raises(DataError, match="do not describe 9"):
        sample_errors(features, names(9), clusters=1, seed=0)
    with pytest.raises(DataError, match="do not describe"):
        sample_errors(np.zeros((10, 0)), names(10), clusters=1, seed=0)
    with pytest.raises(DataError, match="different ids"):
        sample_errors(features, ["same"] * 10, clusters=1, seed=0)
    features[4, 1] = np.inf
    with pytest.raises(DataError, match=r"image-0004: features are not finite \(1 of 10"):
        sample_errors(features, names(10), clusters=1, seed=0)
