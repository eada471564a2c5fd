"""Intervals: Wilson against scipy, their coverage by simulation, the bootstrap against scipy and by its variance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest
from scipy.stats import bootstrap as scipy_bootstrap

from spuraudit.audits.noise import rcs_measurement
from spuraudit.stats.intervals import (
    Estimate,
    bootstrap_means,
    effective_n,
    jeffreys_pairs,
    mean_accuracy,
    mean_interval,
    percentile,
    wilson,
    without_spread,
)
from spuraudit.stats.rcs import rcs_values

Floats = np.ndarray
yes_no = st.lists(st.booleans(), min_size=1, max_size=80).map(lambda answers: np.array(answers, dtype=float))
scores = st.lists(st.integers(0, 5), min_size=1, max_size=12).map(lambda right: np.array(right) / 5)


def scipy_wilson(successes: int, n: int) -> tuple[float, float]:
    found = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    return found.low, found.high


# Wilson and accuracies


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case: tuple[int, int]) -> None:
    assert wilson(*case) == pytest.approx(scipy_wilson(*case), abs=1e-12)


@given(yes_no)
def test_one_class_of_yes_and_no_is_wilson(answers: Floats) -> None:
    found = mean_accuracy([answers])
    low, high = scipy_wilson(int(answers.sum()), len(answers))
    assert effective_n([answers]) == pytest.approx(len(answers))
    assert found.value == pytest.approx(answers.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert found.method == "wilson"


@pytest.mark.parametrize("sizes", [[1], [3], [50], [4, 4, 4], [1, 1, 1, 1], [2, 30]])
def test_stays_open_at_0_and_100_percent(sizes: list[int]) -> None:
    none, every = (mean_accuracy([np.full(n, value) for n in sizes]) for value in (0.0, 1.0))
    assert none.value == none.low == 0
    assert every.value == every.high == 1
    # Weighted like the classes: n = k^2 / sum(1 / n_i).
    n = len(sizes) ** 2 / sum(1 / size for size in sizes)
    z = 1.959963985
    assert none.high == pytest.approx(z**2 / (n + z**2))
    assert every.low == pytest.approx(n / (n + z**2))


@settings(deadline=None)
@given(st.lists(scores, min_size=1, max_size=6))
def test_interval_holds_the_class_average(strata: list[Floats]) -> None:
    found = mean_accuracy(strata)
    assert found.value == pytest.approx(sum(sum(s) / len(s) for s in strata) / len(strata))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 1e-4


def test_equal_scores_are_not_certainty() -> None:
    # .2 three times has a variance of 1e-33 in floats; three images cannot be worth more than three answers.
    assert effective_n([np.array([0.2, 0.2, 0.2])]) == pytest.approx(3)
    assert effective_n([np.full(4, 0.6), np.full(4, 0.2)]) == pytest.approx(8)


def test_lone_images_count_as_one_answer_each() -> None:
    lone = [np.array([1.0]), np.array([0.0])] * 10
    assert effective_n(lone) == pytest.approx(20)
    # A class of two beside them adds at most two answers.
    assert 20 <= effective_n([*lone, np.array([0.0, 1.0])]) <= 22
    assert effective_n([np.array([0.6])]) == 1


def test_trials_of_an_image_are_not_images() -> None:
    rng = np.random.default_rng(0)
    images = (rng.random(60) < 0.7).astype(float)
    same_five = np.repeat(images[:, None], 5, axis=1)
    assert effective_n([same_five.mean(axis=1)]) == pytest.approx(60)
    independent = (rng.random((400, 5)) < 0.7).astype(float)
    assert effective_n([independent.mean(axis=1)]) == pytest.approx(2000, rel=0.15)


REGIMES = {
    # accuracy per class, images per class, trials per image
    "one class": ([0.85], [40], 1),
    "five classes": ([0.9] * 5, [20] * 5, 1),
    "unequal accuracies": ([0.98, 0.9, 0.6, 0.3, 0.95], [20] * 5, 1),
    "unequal sizes": ([0.8] * 6, [5, 10, 20, 40, 60, 15], 1),
    "few images per class": ([0.9] * 20, [5] * 20, 1),
    "two images per class": ([0.85] * 50, [2] * 50, 1),
    "mostly lone images": ([0.7] * 12, [1] * 8 + [2, 3, 5, 10], 1),
    "five trials that agree by image": ([0.8] * 4, [15] * 4, 5),
}


@pytest.mark.parametrize("name", REGIMES)
def test_coverage_of_class_averaged_accuracy(name: str) -> None:
    accuracies, sizes, trials = REGIMES[name]
    rng = np.random.default_rng(list(name.encode()))
    truth, repeats, hits = float(np.mean(accuracies)), 1000, 0
    for _ in range(repeats):
        strata = []
        for p, n in zip(accuracies, sizes, strict=True):
            # Images differ in difficulty: trials of one image resemble each other.
            difficulty = rng.beta(1.5 * p, 1.5 * (1 - p), n) if trials > 1 else np.full(n, p)
            strata.append(rng.binomial(trials, difficulty) / trials)
        found = mean_accuracy(strata)
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / repeats <= 0.98


# Bootstrap


def paired_columns(rng: np.random.Generator, n: int, first: float = 0.9, second: float = 0.65) -> Floats:
    """(n, 2) yes/no scores that depend on each other, as clean and noised answers of an image do."""
    ease = rng.random(n)
    return np.stack([ease < first, (ease < second) ^ (rng.random(n) < 0.05)], axis=1).astype(float)


def differences(data: Floats) -> Floats:
    """First minus second column."""
    return data[:, 0] - data[:, 1]


@pytest.mark.parametrize("seed", range(3))
def test_mean_difference_agrees_with_scipy(seed: int) -> None:
    data = paired_columns(np.random.default_rng(seed), 80)
    found = mean_interval([differences(data)], (-1, 1), seed)
    theirs = scipy_bootstrap(
        (data[:, 0], data[:, 1]),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    assert found.value == pytest.approx(float(data[:, 0].mean() - data[:, 1].mean()))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.12 * (theirs.high - theirs.low))


def test_rcs_agrees_with_scipy() -> None:
    data = paired_columns(np.random.default_rng(7), 120, 0.8, 0.6)
    means = bootstrap_means([data], seed=3)
    value = float(rcs_values(*data.mean(axis=0)[:, None])[0])
    found = percentile(rcs_values(means[:, 0], means[:, 1]), value, "bootstrap")
    theirs = scipy_bootstrap(
        (data[:, 0], data[:, 1]),
        lambda a, b, axis: rcs_values(a.mean(axis=axis), b.mean(axis=axis)),
        paired=True,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.12 * (theirs.high - theirs.low))


@pytest.mark.parametrize("sizes", [[30], [2] * 40, [3] * 10, [5, 40, 12], [1] * 25, [1] * 6 + [4, 9]])
def test_spread_of_the_replicates(sizes: list[int]) -> None:
    """Variance of a mean of class means: 1/k^2 sum s_i^2 / n_i, lone images as one class of m with weight m/k."""
    rng = np.random.default_rng(sum(sizes))
    strata = [rng.integers(0, 6, (n, 2)) / 5 for n in sizes]
    k = len(strata)
    sets = [(s, 1) for s in strata if len(s) > 1]
    lone = [s for s in strata if len(s) == 1]
    if lone:
        sets.append((np.concatenate(lone), len(lone)))
    variance = sum(m**2 * s.var(axis=0, ddof=1) / len(s) for s, m in sets) / k**2
    replicates = bootstrap_means(strata, seed=1, resamples=4000)
    assert replicates.shape == (4000, 2)
    # Standard error of a standard deviation from 4000 draws is about 1.1 %.
    np.testing.assert_allclose(replicates.std(axis=0), np.sqrt(variance), rtol=0.05)
    centre = np.mean([s.mean(axis=0) for s in strata], axis=0)
    assert np.abs(replicates.mean(axis=0) - centre).max() < 5 * np.sqrt(variance.max() / 4000)


@pytest.mark.parametrize(("classes", "images"), [(30, 1), (30, 2), (20, 3), (5, 20), (1, 60)])
def test_coverage_of_a_difference(classes: int, images: int) -> None:
    rng = np.random.default_rng([classes, images])
    repeats, hits = 250, 0
    for _ in range(repeats):
        clean = rng.random((classes, images)) < 0.9
        noised = clean & (rng.random((classes, images)) < 0.8)
        strata = [of_class.astype(float) for of_class in clean ^ noised]
        found = mean_interval(strata, (-1, 1), int(rng.integers(1 << 30)))
        hits += found.low - 1e-12 <= 0.9 - 0.72 <= found.high + 1e-12
    # Standard error 1.4 points; percentile intervals are a little short.
    assert hits / repeats >= 0.9


def test_columns_of_an_image_stay_together() -> None:
    column = np.random.default_rng(1).integers(0, 6, 25) / 5
    shifted = np.stack([column, column - 0.25], axis=1)
    means = bootstrap_means([shifted[:12], shifted[12:]], seed=0)
    np.testing.assert_allclose(means[:, 0] - means[:, 1], 0.25)
    assert np.ptp(means[:, 0]) > 0.2


def test_resampling_in_portions_changes_nothing() -> None:
    # 5,000 images: more counts than are held at once.
    values = np.random.default_rng(2).random((5000, 1))
    found = bootstrap_means([values], seed=9, resamples=1000)
    counts = np.random.Generator(np.random.Philox(9)).multinomial(4999, np.full(5000, 1 / 5000), size=1000)
    np.testing.assert_allclose(found, counts @ values / 4999)


def test_same_seed_same_interval() -> None:
    data = [differences(paired_columns(np.random.default_rng(i), 10 + i)) for i in range(3)]
    assert mean_interval(data, (-1, 1), 5) == mean_interval(data, (-1, 1), 5)
    assert mean_interval(data, (-1, 1), 5) != mean_interval(data, (-1, 1), 6)
    assert mean_interval(data, (-1, 1), 5).method == "bootstrap over images, by class (2000)"
    assert mean_interval(data[:1], (-1, 1), 5).method == "bootstrap over images (2000)"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=8), min_size=1, max_size=4))
def test_mean_interval_holds_the_class_average(trials: list[list[int]]) -> None:
    strata = [np.array(of_class) / 5 for of_class in trials]
    found = mean_interval(strata, (-1, 1), 0)
    assert found.value == pytest.approx(sum(sum(s) / len(s) for s in strata) / len(strata))
    assert -1 - 1e-9 <= found.low <= found.value <= found.high <= 1 + 1e-9
    assert found.high - found.low > 1e-4


@pytest.mark.parametrize("n", [1, 4, 50])
def test_no_spread_is_clopper_pearson_of_the_unseen(n: int) -> None:
    unseen = binomtest(0, n).proportion_ci(confidence_level=0.95, method="exact").high
    every = mean_interval([np.ones(n)], (-1, 1), 0)
    assert (every.value, every.high) == (1, 1)
    assert every.low == pytest.approx(1 - 2 * unseen)
    none = mean_interval([np.zeros(n)], (-1, 1), 0)
    assert (none.low, none.high) == pytest.approx((-unseen, unseen))
    assert mean_interval([np.zeros(n)], (0, 1), 0).low == 0


def test_equal_differences_are_not_certainty() -> None:
    # .6 - .2 and 1 - .6 differ in the last bit.
    data = np.array([0.6 - 0.2, 1 - 0.6, 0.8 - 0.4])
    assert len(set(data)) > 1
    found = mean_interval([data], (-1, 1), 0)
    assert found.low < -0.5
    assert found.high > 0.7


def test_lone_images_show_their_spread() -> None:
    lone = [np.array([value]) for value in (1.0, 0.0, -1.0, 0.0) * 10]
    found = mean_interval(lone, (-1, 1), 0)
    assert "bootstrap" in found.method
    error = np.concatenate(lone).std(ddof=1) / np.sqrt(40)
    assert (found.low, found.high) == pytest.approx((-1.96 * error, 1.96 * error), rel=0.15)


def test_a_class_of_one_weighs_as_a_class() -> None:
    # Half the mean rests on a single image: about four images' worth of evidence, not 61.
    found = mean_interval([np.zeros(1), np.zeros(60)], (-1, 1), 0)
    assert found.high > 0.5


@given(st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=1, max_size=50), st.floats(-1, 1))
def test_percentile_interval_holds_the_estimate(replicates: list[float], value: float) -> None:
    found = percentile(np.array(replicates), value, "m")
    assert found.low <= value <= found.high
    numbers = [r for r in replicates if not np.isnan(r)]
    if numbers:
        assert min(*numbers, value) <= found.low
        assert found.high <= max(*numbers, value)
    else:
        assert found == Estimate(value, value, value, "m, no spread")


def test_percentile_by_hand() -> None:
    replicates = np.concatenate([np.arange(1001) / 1000, [np.nan] * 300])
    found = percentile(replicates, 0.5, "m")
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
    assert percentile(replicates, 0.99, "m").high == 0.99


# Accuracies at 0 and 1


def test_one_answer_for_all_images_is_no_spread() -> None:
    """A network that answers class 0 always: right on all of class 0, wrong on all of class 1, half right overall."""
    one_answer = [np.ones((40, 2)), np.zeros((40, 2))]
    assert without_spread(one_answer)
    assert without_spread([np.column_stack([np.arange(40) % 2, np.ones(40)]), one_answer[1]])  # a column is enough
    assert not without_spread([np.column_stack([np.arange(40) % 2] * 2), one_answer[1]])
    found = rcs_measurement("rcs", "d", {"sigma": 0.25}, one_answer, 0)
    assert found.value == 0
    assert found.ci is not None
    assert found.ci[0] < -0.1
    assert found.ci[1] > 0.1


def test_saturated_rcs_has_a_wide_interval() -> None:
    core = np.ones(50)
    spurious = np.ones(50)
    spurious[7] = 0.5
    strata = [np.stack([core, spurious], axis=1)]
    draws = jeffreys_pairs(strata, seed=1)
    found = percentile(rcs_values(draws[:, 0], draws[:, 1]), 1.0, "beta")
    assert spurious.mean() == pytest.approx(0.99)
    assert found.low < 0.5
    assert found.high == 1.0
    # Resampling images alone would say: certainly 1.
    resampled = bootstrap_means(strata, seed=1)
    values = rcs_values(resampled[:, 0], resampled[:, 1])
    assert np.nanmin(values) > 1 - 1e-9


def test_jeffreys_draws_follow_the_posterior() -> None:
    strata = [np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])]
    draws = jeffreys_pairs(strata, seed=2, resamples=20_000)
    assert draws.shape == (20_000, 2)
    for column, right in enumerate((5, 2)):
        posterior = beta(right + 0.5, 5 - right + 0.5)
        levels = [0.025, 0.25, 0.5, 0.75, 0.975]
        np.testing.assert_allclose(np.quantile(draws[:, column], levels), posterior.ppf(levels), atol=0.01)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03
