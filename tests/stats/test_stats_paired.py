"""Sign-flip tests against the enumeration of all signs, scipy's binomial test and each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.sign_flip import enumerated_p
from scipy.stats import binomtest

from spuraudit.stats import paired
from spuraudit.stats.paired import sign_flip


def exact(differences: np.ndarray) -> float:
    """The exact test, however large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "EXACT_WORK", 10**12)
        return sign_flip(differences)


def normal(differences: np.ndarray) -> float:
    """The normal approximation, however small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "EXACT_WORK", 0)
        return sign_flip(differences)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=10))
def test_equals_enumeration(differences: list[int]) -> None:
    assert sign_flip(np.array(differences)) == pytest.approx(enumerated_p(differences), rel=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_one_trial_is_exact_mcnemar(worse: int, better: int, same: int) -> None:
    differences = np.array([1] * worse + [-1] * better + [0] * same)
    p = sign_flip(differences)
    assert p == pytest.approx(binomtest(worse, worse + better).pvalue if worse + better else 1.0, rel=1e-9)


@given(st.lists(st.integers(-5, 5), max_size=80), st.integers(1, 7))
def test_range_scale_sign_and_zeros(differences: list[int], scale: int) -> None:
    d = np.array(differences, dtype=np.int64)
    p = sign_flip(d)
    assert 0 < p <= 1
    assert sign_flip(-d) == pytest.approx(p, rel=1e-12)
    assert sign_flip(d * scale) == pytest.approx(p, rel=1e-12)
    assert sign_flip(np.concatenate([d, np.zeros(9, dtype=np.int64)])) == pytest.approx(p, rel=1e-12)
    assert sign_flip(d[::-1]) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("differences", [[], [0], [0, 0, 0], [2, -2], [1, 1, -2]])
def test_no_difference_is_no_evidence(differences: list[int]) -> None:
    assert sign_flip(np.array(differences, dtype=np.int64)) == 1.0


@pytest.mark.parametrize("trials", [1, 5])
@pytest.mark.parametrize("shift", [0.0, 0.015, 0.03, 0.05])
def test_normal_approximation_is_close_to_exact(trials: int, shift: float) -> None:
    rng = np.random.default_rng(4)
    n = 2000
    d = rng.binomial(trials, 0.5 + shift, n) - rng.binomial(trials, 0.5, n)
    expected = exact(d)
    # One percent at p near 1; in the far tails one percent of the exponent.
    assert abs(np.log(normal(d) / expected)) <= 0.01 * (1 - np.log(expected))


def test_both_sides_of_the_switch_agree() -> None:
    # McNemar with one discordant pair more on each side of the largest exact case.
    n = next(n for n in range(3000, 4000) if n * (2 * n + 1) > paired.EXACT_WORK)
    for more in (0, 40, 150, 250):
        last_exact = np.array([1] * ((n - 1) // 2 + more) + [-1] * ((n - 1) - (n - 1) // 2 - more))
        first_normal = np.array([1] * (n // 2 + more) + [-1] * (n - n // 2 - more))
        for d in (last_exact, first_normal):
            expected = binomtest(int((d > 0).sum()), len(d)).pvalue
            assert sign_flip(d) == pytest.approx(expected, rel=0.05), (len(d), more)


@pytest.mark.parametrize("n", [1100, 2000, 5000])
def test_p_is_never_zero(n: int) -> None:
    # 2^(1-n) is far below what a float can hold.
    assert 0 < sign_flip(np.ones(n, dtype=np.int64)) < 1e-300


def test_small_case_by_hand() -> None:
    # 3 x +1: of eight sign choices two have |sum| = 3.
    assert sign_flip(np.array([1, 1, 1])) == pytest.approx(0.25)
    # 2, 2, -1: |sum| = 3; sums are 5, 3, 1, -1 and mirrored, so 5, 3, -5, -3 of eight.
    assert sign_flip(np.array([2, 2, -1])) == pytest.approx(0.5)


def test_p_is_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(8)
    p = np.array([sign_flip(rng.binomial(5, 0.6, 150) - rng.binomial(5, 0.6, 150)) for _ in range(500)])
    for level in (0.05, 0.2, 0.5):
        # An exact test rejects at most as often as its level says; the sums' steps make it a little rarer.
        assert level - 0.08 <= (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 500)
