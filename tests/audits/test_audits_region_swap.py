"""Region swap: whose background pulls whom, against networks that read one area alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import toys
from oracles import audits as oracle

if TYPE_CHECKING:
    from pathlib import Path

SWAP = {"audits": ("region_swap",)}
CLASSES = list(toys.NAMES[:3])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object and frame say the class."""
    return toys.draw(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object, frame and tag say the class."""
    return toys.draw(tmp_path_factory.mktemp("tagged"), toys.Toy(tag=True))


def test_who_reads_the_object_alone_has_no_gap_and_no_suspect(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), plain, tmp_path, **SWAP)
    assert done.value("swap_gap", feature="background") == 0
    assert done.value("swap_pull", feature="background") == 0
    assert done.value("swap_other_accuracy", feature="background") == 1
    found = done.findings("region_swap", "background")
    assert sorted(found) == sorted(CLASSES)
    assert not any(finding.suspected for finding in found.values())


def test_who_reads_the_background_alone_follows_it_everywhere(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.FRAME), plain, tmp_path, **SWAP)
    assert done.value("swap_same_accuracy", feature="background") == 1
    assert done.value("swap_other_accuracy", feature="background") == 0
    assert done.value("swap_gap", feature="background") == 1
    assert done.value("swap_pull", feature="background") == 1
    found = done.findings("region_swap", "background")
    assert sorted(found) == sorted(CLASSES)
    for name, finding in found.items():
        assert finding.suspected
        assert finding.role == "background"
        assert (finding.effect, finding.n) == (1, 12)
        assert finding.p == finding.q == pytest.approx(2 * 0.5**12)
        assert finding.numbers == {"clean": 1, "same": 1, "other": 0, "gap": 1, "pull": 1}
        for other in set(CLASSES) - {name}:
            assert done.value("swap_gap", feature="background", class_=name, donor_class=other) == 1


@pytest.mark.parametrize(
    ("area", "gaps"),
    [(toys.TAG, {"tag": 1, "background": 0}), (toys.FRAME, {"tag": 0, "background": 1})],
    ids=["tag", "frame"],
)
def test_regions_do_not_overlap_so_a_finding_means_one_thing(
    tagged: Path, tmp_path: Path, area: object, gaps: dict[str, int]
) -> None:
    done = toys.scan(toys.Reader(area), tagged, tmp_path, **SWAP)  # type: ignore[arg-type]
    for feature, gap in gaps.items():
        assert done.value("swap_gap", feature=feature) == gap
    suspected = {(f.class_name, f.feature) for f in done.record.findings if f.suspected}
    assert suspected == {(name, feature) for name in CLASSES for feature, gap in gaps.items() if gap}


def test_donors_come_from_the_train_split_and_carry_their_class(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), plain, tmp_path, **SWAP)
    assert done.record.data.donor_split == "train"
    assert "donors=train" in done.measured("swap_gap", feature="background").definition
    swaps = [row for row in done.rows if row["condition"].startswith("swap.")]
    assert len(swaps) == 36 * 6
    for row in swaps:
        assert "/train-" in row["donor"]
        assert row["donor"].startswith(CLASSES[row["donor_label"]])
        assert (row["donor_label"] == row["label"]) == row["condition"].startswith("swap.same")
    donors_of_one = {r["donor"] for r in swaps if r["image"] == "red/test-000" and r["condition"][:9] == "swap.same"}
    assert len(donors_of_one) == 3  # without replacement


def test_without_a_train_split_an_image_never_lends_to_itself(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(train=0, test=3))
    done = toys.scan(toys.Reader(toys.FRAME), data, tmp_path / "run", swap_trials=4, **SWAP)
    swaps = [row for row in done.rows if row["condition"].startswith("swap.")]
    assert len(swaps) == 9 * 8
    assert all(row["donor"] != row["image"] for row in swaps)
    assert done.record.data.donor_split is None
    assert "SPA004" in [notice.code for notice in done.record.warnings]
    assert any("balanced by design" in note for note in done.record.audits[0].notes)
    assert done.value("swap_gap", feature="background") == 1


def test_a_correlation_that_is_absent_is_absent_from_the_gap(tmp_path: Path) -> None:
    """Every second image of a class has the other class's frame, in both splits: nothing to be pulled by."""
    data = toys.draw(tmp_path / "data", toys.Toy(classes=2, odd_every=2, test=40, train=40))
    mixture = toys.scan(toys.Mixture(classes=2, frame=1.3), data, tmp_path / "run", allow_chance=True, **SWAP)
    gap = mixture.measured("swap_gap", feature="background")
    assert gap.ci is not None
    assert gap.ci[0] < 0 < gap.ci[1]
    assert not any(finding.suspected for finding in mixture.record.findings)


def test_numbers_equal_plain_loops_over_the_rows(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(tag=True, odd_every=3, test=10))
    done = toys.scan(toys.Mixture(frame=1.3), data, tmp_path / "run", swap_trials=4, **SWAP)
    rows = done.rows
    gaps = set()
    for feature in ("background", "tag"):
        assert done.value("swap_gap", feature=feature) == pytest.approx(oracle.swap_gap(rows, feature), abs=1e-12)
        assert done.value("swap_pull", feature=feature) == pytest.approx(oracle.swap_pull(rows, feature), abs=1e-12)
        for label, name in enumerate(CLASSES):
            gap = oracle.swap_gap(rows, feature, label)
            pull = oracle.swap_pull(rows, feature, label)
            finding = done.findings("region_swap", feature)[name]
            assert finding.effect == pytest.approx(gap, abs=1e-12)
            assert finding.numbers["pull"] == pytest.approx(pull, abs=1e-12)
            assert done.value("swap_pull", feature=feature, class_=name) == pytest.approx(pull, abs=1e-12)
            gaps.add(gap)
            for other, other_name in enumerate(CLASSES):
                if other != label:
                    wanted = oracle.pair_gap(rows, feature, label, other)
                    scope = {"feature": feature, "class_": name, "donor_class": other_name}
                    assert done.value("swap_gap", **scope) == pytest.approx(wanted, abs=1e-12)
    assert len(gaps) > 2
    family = done.record.findings
    assert [f.q for f in family] == pytest.approx(oracle.benjamini_hochberg([f.p for f in family]))


def test_the_pull_counts_only_what_same_class_donors_do_not_do_too(tmp_path: Path) -> None:
    """A network that always answers class 0: other donors of class 0 get "their" answer, and so do same-class ones."""
    data = toys.draw(tmp_path / "data")
    done = toys.scan(toys.Constant(), data, tmp_path / "run", allow_chance=True, **SWAP)
    assert done.value("swap_gap", feature="background") == 0
    assert done.value("swap_pull", feature="background") == 0


def test_answers_outside_the_dataset_are_wrong_and_nobodys_pull(tmp_path: Path) -> None:
    """The object is readable, but any strange frame makes the network answer an output that is no class here."""
    data = toys.draw(tmp_path / "data")
    both = toys.Reader(toys.OBJECT | toys.FRAME)
    done = toys.scan(both, data, tmp_path / "run", **SWAP)
    assert {r["predicted"] for r in done.rows if r["condition"] == "swap.other:background"} == {-1}
    assert {r["output"] for r in done.rows if r["condition"] == "swap.other:background"} == {3}
    assert done.value("swap_gap", feature="background") == 1
    assert done.value("swap_pull", feature="background") == 0


def test_a_donor_lends_its_surroundings_without_its_object(tmp_path: Path) -> None:
    """Donors with their object in the upper left corner, in the other class's colour, before a plain background."""
    data = toys.draw(tmp_path / "data", toys.Toy(classes=2))
    for label, name in enumerate(toys.NAMES[:2]):
        for number in range(6):
            pixels = np.full((toys.SIDE, toys.SIDE, 3), toys.COLOURS[label], dtype=np.uint8)
            mask = np.zeros((toys.SIDE, toys.SIDE), dtype=np.uint8)
            pixels[:12, :12], mask[:12, :12] = toys.COLOURS[1 - label], 255
            toys.save(data / "images" / name / f"train-{number:03d}.png", pixels)
            toys.save(data / "masks" / "object" / name / f"train-{number:03d}.png", mask)
    done = toys.scan(toys.Reader(toys.cell_area(1), classes=2), data, tmp_path / "run", **SWAP)
    assert done.value("swap_same_accuracy", feature="background") == 1
    assert done.value("swap_other_accuracy", feature="background") == 0
