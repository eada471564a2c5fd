"""Rank correlations against scipy."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from spuraudit.stats.orders import kendall, spearman

values = st.one_of(st.integers(0, 4).map(float), st.floats(0, 1))
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=50)


@given(pairs)
@example([(0.5, 0.1), (0.5, 0.1)])
def test_equals_scipy(drawn: list[tuple[float, float]]) -> None:
    one, other = [a for a, _ in drawn], [b for _, b in drawn]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        rho, tau = stats.spearmanr(one, other).statistic, stats.kendalltau(one, other).statistic
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert spearman(one, other) is kendall(one, other) is None
    else:
        assert spearman(one, other) == pytest.approx(rho, abs=1e-12)
        assert kendall(one, other) == pytest.approx(tau, abs=1e-12)


def test_the_same_and_the_opposite_order_are_exactly_one_and_minus_one() -> None:
    one = [0.1 * index for index in range(42)]
    assert spearman(one, one) == kendall(one, one) == 1.0
    assert spearman(one, one[::-1]) == kendall(one, one[::-1]) == -1.0
