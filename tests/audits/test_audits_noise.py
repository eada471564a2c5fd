"""Noise: networks that read one area alone, and the numbers against plain loops over the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import toys
from oracles import audits as oracle

from spuraudit.errors import NotEvaluatedError

if TYPE_CHECKING:
    from pathlib import Path

NOISE = {"audits": ("noise",)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object and frame both say the class."""
    return toys.draw(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tags, images with another class's frame, images without masks."""
    return toys.draw(tmp_path_factory.mktemp("mixed"), toys.Toy(tag=True, odd_every=4, unmasked=1, test=9))


def test_who_reads_the_object_alone_scores_plus_one(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), plain, tmp_path, **NOISE)
    assert done.value("clean_accuracy") == 1
    assert done.value("core_accuracy", sigma=0.25) == 1
    assert done.value("spurious_accuracy", sigma=0.25) == 0
    assert done.value("core_drop", sigma=0.25) == 0
    assert done.value("spurious_drop", sigma=0.25) == 1
    rcs = done.measured("rcs", sigma=0.25)
    assert rcs.value == 1
    assert rcs.flags == []
    assert rcs.n == 36
    assert rcs.ci is not None
    assert 0.8 < rcs.ci[0] < 1 == rcs.ci[1]
    assert done.record.findings == []


def test_who_reads_the_background_alone_scores_minus_one(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.FRAME), plain, tmp_path, **NOISE)
    assert done.value("clean_accuracy") == 1
    assert done.value("core_accuracy", sigma=0.25) == 0
    assert done.value("spurious_accuracy", sigma=0.25) == 1
    assert done.value("rcs", sigma=0.25) == -1
    assert done.measured("rcs", sigma=0.25).flags == []
    for name in toys.NAMES[:3]:
        assert done.value("rcs", sigma=0.25, class_=name) == -1


def test_one_that_guesses_where_it_cannot_read_is_at_its_floor_and_flagged(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT, guess=0), plain, tmp_path, **NOISE)
    assert done.value("spurious_accuracy", sigma=0.25) == pytest.approx(1 / 3)
    assert done.value("spurious_accuracy", sigma=0.25, class_="red") == 1
    assert done.value("spurious_accuracy", sigma=0.25, class_="green") == 0
    rcs = done.measured("rcs", sigma=0.25)
    assert rcs.value == 1
    assert rcs.flags == ["saturated"]
    undefined = done.measured("rcs", sigma=0.25, class_="red")
    assert undefined.value is None
    assert undefined.reason == "core and spurious accuracy are both 1: RCS is 0/0"


def test_every_sigma_is_measured_and_a_tiny_one_changes_nothing(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), plain, tmp_path, sigmas=(0.25, 0.001), trials=2, **NOISE)
    assert done.value("spurious_accuracy", sigma=0.001) == 1
    assert done.value("rcs", sigma=0.001) is None
    assert done.value("rcs", sigma=0.25) == 1
    noised = [row for row in done.rows if row["condition"].startswith("noise.")]
    assert {row["condition"] for row in noised} == {
        f"noise.{region}@{sigma}" for region in ("core", "spurious") for sigma in ("0.001", "0.25")
    }
    assert len(noised) == 36 * 2 * 2 * 2
    small = [row["energy"] for row in noised if row["condition"] == "noise.core@0.001"]
    # The dilated core is 20 x 20 pixels of three channels: its noise has a norm near sigma * sqrt(1200).
    assert small == pytest.approx([0.001 * 1200**0.5] * len(small), rel=0.1)


def test_clamped_noise_has_less_energy_and_the_definition_says_which(plain: Path, tmp_path: Path) -> None:
    energies, definitions = [], []
    for clamp in (True, False):
        done = toys.scan(toys.Reader(toys.OBJECT), plain, tmp_path / str(clamp), clamp=clamp, trials=1, **NOISE)
        energies.append(sum(row["energy"] for row in done.rows if row["condition"] == "noise.core@0.25"))
        definitions.append(done.measured("rcs", sigma=0.25).definition)
    assert energies[0] < 0.9 * energies[1]
    assert "clamp=yes" in definitions[0]
    assert definitions[0].replace("clamp=yes", "clamp=no") == definitions[1]


