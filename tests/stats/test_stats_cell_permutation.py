"""The permutation test of the patch swap's worst cell, against all rearrangements and under its null."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.patch_permutation import enumerated_p
from scipy.stats import kstest

from spuraudit.audits.patch_findings import cell_permutation

TABLES = {
    "one cell stands out": [[0.9, 0.1, 0.0], [0.8, 0.05, 0.1]],
    "sources disagree": [[0.9, 0.1, 0.0], [0.1, 0.8, 0.0]],
    "second best arrangement": [[0.5, 0.4, 0.0], [0.1, 0.6, 0.3]],
    "ties within a source": [[0.5, 0.5, 0.0], [0.5, 0.0, 0.0]],
    "flat": [[0.2, 0.2, 0.2], [0.2, 0.2, 0.2]],
    "negative drops": [[-0.1, -0.5, -0.2], [-0.3, -0.4, -0.1]],
}


@pytest.mark.parametrize("name", TABLES)
def test_equals_enumeration(name: str) -> None:
    expected = enumerated_p(TABLES[name])
    assert cell_permutation(np.array(TABLES[name]), seed=3) == pytest.approx(expected, abs=0.02)


def test_three_sources_equal_enumeration() -> None:
    table = np.random.default_rng(0).random((3, 3)).round(2).tolist()
    assert cell_permutation(np.array(table), seed=5) == pytest.approx(enumerated_p(table), abs=0.02)


def test_uniform_when_no_cell_is_special() -> None:
    rng = np.random.default_rng(1)
    p = np.array([cell_permutation(rng.exponential(size=(4, 9)), seed, draws=499) for seed in range(400)])
    assert kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_a_consistent_cell_is_found() -> None:
    drops = np.random.default_rng(2).normal(0, 0.05, (4, 49))
    drops[:, 42] += 0.5
    assert cell_permutation(drops, seed=0) <= 0.001


def test_one_source_alone_is_no_evidence() -> None:
    # Shuffling the cells of a single source never changes its largest drop.
    assert cell_permutation(np.array([[0.9, 0.0, 0.1, 0.0]]), seed=0, draws=199) == 1.0


def test_smallest_p_and_seed() -> None:
    drops = np.zeros((6, 30))
    drops[:, 7] = 1.0
    assert cell_permutation(drops, seed=4, draws=999) == 1 / 1000
    noisy = np.random.default_rng(6).random((3, 8))
    assert cell_permutation(noisy, seed=4, draws=999) == cell_permutation(noisy, seed=4, draws=999)
