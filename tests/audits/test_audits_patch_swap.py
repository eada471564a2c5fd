"""Patch swap: the cell that a network reads is the cell that is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import toys
from oracles import audits as oracle

from spuraudit.audits.patch_findings import cell_permutation
from spuraudit.errors import NotEvaluatedError
from spuraudit.gates import judge, parse_rule

if TYPE_CHECKING:
    from pathlib import Path

PATCH = {"audits": ("patch_swap",), "passes": 12, "patch_targets": 3, "patch_sources": 4, "target_classes": 1}
CLASSES = list(toys.NAMES[:3])


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square in cell 43 that says the class."""
    return toys.draw(tmp_path_factory.mktemp("tagged"), toys.Toy(tag=True, test=6))


@pytest.fixture(scope="module")
def swept(tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """The network that reads the square, swept."""
    return toys.scan(toys.Reader(toys.TAG), tagged, tmp_path_factory.mktemp("run"), **PATCH)


def test_the_cell_that_is_read_is_the_argmin_and_suspected(swept: toys.Scanned) -> None:
    found = swept.findings("patch_swap")
    assert sorted(found) == sorted(CLASSES)
    for name, finding in found.items():
        assert finding.feature == "cell 43"
        assert finding.suspected
        assert finding.role == "unnamed"
        assert finding.effect > 0.9
        assert finding.p <= 0.001
        assert finding.numbers["consistency"] == 1
        assert finding.cell is not None
        assert (finding.cell.number, finding.cell.row, finding.cell.column) == (43, 7, 1)
        assert (finding.cell.rows, finding.cell.columns) == (7, 7)
        target = finding.target_class
        assert target is not None
        assert target != name
        where = {"class_": name, "target_class": target}
        curve = {
            m.scope["cell"]: m.value
            for m in swept.record.measurements
            if m.metric == "patch_certainty" and m.scope["class"] == name
        }
        assert list(curve) == list(range(1, 50))
        assert min(curve, key=lambda cell: curve[cell] or 0) == 43
        unperturbed = swept.value("patch_certainty_unperturbed", **where)
        assert unperturbed is not None
        # Same dropout masks for all cells of a pair: a cell that is not read changes nothing at all.
        assert all(curve[cell] == pytest.approx(unperturbed, abs=1e-6) for cell in curve if cell != 43)


def test_every_cell_of_every_pair_is_asked_once(swept: toys.Scanned) -> None:
    rows = [row for row in swept.rows if row["condition"].startswith("patch:")]
    assert len(rows) == 3 * 4 * 3 * 50
    assert len({(row["image"], row["condition"], row["donor"]) for row in rows}) == len(rows)
    for image in {row["image"] for row in rows}:
        of_image = [row for row in rows if row["image"] == image]
        assert len({row["donor_label"] for row in of_image}) == 1
        assert of_image[0]["donor_label"] != of_image[0]["label"]
        assert all("/train-" in row["donor"] for row in of_image)
    (audit,) = [audit for audit in swept.record.audits if audit.status == "run"]
    assert (audit.images, audit.passes) == (12, len(rows) * 13)
    assert audit.params["grid"] == "7x7"
    assert "The network's own dropout is used: 1 site, p = 0.5" in audit.notes[0]


def test_rows_keep_the_spread_over_passes_and_the_answer_without_dropout(swept: toys.Scanned) -> None:
    rows = [row for row in swept.rows if row["condition"].startswith("patch:")]
    untouched = [row for row in rows if row["condition"] == "patch:0"]
    assert all(0 < row["p_sd"] < 0.5 for row in untouched)
    assert len({row["p_plain"] for row in untouched}) == 1
    assert untouched[0]["p_plain"] == pytest.approx(1 / (1 + 2 * np.exp(-8) + np.exp(-5.6)), abs=1e-4)
    read = [row for row in rows if row["condition"] == "patch:43"]
    assert all(row["p_plain"] < 0.01 for row in read)
    assert all(row["predicted"] == row["donor_label"] for row in read)
    clean = [row for row in swept.rows if row["condition"] == "clean"]
    assert all(row["p_sd"] is None and row["p_plain"] is None for row in clean)


def test_every_pair_of_source_and_target_draws_dropout_masks_of_its_own(swept: toys.Scanned) -> None:
    """Shown without any change, the sources differ by their masks alone, and so do the pairs of one source."""
    untouched = {(row["image"], row["donor"]): row["p_true"] for row in swept.rows if row["condition"] == "patch:0"}
    assert len(untouched) == 3 * 4 * 3
    assert len({round(certainty, 7) for certainty in untouched.values()}) == len(untouched)


def test_numbers_equal_plain_loops_over_the_rows(swept: toys.Scanned, tagged: Path, tmp_path: Path) -> None:
    mixture = toys.scan(toys.Mixture(), tagged, tmp_path, **PATCH)
    for done in (swept, mixture):
        for label, name in enumerate(CLASSES):
            curve = oracle.patch_curve(done.rows, label, 49)
            finding = done.findings("patch_swap")[name]
            measured = [
                m.value for m in done.record.measurements if m.metric == "patch_certainty" and m.scope["class"] == name
            ]
            assert measured == pytest.approx(curve[1:], abs=1e-6)
            assert finding.numbers["unperturbed"] == pytest.approx(curve[0], abs=1e-6)
            worst = min(range(1, 50), key=lambda cell: curve[cell])
            assert finding.feature == f"cell {worst}"
            assert finding.effect == pytest.approx(curve[0] - curve[worst], abs=1e-6)


def test_a_network_without_dropout_gets_it_and_the_record_says_so(tagged: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Mixture(), tagged, tmp_path, dropout_rate=0.25, **PATCH)
    (audit,) = [audit for audit in done.record.audits if audit.status == "run"]
    assert audit.notes[0].startswith("The network has no active dropout: dropout with p = 0.25 was put before")
    of_patches = [m for m in done.record.measurements if m.metric.startswith("patch_")]
    assert of_patches
    assert all("p = 0.25" in m.definition for m in of_patches)


def test_a_network_that_dropout_cannot_reach_is_refused(tagged: Path, tmp_path: Path) -> None:
    with pytest.raises(NotEvaluatedError, match="no active dropout"):
        toys.scan(toys.Constant(), tagged, tmp_path / "run", allow_chance=True, **PATCH)
    assert not (tmp_path / "run").exists()


def test_a_cell_on_the_object_is_expected_to_matter_and_not_suspected(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=4))
    done = toys.scan(toys.Reader(toys.cell_area(25)), data, tmp_path / "run", **PATCH)
    for finding in done.findings("patch_swap").values():
        assert finding.feature == "cell 25"
        assert finding.role == "core"
        assert finding.q < 0.05
        assert not finding.suspected
        assert "on the object" in finding.flags[0]
    on_core = {row["condition"]: row["core_share"] for row in done.rows if row["condition"].startswith("patch:")}
    assert on_core["patch:25"] == 1
    assert on_core["patch:43"] == 0