def test_annotated_spurious_region_noises_the_annotated_masks_alone(mixed: Path, tmp_path: Path) -> None:
    object_ = toys.scan(toys.Reader(toys.OBJECT), mixed, tmp_path / "o", spurious_region="annotated", **NOISE)
    tag = toys.scan(toys.Reader(toys.TAG), mixed, tmp_path / "t", spurious_region="annotated", **NOISE)
    assert object_.value("core_accuracy", sigma=0.25) == 1
    assert tag.value("core_accuracy", sigma=0.25) == 0
    energies = [row["energy"] for row in tag.rows if row["condition"] == "noise.spurious@0.25"]
    assert max(energies) < 0.25 * (3 * 16) ** 0.5 * 1.5
    assert "spurious=annotated" in tag.measured("rcs", sigma=0.25).definition
    assert tag.record.audits[0].params["spurious_region"] == "annotated"


def test_images_without_core_masks_are_not_asked_and_do_not_count(mixed: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), mixed, tmp_path, **NOISE)
    assert done.measured("clean_accuracy").n == 24
    assert done.measured("rcs", sigma=0.25).n == 24
    assert {row["condition"] for row in done.rows if row["image"] == "red/test-000"} == {"clean"}
    (exclusion,) = done.record.exclusions
    assert (exclusion.n, exclusion.examples) == (3, ["red/test-000", "green/test-000", "blue/test-000"])
    assert done.record.data.images == 27
    assert done.record.audits[0].images == 24


def test_groups_have_accuracies_and_the_worst_is_named(mixed: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.FRAME), mixed, tmp_path, trials=1, **NOISE)
    assert done.value("clean_accuracy", group="red/red") == 1
    assert done.value("clean_accuracy", group="red/green") == 0
    worst = done.measured("worst_group_accuracy")
    assert (worst.value, worst.n) == (0, 2)
    assert done.record.data.groups == sorted({row["group"] for row in done.rows})


def test_a_constant_model_is_refused_unless_allowed(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(NotEvaluatedError, match=r"near chance: 33\.3% on 36 images") as caught:
        toys.scan(toys.Constant(), plain, tmp_path / "run", **NOISE)
    assert "red = output 0, green = output 1" in (caught.value.hint or "")
    assert "--allow-chance" in (caught.value.hint or "")
    assert not (tmp_path / "run").exists()
    done = toys.scan(toys.Constant(), plain, tmp_path / "run", allow_chance=True, **NOISE)
    assert done.value("clean_accuracy") == pytest.approx(1 / 3)
    assert done.value("rcs", sigma=0.25) == 0
    assert [notice.code for notice in done.record.warnings] == ["SPA001", "SPA003"]


def test_numbers_equal_plain_loops_over_the_rows(mixed: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Mixture(), mixed, tmp_path, trials=3, sigmas=(0.25, 0.4), **NOISE)
    rows = [row for row in done.rows if row["image"] not in {f"{name}/test-000" for name in toys.NAMES}]
    clean = oracle.scores(rows, "clean")
    assert done.value("clean_accuracy") == pytest.approx(oracle.over_classes(rows, clean), abs=1e-12)
    inside = 0
    for sigma in ("0.25", "0.4"):
        core, spurious = (oracle.scores(rows, f"noise.{region}@{sigma}") for region in ("spurious", "core"))
        places: list[tuple[str, dict[str, str | float], float, float, float]] = [
            ("", {}, *(oracle.over_classes(rows, s) for s in (clean, core, spurious))),
            ("_images", {}, *(oracle.over_images(s) for s in (clean, core, spurious))),
        ]
        for label, name in enumerate(toys.NAMES[:3]):
            of_class = [oracle.over_images(oracle.of_class(rows, s, label)) for s in (clean, core, spurious)]
            places.append(("", {"class_": name}, *of_class))
        for ending, scope, a, c, s in places:
            where = {**scope, "sigma": float(sigma)}
            assert done.value(f"core_accuracy{ending}", **where) == pytest.approx(c, abs=1e-12)
            assert done.value(f"spurious_accuracy{ending}", **where) == pytest.approx(s, abs=1e-12)
            assert done.value(f"core_drop{ending}", **where) == pytest.approx(a - c, abs=1e-12)
            assert done.value(f"spurious_drop{ending}", **where) == pytest.approx(a - s, abs=1e-12)
            if 0 < c < 1 and 0 < s < 1:
                inside += 1
                assert done.value(f"rcs{ending}", **where) == pytest.approx(oracle.rcs(c, s), abs=1e-9)
    assert inside >= 6  # the mixture is neither always right nor always wrong


def test_every_number_has_a_definition_and_an_interval_around_it(mixed: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Mixture(), mixed, tmp_path, trials=2, **NOISE)
    for measurement in done.record.measurements:
        assert measurement.definition in done.record.definitions
        assert measurement.n > 0
        if measurement.value is None:
            assert measurement.reason
            continue
        assert measurement.ci is not None
        assert measurement.ci[0] <= measurement.value <= measurement.ci[1]
        assert measurement.ci_method
