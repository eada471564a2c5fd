"""Feature drop: a planted square that a network reads or ignores, its control, and the families of q."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import toys
from oracles import audits as oracle

if TYPE_CHECKING:
    from pathlib import Path

DROP = {"audits": ("feature_drop",)}
CLASSES = list(toys.NAMES[:3])


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object, frame and tag all say the class."""
    return toys.draw(tmp_path_factory.mktemp("tagged"), toys.Toy(tag=True))


@pytest.fixture(scope="module")
def untagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only core masks."""
    return toys.draw(tmp_path_factory.mktemp("untagged"))


def test_a_square_that_the_network_reads_is_suspected_in_every_class(tagged: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.TAG), tagged, tmp_path, **DROP)
    found = done.findings("feature_drop", "tag")
    assert sorted(found) == sorted(CLASSES)
    for name, finding in found.items():
        assert finding.suspected
        assert finding.role == "spurious"
        assert finding.effect == 1
        assert finding.numbers["drop"] == 1
        assert finding.numbers["control_drop"] == 0
        assert (finding.numbers["clean"], finding.numbers["noised"], finding.numbers["control"]) == (1, 0, 1)
        assert finding.n == 12
        assert finding.p == pytest.approx(2 * 0.5**12)
        assert done.value("feature_drop", class_=name, feature="tag") == 1
        assert done.value("control_drop", class_=name, feature="tag") == 0
        assert done.value("feature_drop_excess", class_=name, feature="tag") == 1
    assert [f.feature for f in done.record.findings[:3]] == ["tag"] * 3
    assert [f.id for f in done.record.findings] == [f"F{place:03d}" for place in range(1, 7)]


def test_a_square_that_the_network_ignores_is_cleared(tagged: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), tagged, tmp_path, **DROP)
    for finding in done.findings("feature_drop", "tag").values():
        assert not finding.suspected
        assert finding.effect == 0
        assert (finding.p, finding.q) == (1, 1)


def test_a_core_feature_is_never_suspected_however_much_it_matters(tagged: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), tagged, tmp_path, **DROP)
    for finding in done.findings("feature_drop", "object").values():
        assert finding.role == "core"
        assert finding.effect == 1
        assert finding.q < 0.01
        assert not finding.suspected


def test_q_is_corrected_over_what_could_be_a_finding_and_core_apart(tagged: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.TAG), tagged, tmp_path, **DROP)
    for feature in ("tag", "object"):
        found = list(done.findings("feature_drop", feature).values())
        assert [f.q for f in found] == pytest.approx(oracle.benjamini_hochberg([f.p for f in found]))
    together = oracle.benjamini_hochberg([f.p for f in done.record.findings])
    assert together[0] > done.record.findings[0].q  # the object's p of 1 would have made them larger


def test_a_square_in_one_class_is_a_finding_of_that_class(tmp_path: Path) -> None:
    toy = toys.Toy(tag=True)
    data = toys.draw(tmp_path / "data", toy)
    content = toys.description(toy)
    content["features"][1]["classes"] = ["green"]  # type: ignore[index]
    toys.write_yaml(data, content)
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "run", **DROP)
    (finding,) = done.findings("feature_drop", "tag").values()
    assert finding.class_name == "green"
    assert finding.suspected
    assert {row["image"].partition("/")[0] for row in done.rows if ":tag@" in row["condition"]} == {"green"}


def test_without_spurious_masks_the_background_is_audited_and_said(untagged: Path, tmp_path: Path) -> None:
    frame = toys.scan(toys.Reader(toys.FRAME), untagged, tmp_path / "frame", **DROP)
    found = frame.findings("feature_drop", "background")
    assert sorted(found) == sorted(CLASSES)
    for finding in found.values():
        assert finding.role == "background"
        assert finding.suspected
        assert finding.effect == 1
    assert any("complement of the dilated core" in note for note in frame.record.audits[0].notes)
    cleared = toys.scan(toys.Reader(toys.OBJECT), untagged, tmp_path / "object", **DROP)
    assert not any(finding.suspected for finding in cleared.record.findings)
    assert cleared.findings("feature_drop", "background")["red"].effect == -1  # the control lies on the object


def test_control_noise_has_the_energy_of_the_feature_noise_and_lies_elsewhere(tagged: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.TAG), tagged, tmp_path, trials=2, **DROP)
    energies = {(r["condition"], r["image"], r["trial"]): r["energy"] for r in done.rows if "@" in r["condition"]}
    compared = 0
    for (condition, image, trial), energy in energies.items():
        kind, _, rest = condition.partition(":")
        if kind == "feature":
            assert energies[f"control:{rest}", image, trial] == pytest.approx(energy, rel=0.0101)
            assert energy > 0.5
            compared += 1
    assert compared == 36 * 2 * 2


def test_numbers_equal_plain_loops_over_the_rows(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(tag=True, odd_every=3, test=10))
    done = toys.scan(toys.Mixture(disturbance=0.3), data, tmp_path / "run", trials=4, sigmas=(0.5,), **DROP)
    distinct = set()
    for label, name in enumerate(CLASSES):
        for feature in ("object", "tag"):
            scope = {"class_": name, "feature": feature}
            drop, control_drop, excess = oracle.feature_drop(done.rows, label, feature, "0.5")
            assert done.value("feature_drop", **scope) == pytest.approx(drop, abs=1e-12)
            assert done.value("control_drop", **scope) == pytest.approx(control_drop, abs=1e-12)
            assert done.value("feature_drop_excess", **scope) == pytest.approx(excess, abs=1e-12)
            finding = done.findings("feature_drop", feature)[name]
            assert finding.effect == pytest.approx(excess, abs=1e-12)
            distinct |= {drop, control_drop, excess}
    assert len(distinct) > 6
    for feature in ("object", "tag"):
        family = list(done.findings("feature_drop", feature).values())
        assert [f.q for f in family] == pytest.approx(oracle.benjamini_hochberg([f.p for f in family]))


def test_images_that_cannot_hold_the_energy_elsewhere_are_left_out_and_counted(tmp_path: Path) -> None:
    """A tag over all but one corner of the image: its noise cannot be matched in what is left."""
    toy = toys.Toy(tag=True)
    data = toys.draw(tmp_path / "data", toy)
    nearly_all = 255 * (~toys.cell_area(1)).byte().numpy()
    for number in range(5):
        toys.save(data / "masks" / "tag" / "red" / f"test-{number:03d}.png", nearly_all)
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "run", **DROP)
    finding = done.findings("feature_drop", "tag")["red"]
    assert finding.n == 7
    assert finding.flags == [
        "5 images are left out of the comparison with the control: no region elsewhere could take as much noise energy."
    ]
    assert done.measured("feature_drop", class_="red", feature="tag").n == 12
    assert done.measured("feature_drop_excess", class_="red", feature="tag").n == 7
    _, _, excess = oracle.feature_drop(done.rows, 0, "tag", "0.25")
    assert finding.effect == pytest.approx(excess)


def test_images_whose_mask_is_blank_do_not_dilute_the_drop(tmp_path: Path) -> None:
    """Noise on nothing changes nothing: five such images would turn a drop of 1 into 7 / 12."""
    data = toys.draw(tmp_path / "data", toys.Toy(tag=True))
    blank = 0 * toys.TAG.byte().numpy()
    for number in range(5):
        toys.save(data / "masks" / "tag" / "red" / f"test-{number:03d}.png", blank)
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "run", **DROP)
    drop = done.measured("feature_drop", class_="red", feature="tag")
    assert (drop.value, drop.n) == (1, 7)
    assert done.findings("feature_drop", "tag")["red"].n == 7
    assert done.measured("feature_drop", class_="green", feature="tag").n == 12
    (exclusion,) = [one for one in done.record.exclusions if "blank" in one.reason]
    assert (exclusion.n, exclusion.examples) == (5, [f"red/test-{number:03d}" for number in range(5)])