def test_without_masks_the_same_cell_is_suspected(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=4, masks=False))
    done = toys.scan(toys.Reader(toys.cell_area(25)), data, tmp_path / "run", **{**PATCH, "audits": None})
    assert [f.feature for f in done.record.findings if f.suspected] == ["cell 25"] * 3
    assert {f.role for f in done.record.findings} == {"unnamed"}


def test_sources_that_are_answered_wrong_do_not_count(tmp_path: Path) -> None:
    """Every second source has the tag of another class: it is misclassified, and its flat curve must not dilute."""
    data = toys.draw(tmp_path / "data", toys.Toy(tag=True, test=6))
    for number in (0, 2, 4):
        wrong = toys.picture(0, 0, tag=True, key=f"wrong-{number}")
        wrong[toys.TAG.numpy()] = toys.COLOURS[1]
        toys.save(data / "images" / "red" / f"test-{number:03d}.png", wrong)
    for number in range(6):
        wrong = toys.picture(2, 2, tag=True, key=f"blue-{number}")
        wrong[toys.TAG.numpy()] = toys.COLOURS[0]
        toys.save(data / "images" / "blue" / f"test-{number:03d}.png", wrong)
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "run", **{**PATCH, "patch_sources": 6})
    found = done.findings("patch_swap")
    assert (found["red"].n, found["red"].feature) == (3, "cell 43")
    assert found["red"].effect > 0.9
    assert found["green"].n == 6
    assert "blue" not in found
    (audit,) = [audit for audit in done.record.audits if audit.status == "run"]
    assert "None of the 6 source images of blue that were tried is classified right: not swept." in audit.notes
    assert audit.unmeasured == ["blue"]
    gate = judge(done.record, [parse_rule("patch_argmin_drop[class=*,target_class=*] <= 0.99", min_n=1)]).gates[0]
    assert (gate.outcome, "was not measured for blue" in gate.text) == ("not evaluated", True)
    right = {row["image"] for row in done.rows if row["condition"] == "clean" and row["predicted"] == row["label"]}
    assert right >= {"red/test-001", "red/test-003", "red/test-005"}


def test_patch_size_sources_and_classes_are_the_users(tagged: Path, tmp_path: Path) -> None:
    settings = {**PATCH, "patch": 14, "patch_sources": 1, "patch_targets": 2, "source_classes": ("green",)}
    done = toys.scan(toys.Reader(toys.TAG), tagged, tmp_path, **settings)
    (finding,) = done.record.findings
    assert (finding.class_name, finding.feature) == ("green", "cell 3")  # of 2 x 2 cells: lower left
    assert finding.cell is not None
    assert (finding.cell.row, finding.cell.column, finding.cell.rows) == (2, 1, 2)
    rows = [row for row in done.rows if row["condition"].startswith("patch:")]
    assert len(rows) == 2 * 5
    assert {row["label"] for row in rows} == {1}


def test_permutation_p_pays_for_looking_at_all_cells() -> None:
    flat = np.random.default_rng(0).normal(size=(6, 49))
    assert cell_permutation(flat, 1) > 0.05
    peaked = flat * 0.01
    peaked[:, 30] += 1
    assert cell_permutation(peaked, 1) == pytest.approx(1 / 10_000, rel=5)
    assert cell_permutation(peaked[:1], 1) == 1  # the maximum of one source is the maximum of every shuffle
    assert cell_permutation(peaked, 1) == cell_permutation(peaked, 1)


def test_permutation_p_of_two_sources_and_three_cells_is_the_exact_one() -> None:
    """Both sources lose most in the same cell: of the 9 pairs of places, 3 coincide."""
    drops = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert cell_permutation(drops, 3) == pytest.approx(1 / 3, abs=0.02)
