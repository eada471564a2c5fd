"""The same plan gives the same numbers, however the work is cut: batches, order, threads, a limit, more trials."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import toys

from spuraudit.data import open_dataset
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, prepare_scan

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.data.dataset import Dataset

EVERYTHING: dict[str, Any] = {
    "audits": ("noise", "feature_drop", "region_swap", "patch_swap"),
    "trials": 2,
    "swap_trials": 2,
    "patch_targets": 2,
    "patch_sources": 2,
    "target_classes": 1,
    "passes": 6,
}
#: Shares of source images; the other numbers of the patch swap are made of probabilities.
COUNTED = ("patch_consistency", "patch_argmin_agreement")
#: Identity of a row: nothing is asked twice.
ASKED = ("image", "condition", "trial")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tags, odd frames, missing masks: every audit has something to do, and nothing comes out at 0 or 1."""
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(tag=True, odd_every=4, unmasked=1, test=8, train=4))


@pytest.fixture(scope="module")
def full(data: Path, tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """Batches of 32."""
    return toys.scan(toys.Mixture(), data, tmp_path_factory.mktemp("full"), **EVERYTHING)


def by_question(scanned: toys.Scanned) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows by what was asked."""
    rows = {tuple(row[name] for name in ASKED): row for row in scanned.rows}
    assert len(rows) == len(scanned.rows)
    return rows


def assert_same_rows(one: dict[tuple[Any, ...], dict[str, Any]], two: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    """Equal questions, donors and answers; probabilities and energies to 1e-6."""
    assert set(one) == set(two)
    for asked, row in one.items():
        other = two[asked]
        for name in ("label", "group", "donor", "donor_label", "predicted", "output"):
            assert row[name] == other[name], (asked, name)
        for name in ("p_true", "p_sd", "p_plain", "energy", "core_share"):
            assert _number(row[name]) == pytest.approx(_number(other[name]), abs=1e-6, nan_ok=True), (asked, name)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def assert_same_numbers(one: toys.Scanned, two: toys.Scanned, rounding: float = 0.0) -> None:
    """Accuracies, drops, gaps and RCS are equal (to the bit by default); what is made of probabilities to 1e-6."""
    for kind in ("n", "reason", "flags"):
        assert _by_name(one, kind, soft=False) == _by_name(two, kind, soft=False)
    for soft, tolerance in ((False, rounding), (True, 1e-6)):
        values, others = ({k: _number(v) for k, v in _by_name(s, "value", soft=soft).items()} for s in (one, two))
        assert values == pytest.approx(others, rel=0, abs=tolerance, nan_ok=True)
    found_one, found_two = _findings(one), _findings(two)
    assert [f[:2] for f in found_one] == [f[:2] for f in found_two]
    for (*_, numbers_one), (*_, numbers_two) in zip(found_one, found_two, strict=True):
        assert numbers_one == pytest.approx(numbers_two, abs=1e-6, nan_ok=True)


def _by_name(scanned: toys.Scanned, attribute: str, *, soft: bool) -> dict[str, Any]:
    return {
        f"{m.metric} {sorted(m.scope.items())}": getattr(m, attribute)
        for m in scanned.record.measurements
        if (m.metric.startswith("patch_") and m.metric not in COUNTED) is soft
    }


def _findings(scanned: toys.Scanned) -> list[tuple[str, bool, list[float]]]:
    listed = sorted(scanned.record.findings, key=lambda f: (f.audit, f.class_name, f.feature))
    return [
        (f"{f.audit} {f.class_name} {f.feature}", f.suspected, [f.effect, f.p, f.q, *map(_number, f.numbers.values())])
        for f in listed
    ]


def test_the_reference_is_worth_comparing(full: toys.Scanned) -> None:
    values = {m.value for m in full.record.measurements if m.value is not None}
    assert len([value for value in values if 0 < abs(value) < 1]) > 100
    assert len({row["condition"].partition(":")[0].partition("@")[0] for row in full.rows}) == 8


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_changes_no_number(full: toys.Scanned, data: Path, tmp_path: Path, batch_size: int) -> None:
    other = toys.scan(toys.Mixture(), data, tmp_path, batch_size=batch_size, **EVERYTHING)
    assert_same_rows(by_question(full), by_question(other))
    assert_same_numbers(full, other)
    intervals = [(m.ci, m.ci_method) for m in full.record.measurements if not m.metric.startswith("patch_")]
    assert intervals == [(m.ci, m.ci_method) for m in other.record.measurements if not m.metric.startswith("patch_")]
    assert [f.id for f in full.record.findings] == [f.id for f in other.record.findings]
    assert full.record.run.plan_sha256 == other.record.run.plan_sha256


def test_a_second_run_writes_the_same_parts_bit_for_bit(full: toys.Scanned, data: Path, tmp_path: Path) -> None:
    again = toys.scan(toys.Mixture(), data, tmp_path, **EVERYTHING)
    assert again.record.observations == full.record.observations
    assert again.record.measurements == full.record.measurements
    assert again.record.findings == full.record.findings


def test_decoding_threads_change_nothing(full: toys.Scanned, data: Path, tmp_path: Path) -> None:
    prepared = prepare_scan(
        toys.as_model(toys.Mixture()), open_dataset(str(data)), ScanSettings(**EVERYTHING), Machine(32, workers=5)
    )
    assert execute(prepared, tmp_path).observations == full.record.observations


def _shuffled(data: Path) -> Dataset:
    dataset = open_dataset(str(data))
    images = list(dataset.images)
    random.Random(3).shuffle(images)
    assert [row.id for row in images] != [row.id for row in dataset.images]
    return replace(dataset, images=tuple(images))


@pytest.mark.parametrize("audit", EVERYTHING["audits"])
def test_the_order_of_images_changes_no_number(data: Path, tmp_path: Path, audit: str) -> None:
    settings = {**EVERYTHING, "audits": (audit,)}
    one = toys.scan(toys.Mixture(), data, tmp_path / "one", **settings)
    two = toys.scan(toys.Mixture(), _shuffled(data), tmp_path / "two", **settings)
    assert [row["image"] for row in two.rows] != [row["image"] for row in one.rows]
    assert_same_rows(by_question(one), by_question(two))
    assert_same_numbers(one, two, rounding=1e-12)


def test_the_order_of_images_changes_no_interval(data: Path, tmp_path: Path) -> None:
    settings = {**EVERYTHING, "audits": ("noise", "feature_drop")}
    one = toys.scan(toys.Mixture(), data, tmp_path / "one", **settings)
    two = toys.scan(toys.Mixture(), _shuffled(data), tmp_path / "two", **settings)
    known = {(m.metric, *sorted(m.scope.items())): m.ci for m in one.record.measurements}
    for measurement in two.record.measurements:
        wanted = known[(measurement.metric, *sorted(measurement.scope.items()))]
        assert (measurement.ci is None) == (wanted is None)
        if wanted is not None:
            assert measurement.ci == pytest.approx(wanted, abs=1e-9), measurement.metric


@pytest.mark.parametrize("limit", [5, 9])
def test_limit_keeps_the_rows_of_its_images_as_they_are(
    full: toys.Scanned, data: Path, tmp_path: Path, limit: int
) -> None:
    settings = {**EVERYTHING, "audits": ("noise", "feature_drop", "region_swap"), "allow_chance": True}
    limited = by_question(toys.scan(toys.Mixture(), data, tmp_path, limit=limit, **settings))
    images = {asked[0] for asked in limited}
    assert len(images) == limit
    kept = {
        asked: row
        for asked, row in by_question(full).items()
        if asked[0] in images and not asked[1].startswith("patch:")
    }
    assert_same_rows(kept, limited)


def test_a_patch_swap_question_has_the_same_answer_under_a_limit(
    full: toys.Scanned, data: Path, tmp_path: Path
) -> None:
    settings = {**EVERYTHING, "audits": ("patch_swap",), "allow_chance": True, "patch_sources": 8}
    # Which class is most confused is a question about the audited images: given pairs make the questions equal.
    settings |= {"pairs": (("red", "green"), ("green", "blue"), ("blue", "red"))}
    whole = by_question(toys.scan(toys.Mixture(), data, tmp_path / "whole", **settings))
    limited = by_question(toys.scan(toys.Mixture(), data, tmp_path / "limited", limit=6, **settings))
    assert set(limited) < set(whole)
    assert_same_rows({asked: whole[asked] for asked in limited}, limited)


def test_another_seed_draws_other_noise_and_other_donors(full: toys.Scanned, data: Path, tmp_path: Path) -> None:
    other = toys.scan(toys.Mixture(), data, tmp_path, seed=1, **EVERYTHING)
    one, two = by_question(full), by_question(other)
    clean = [asked for asked in one if asked[1] == "clean"]
    assert_same_rows({asked: one[asked] for asked in clean}, {asked: two[asked] for asked in clean})
    noised = [asked for asked in one if asked[1].startswith(("noise", "feature", "control"))]
    assert all(one[asked]["energy"] != two[asked]["energy"] for asked in noised)
    donors = [asked for asked in one if asked[1].startswith("swap.")]
    assert np.mean([one[asked]["donor"] != two[asked]["donor"] for asked in donors]) > 0.5
    assert full.record.run.plan_sha256 != other.record.run.plan_sha256
    assert full.value("core_accuracy", sigma=0.25) != other.value("core_accuracy", sigma=0.25)


def test_adding_an_audit_changes_no_row_of_the_others(full: toys.Scanned, data: Path, tmp_path: Path) -> None:
    alone = by_question(toys.scan(toys.Mixture(), data, tmp_path, **{**EVERYTHING, "audits": ("region_swap",)}))
    shared = {asked: row for asked, row in by_question(full).items() if asked in alone}
    assert_same_rows(shared, alone)


def test_more_trials_keep_the_first_ones(full: toys.Scanned, data: Path, tmp_path: Path) -> None:
    settings = {**EVERYTHING, "audits": ("noise", "feature_drop"), "trials": 5}
    more = by_question(toys.scan(toys.Mixture(), data, tmp_path, **settings))
    common = {asked: row for asked, row in by_question(full).items() if asked in more}
    assert len(common) < len(more)
    assert_same_rows(common, {asked: more[asked] for asked in common})
