"""How sure the change of the lowest group mean is, in either direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import lowest as oracle

from spuraudit.stats.intervals import bootstrap_means
from spuraudit.stats.lowest import lowest_change

Rates = tuple[float, ...]


def drawn(rng: np.random.Generator, before: Rates, after: Rates, n: int) -> list[np.ndarray]:
    """Right answers (n, 2) of each group, independent before and after."""
    return [
        np.stack([rng.random(n) < p, rng.random(n) < q], axis=1).astype(float)
        for p, q in zip(before, after, strict=True)
    ]


@pytest.mark.parametrize(
    ("before", "after", "n"),
    [
        ((0.4, 0.9), (0.8, 0.5), 40),
        ((0.8, 0.8, 0.8, 0.8), (0.8, 1.0, 1.0, 1.0), 60),
        ((1.0, 1.0), (1.0, 1.0), 30),
        ((1.0, 0.5, 0.5), (0.0, 0.6, 0.9), 25),
        ((0.7,), (0.9,), 50),
    ],
)
def test_equals_the_loops(before: Rates, after: Rates, n: int) -> None:
    strata = drawn(np.random.default_rng(3), before, after, n)
    seeds = range(100, 100 + len(strata))
    found = lowest_change(strata, seeds)
    replicates = [bootstrap_means([one], seed) for one, seed in zip(strata, seeds, strict=True)]
    assert (found.low, found.high) == pytest.approx(oracle.bounds(strata, replicates), abs=1e-9)
    means = np.stack([one.mean(axis=0) for one in strata])
    assert found.value == pytest.approx(means[:, 1].min() - means[:, 0].min())


@pytest.mark.parametrize(
    ("before", "after", "n", "repeats"),
    [
        ((0.8,) * 4, (0.8, 1.0, 1.0, 1.0), 160, 60),
        ((0.85,) * 8, (0.85, *(0.97,) * 7), 40, 60),
    ],
)
def test_no_gain_is_seen_where_groups_only_move_apart(before: Rates, after: Rates, n: int, repeats: int) -> None:
    """The lowest rate stays. The difference of the two lowest, resampled, would call it a gain six times too often."""
    rng = np.random.default_rng(11)
    naive = bounded = 0
    for repeat in range(repeats):
        strata = drawn(rng, before, after, n)
        seeds = [1000 * repeat + g for g in range(len(strata))]
        bounded += lowest_change(strata, seeds).low > 0
        lowest = np.min([bootstrap_means([one], seed) for one, seed in zip(strata, seeds, strict=True)], axis=0)
        naive += np.quantile(lowest[:, 1] - lowest[:, 0], 0.025) > 0
    assert naive >= 0.08 * repeats
    assert bounded <= 0.05 * repeats  # 2.5 % are expected


def test_a_true_gain_of_one_low_group_is_seen_as_surely_as_of_that_group_alone() -> None:
    strata = drawn(np.random.default_rng(4), (0.4, 0.9, 0.95, 0.9), (0.75, 0.97, 0.99, 0.98), 160)
    found = lowest_change(strata, [1, 2, 3, 4])
    alone = bootstrap_means([strata[0]], 1)
    low, high = np.quantile(alone[:, 1] - alone[:, 0], [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


@given(st.integers(0, 2**32 - 1))
def test_the_other_way_round_turns_the_signs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 5))
    strata = drawn(rng, tuple(rng.random(groups)), tuple(rng.random(groups)), int(rng.integers(1, 40)))
    seeds = list(range(groups))
    there, back = lowest_change(strata, seeds), lowest_change([one[:, ::-1] for one in strata], seeds)
    assert there.low <= there.value + 1e-12
    assert there.value <= there.high + 1e-12
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low), abs=1e-9)


def test_equal_answers_are_not_certainty() -> None:
    same = [np.ones((20, 2)), np.ones((20, 2))]
    found = lowest_change(same, [0, 1])
    assert found.low < -0.1
    assert found.high > 0.1
