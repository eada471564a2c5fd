"""What an epoch is chosen by, on networks whose numbers are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.data import open_dataset
from spuraudit.errors import FixError
from spuraudit.fix.validation import Validator, check_measure
from spuraudit.runs.loader import Kept
from spuraudit.runs.prepare import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from spuraudit.data.dataset import Dataset
    from spuraudit.fix.settings import Measure


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A quarter of the frames are those of the next class; ten images of red, twelve of the others."""
    dataset = open_dataset(str(toys.draw(tmp_path_factory.mktemp("odd"), toys.Toy(train=2, test=12, odd_every=4))))
    few = [row for row in dataset.images if not row.id.startswith(("red/test-010", "red/test-011"))]
    return replace(dataset, images=tuple(few))


def value(dataset: Dataset, measure: Measure, network: nn.Module, seed: int = 0) -> float:
    """Of the images of the split `test`."""
    validator = Validator(
        measure=measure,
        dataset=dataset,
        split="test",
        seed=seed,
        answers="all",
        machine=Machine(16, 1),
        kept=Kept(2**20),
    )
    return validator(toys.as_model(network))


@pytest.mark.parametrize(
    ("measure", "area", "expected"),
    [
        ("accuracy", toys.OBJECT, 1.0),
        # Mean over classes, not over images: red has 3 odd ones of 10, the others 3 of 12.
        ("accuracy", toys.FRAME, (0.7 + 0.75 + 0.75) / 3),
        ("worst_group", toys.OBJECT, 1.0),
        ("worst_group", toys.FRAME, 0.0),
        ("core_accuracy", toys.OBJECT, 1.0),
        ("core_accuracy", toys.FRAME, 0.0),
        ("rcs", toys.OBJECT, 1.0),
        ("rcs", toys.FRAME, -1.0),
    ],
)
def test_readers_of_one_area(odd: Dataset, measure: Measure, area: object, expected: float) -> None:
    assert value(odd, measure, toys.Reader(area)) == pytest.approx(expected, abs=1e-6)  # type: ignore[arg-type]


def test_a_network_of_one_answer(odd: Dataset) -> None:
    assert value(odd, "accuracy", toys.Constant()) == pytest.approx(1 / 3)
    assert value(odd, "worst_group", toys.Constant()) == 0.0
    assert value(odd, "core_accuracy", toys.Constant()) == pytest.approx(1 / 3)
    assert value(odd, "rcs", toys.Constant()) == 0.0


def test_an_undefined_rcs_counts_as_the_lowest(odd: Dataset) -> None:
    # It needs object and frame whole: with noise in either it knows nothing, and RCS is 0/0.
    assert value(odd, "core_accuracy", toys.Reader(toys.OBJECT | toys.FRAME)) == 0.0
    assert value(odd, "rcs", toys.Reader(toys.OBJECT | toys.FRAME)) == -1.0


def test_the_numbers_are_those_of_a_scan(odd: Dataset, tmp_path: Path) -> None:
    network = toys.Mixture(frame=0.9, disturbance=0.08)
    scanned = toys.scan(network, odd, tmp_path, audits=("noise",), trials=1, allow_chance=True, seed=4)
    assert value(odd, "accuracy", network, seed=4) == pytest.approx(scanned.value("clean_accuracy"))
    assert value(odd, "worst_group", network, seed=4) == pytest.approx(scanned.value("worst_group_accuracy"))
    core = scanned.value("core_accuracy", sigma=0.25)
    assert core is not None
    assert 0 < core < 1
    assert value(odd, "core_accuracy", network, seed=4) == pytest.approx(core)
    assert value(odd, "rcs", network, seed=4) == pytest.approx(scanned.value("rcs", sigma=0.25))


def test_it_leaves_nothing_behind(odd: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    value(odd, "rcs", toys.Constant())
    assert not list(tmp_path.iterdir())


def test_without_groups_there_is_no_worst_one(odd: Dataset) -> None:
    rows = [replace(row, group=None) for row in odd.images]
    with pytest.raises(FixError, match="have no groups") as caught:
        check_measure("worst_group", rows)
    assert "select=accuracy" in (caught.value.hint or "")
    check_measure("worst_group", odd.images)
    check_measure("accuracy", rows)


@pytest.mark.parametrize("measure", ["core_accuracy", "rcs"])
def test_without_masks_there_is_no_core(tmp_path: Path, measure: Measure) -> None:
    bare = open_dataset(str(toys.draw(tmp_path, toys.Toy(masks=False, train=1, test=1))))
    with pytest.raises(FixError, match=f"No validation image has a core mask, so there is no {measure}"):
        check_measure(measure, bare.images)
    check_measure("accuracy", bare.images)
