"""RCS against the paper's formula in exact fractions, and against all 42 published rows."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from oracles.rcs import largest_gap, literal_rcs

from spuraudit.resources import model_zoo_file
from spuraudit.stats.rcs import rcs, rcs_values

# Accuracies as they occur: right answers of n images.
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)))


def zoo_rows() -> list[tuple[str, Fraction, Fraction, Fraction]]:
    """(id, core, spurious, 100 x RCS) as printed, in percent."""
    models = yaml.load(model_zoo_file().read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["models"]
    keys = ("core", "spurious", "rcs")
    return [(model["id"], *(Fraction(model["published"][key]) for key in keys)) for model in models]


@given(counts)
def test_equals_the_formula(case: tuple[int, int, int]) -> None:
    core, spurious, n = case
    expected = literal_rcs(Fraction(core, n), Fraction(spurious, n))
    found = rcs(core / n, spurious / n)
    if expected is None:
        assert found.value is None
    else:
        assert found.value == pytest.approx(float(expected), abs=1e-9)
        assert found.reason is None


@given(counts)
def test_is_the_gap_over_the_largest_gap(case: tuple[int, int, int]) -> None:
    core, spurious, n = case
    found = rcs(core / n, spurious / n).value
    if found is not None:
        room = largest_gap(Fraction(core + spurious, 2 * n))
        assert found * float(room) == pytest.approx((core - spurious) / n, abs=1e-9)


@given(st.floats(0, 1), st.floats(0, 1))
def test_range_and_symmetry(core: float, spurious: float) -> None:
    there, back = rcs(core, spurious), rcs(spurious, core)
    if there.value is None:
        assert back.value is None
    else:
        assert -1 <= there.value <= 1
        assert back.value == -there.value
        assert back.saturated == there.saturated


@pytest.mark.parametrize("both", [0.0, 1.0])
def test_zero_over_zero_is_undefined_with_a_reason(both: float) -> None:
    found = rcs(both, both)
    assert found.value is None
    assert not found.saturated
    assert f"both {both:.0f}" in (found.reason or "")
    assert np.isnan(rcs_values(np.array([both]), np.array([both]))).all()


def test_rounded_means_of_ones_stay_undefined() -> None:
    almost = float(np.mean([np.nextafter(1, 0), 1.0, 1.0]))
    assert rcs(almost, 1.0).value is None
    assert rcs(0.0, 1e-300).value is None


@given(counts)
def test_saturated_exactly_at_one_with_a_smaller_gap(case: tuple[int, int, int]) -> None:
    core, spurious, n = case
    expected = literal_rcs(Fraction(core, n), Fraction(spurious, n))
    at_one = expected is not None and abs(expected) == 1
    assert rcs(core / n, spurious / n).saturated == (at_one and abs(core - spurious) < n)


def test_saturation_by_hand() -> None:
    assert rcs(1.0, 0.99) == (1.0, None, True)
    assert rcs(0.01, 0.0) == (1.0, None, True)
    assert rcs(0.6, 1.0) == (-1.0, None, True)
    assert rcs(1.0, 0.0) == (1.0, None, False)
    assert rcs(0.0, 1.0) == (-1.0, None, False)
    assert rcs(0.8423, 0.7695).value == pytest.approx(0.1875, abs=1e-4)


def test_rises_with_core_and_falls_with_spurious() -> None:
    accuracies = np.linspace(0.01, 0.99, 50)
    for fixed in accuracies:
        assert all(a < b for a, b in pairwise(rcs_values(accuracies, np.full(50, fixed))))
        assert all(a > b for a, b in pairwise(rcs_values(np.full(50, fixed), accuracies)))


def test_arrays_and_single_pairs_agree() -> None:
    rng = np.random.default_rng(5)
    core, spurious = rng.random(30), rng.random(30)
    assert [rcs(c, s).value for c, s in zip(core, spurious, strict=True)] == rcs_values(core, spurious).tolist()


def test_the_zoo_has_42_rows() -> None:
    assert len(zoo_rows()) == 42


@pytest.mark.parametrize("row", zoo_rows(), ids=lambda row: row[0])
def test_reproduces_the_published_table(row: tuple[str, Fraction, Fraction, Fraction]) -> None:
    # RCS rises with core and falls with spurious: two corners of the rounding square bound it.
    _, core, spurious, printed = row
    half = Fraction(5, 1000)
    low = rcs(float(core - half) / 100, float(spurious + half) / 100).value
    high = rcs(float(core + half) / 100, float(spurious - half) / 100).value
    assert low is not None
    assert high is not None
    assert 100 * low - 1e-9 <= printed + half
    assert printed - half <= 100 * high + 1e-9
    # Rounding alone allows at most .15 points: a slightly wrong formula would not pass.
    assert 100 * (high - low) < 0.15
