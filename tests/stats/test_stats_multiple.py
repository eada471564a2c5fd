"""Benjamini-Hochberg against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from spuraudit.stats.multiple import benjamini_hochberg

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(p_values)
def test_equals_scipy(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12, atol=0)


@given(p_values, st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(p: list[float], random: object) -> None:
    order = list(range(len(p)))
    random.shuffle(order)  # type: ignore[attr-defined]
    q = benjamini_hochberg(p)
    assert benjamini_hochberg([p[i] for i in order]) == [q[i] for i in order]


@given(st.lists(st.sampled_from([0.001, 0.01, 0.2, 0.5]), min_size=1, max_size=30))
def test_ties_share_their_q(p: list[float]) -> None:
    q = benjamini_hochberg(p)
    assert all(q[i] == q[j] for i in range(len(p)) for j in range(len(p)) if p[i] == p[j])
    # A tied value rejects with all its ties: q = p m / (number of values not larger), or a later, smaller one.
    largest = max(p)
    assert q[p.index(largest)] == pytest.approx(largest)


def test_no_hypothesis_no_value() -> None:
    assert benjamini_hochberg([]) == []


def test_by_hand() -> None:
    # m = 4: .01 x 4/1, .02 x 4/2, .03 x 4/3, .9 x 4/4; all three small ones end at .04.
    assert benjamini_hochberg([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.04, 0.04])


def test_rejects_what_the_step_up_procedure_rejects() -> None:
    rng = np.random.default_rng(2)
    p = np.concatenate([rng.random(40), rng.random(10) * 0.004])
    ordered = np.sort(p)
    passing = [i for i in range(50) if ordered[i] <= 0.05 * (i + 1) / 50]
    cut = ordered[passing[-1]]
    assert [q <= 0.05 for q in benjamini_hochberg(p)] == (p <= cut).tolist()
