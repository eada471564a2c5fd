"""The adaptive search: the rule against plain loops, and against exhaustive sweeps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles.halving import search as slow_search

from spuraudit.audits.patch_search import CONFIDENCE, Halving, lowest_cell, standing

Floats = NDArray[np.float64]


def run(rule: Halving, table: Floats) -> tuple[Floats, int]:
    """Answer the rule's questions from a whole table (targets, cells): what it asked, and how many swaps."""
    asked = np.full_like(table, np.nan)
    wanted = rule.first()
    swaps = 0
    while wanted is not None:
        for target in range(wanted.start, wanted.stop):
            for cell in wanted.cells:
                assert np.isnan(asked[target, cell]), "nothing is asked twice"
                asked[target, cell] = table[target, cell]
                swaps += 1
        wanted = rule.after(asked)
    return asked, swaps


def noisy(seed: int, targets: int, cells: int, gap: float, spread: float = 0.1) -> Floats:
    """Certainties around 0.8 with one cell, the seed's, lower by `gap`; targets shift all cells together."""
    rng = np.random.default_rng(seed)
    table = 0.8 + rng.normal(0, 0.1, (targets, 1)) + rng.normal(0, spread, (targets, cells))
    table[:, seed % cells] -= gap
    return table


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.integers(1, 30),
    st.sampled_from([1, 2, 3, 4, 7]),
    st.sampled_from([0.0, 0.05, 0.3, 2.0]),
    st.sampled_from([0.0, 0.02, 0.2]),
)
def test_equals_plain_loops(seed: int, targets: int, cells: int, start: int, gap: float, spread: float) -> None:
    table = noisy(seed, targets, cells, gap, spread).round(3)
    rule = Halving(cells, targets, start)
    asked, swaps = run(rule, table)
    lowest, expected_swaps, settled = slow_search(table.tolist(), start, CONFIDENCE)
    assert swaps == expected_swaps <= rule.most_swaps() <= targets * cells
    assert lowest_cell(asked) == lowest
    assert rule.settled(asked) == settled


def test_fixed_cost_of_the_papers_sweep_is_below_a_quarter() -> None:
    """49 cells, 50 targets: 196 + 100 + 104 + 112 + 72."""
    rule = Halving(49, 50)
    assert rule.most_swaps() == 584
    assert rule.most_swaps() <= 49 * 50 / 4
    flat = noisy(0, 50, 49, 0.0)
    assert run(rule, flat)[1] == 584


def test_a_clear_cell_is_settled_early_and_a_flat_image_never() -> None:
    rule = Halving(49, 50)
    clear, swaps = run(rule, noisy(7, 50, 49, 0.6, spread=0.01))
    assert lowest_cell(clear) == 7
    assert rule.settled(clear)
    assert swaps < 300
    same = np.full((50, 49), 0.7)
    flat, _ = run(rule, same)
    assert not rule.settled(flat)
    assert lowest_cell(flat) == 0
    left, asked = standing(flat)
    assert asked == 50
    assert len(left) == 4


def test_confidence_holds_where_cells_are_alike() -> None:
    """No cell is lower than another: a search that calls one settled is wrong, and may be so in 1 % of the cases."""
    wrong = 0
    for seed in range(400):
        rule = Halving(49, 50)
        asked, _ = run(rule, noisy(seed, 50, 49, 0.0))
        wrong += rule.settled(asked)
    # Five looks at 1 % each, of which the later ones see few cells: at most 5 % (20), with a margin of two s.d.
    assert wrong <= 29


def test_agrees_with_the_exhaustive_argmin_where_there_is_one() -> None:
    agree = [
        lowest_cell(run(Halving(49, 50), table)[0]) == lowest_cell(table)
        for table in (noisy(seed, 50, 49, 0.15) for seed in range(200))
    ]
    assert np.mean(agree) >= 0.99


PATCH = {"audits": ("patch_swap",), "passes": 8, "patch_targets": 12, "patch_sources": 3, "target_classes": 1}


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> tuple[toys.Scanned, toys.Scanned]:
    """The same network, full and adaptive."""
    data = toys.draw(tmp_path_factory.mktemp("tagged"), toys.Toy(tag=True, test=4, train=12))
    full = toys.scan(toys.Mixture(), data, tmp_path_factory.mktemp("full"), **PATCH)
    adaptive = toys.scan(toys.Mixture(), data, tmp_path_factory.mktemp("adaptive"), search="adaptive", **PATCH)
    return full, adaptive


def test_an_adaptive_scan_asks_a_part_of_the_same_questions_and_gets_the_same_answers(
    sweeps: tuple[toys.Scanned, toys.Scanned],
) -> None:
    full, adaptive = ({(row["image"], row["condition"], row["trial"]): row for row in done.rows} for done in sweeps)
    assert set(adaptive) < set(full)
    for asked, row in adaptive.items():
        assert row["donor"] == full[asked]["donor"]
        assert row["p_true"] == pytest.approx(full[asked]["p_true"], abs=1e-6)
    swaps = [
        sum(condition != "patch:0" and "patch" in condition for _, condition, _ in rows) for rows in (adaptive, full)
    ]
    assert swaps[0] < 0.6 * swaps[1]


def test_an_adaptive_scan_finds_the_same_cells_and_says_what_it_did(
    sweeps: tuple[toys.Scanned, toys.Scanned],
) -> None:
    full, adaptive = sweeps
    assert [(c.image, c.argmin) for c in full.record.curves] == [(c.image, c.argmin) for c in adaptive.record.curves]
    assert {f.feature for f in full.record.findings} == {f.feature for f in adaptive.record.findings}
    assert all(curve.settled is None for curve in full.record.curves)
    assert all(curve.settled is not None for curve in adaptive.record.curves)
    assert {m.metric for m in adaptive.record.measurements} - {m.metric for m in full.record.measurements} == {
        "patch_settled"
    }
    (audit,) = [audit for audit in adaptive.record.audits if audit.status == "run"]
    assert audit.params["search"] == "adaptive"
    of_patches = [m for m in adaptive.record.measurements if m.metric == "patch_drop"]
    assert all("search=halving from 4 targets at 99%" in m.definition for m in of_patches)


def test_a_dropped_cell_is_compared_under_its_own_targets(sweeps: tuple[toys.Scanned, toys.Scanned]) -> None:
    """Drop = mean over a cell's own targets of (unperturbed - swapped): by hand, for one source."""
    _, adaptive = sweeps
    curve = adaptive.record.curves[0]
    rows = [row for row in adaptive.rows if row["image"] == curve.image and row["condition"].startswith("patch:")]
    unperturbed = {row["trial"]: row["p_true"] for row in rows if row["condition"] == "patch:0"}
    assert curve.unperturbed == pytest.approx(np.mean(list(unperturbed.values())), abs=1e-5)
    assert len(set(curve.targets)) > 1
    for cell, (certainty, targets) in enumerate(zip(curve.certainty, curve.targets, strict=True), start=1):
        own = {row["trial"]: row["p_true"] for row in rows if row["condition"] == f"patch:{cell}"}
        assert len(own) == targets
        drop = np.mean([unperturbed[trial] - value for trial, value in own.items()])
        assert certainty == pytest.approx(curve.unperturbed - drop, abs=2e-5)
    left = [cell for cell, targets in enumerate(curve.targets, start=1) if targets == max(curve.targets)]
    assert curve.argmin in left
