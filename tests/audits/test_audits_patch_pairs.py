"""Which images are swept against which classes: by keys, by the survey, or as the user says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toys

from spuraudit.audits.base import Cohort
from spuraudit.audits.patch_pairs import Pairing, Survey
from spuraudit.data import open_dataset
from spuraudit.errors import NotEvaluatedError, UsageError

PATCH = {"audits": ("patch_swap",), "passes": 4, "patch_targets": 2, "patch_sources": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(classes=4, tag=True, test=6, train=4))


@pytest.fixture(scope="module")
def pairing(data: Path) -> Pairing:
    dataset = open_dataset(str(data))
    cohort = Cohort(dataset, dataset.in_split("test"), dataset.in_split("train"), "train", 28, 28, 0, "")
    return Pairing(cohort, sources=2, targets=3)


def survey(pairing: Pairing, wrong: set[str], confused: dict[int, int]) -> Survey:
    rows = [row for rows in pairing.candidates.values() for row in rows]
    masses = {label: np.eye(4)[target] for label, target in confused.items()}
    return Survey({row.id: row.id not in wrong for row in rows}, masses)


def test_targets_are_drawn_without_replacement_and_nested(pairing: Pairing) -> None:
    few, many = pairing.targets_for, replace(pairing, targets=4).targets_for
    assert set(few) == set(many)
    for source, [(label, images)] in few.items():
        [(other, more)] = many[source]
        assert label == other
        assert more[:3] == images
        assert len({image.id for image in more}) == 4
        assert all(image.label == label for image in more)
        assert all("/train-" in image.id for image in more)


def test_the_order_of_the_file_does_not_matter(pairing: Pairing) -> None:
    cohort = pairing.cohort
    turned = replace(cohort, rows=cohort.rows[::-1], donors=cohort.donors[::-1])
    assert replace(pairing, cohort=turned).targets_for == pairing.targets_for
    other = replace(pairing, cohort=replace(cohort, seed=1))
    assert other.targets_for != pairing.targets_for


def test_the_most_confused_class_comes_first_then_others(pairing: Pairing) -> None:
    surveyed = replace(pairing, target_classes=3, survey=survey(pairing, set(), {0: 2, 1: 3, 2: 1, 3: 0}))
    assert {label: targets[0] for label, targets in surveyed.targets_of.items()} == {0: 2, 1: 3, 2: 1, 3: 0}
    assert all(sorted((label, *targets)) == [0, 1, 2, 3] for label, targets in surveyed.targets_of.items())
    one = replace(surveyed, target_classes=1)
    assert all(len(targets) == 1 for targets in one.targets_of.values())
    assert len(set(replace(pairing, target_classes=3).targets_of.values())) == 4


def test_only_images_that_are_classified_right_are_sources(pairing: Pairing) -> None:
    first = [rows[0].id for rows in pairing.candidates.values()]
    surveyed = replace(pairing, survey=survey(pairing, {first[0]}, {}))
    assert surveyed.sources_of[0] == pairing.candidates[0][1:3]
    assert surveyed.sources_of[1] == pairing.candidates[1][:2]
    assert surveyed.none_right() == []
    none = replace(pairing, survey=survey(pairing, {row.id for row in pairing.candidates[2]}, {}))
    assert none.sources_of[2] == ()
    assert none.none_right() == [(2, 6)]


@pytest.mark.parametrize("limit", [1, 3, 4, 6, 100])
def test_a_limit_of_sources_is_even_over_classes(pairing: Pairing, limit: int) -> None:
    counts = [len(rows) for rows in replace(pairing, limit=limit).sources_of.values()]
    assert sum(counts) == min(limit, 8)
    assert max(counts) - min(counts) <= 1
    more = replace(pairing, limit=limit + 1).targets_for
    assert set(replace(pairing, limit=limit).targets_for) <= set(more)


def test_given_pairs_are_swept_and_nothing_else(data: Path, tmp_path: Path) -> None:
    pairs = (("red", "blue"), ("red", "green"), ("yellow", "red"))
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path, pairs=pairs, **PATCH)
    assert {(f.class_name, f.target_class) for f in done.record.findings} == set(pairs)
    assert {f.feature for f in done.record.findings} == {"cell 43"}
    for image in {row["image"] for row in done.rows if row["condition"] == "patch:43"}:
        asked = [(row["trial"], row["donor_label"]) for row in done.rows if row["image"] == image and row["donor"]]
        assert len({trial for trial, _ in asked}) == 2 * len({label for _, label in asked})
    exhibits = {f.target_class: [p.caption for e in f.exhibits for p in e.panels] for f in done.record.findings}
    assert any("answered blue" in caption for caption in exhibits["blue"])
    assert any("answered green" in caption for caption in exhibits["green"])


def test_a_given_pair_without_images_is_told(pairing: Pairing) -> None:
    cohort = pairing.cohort
    bare = replace(cohort, rows=tuple(row for row in cohort.rows if row.label != 3))
    given = replace(pairing, cohort=bare, pairs=((3, 0), (0, 3)))
    assert given.without_images() == [(3, 0)]
    assert set(given.targets_of) == {0}
    assert pairing.without_images() == []


def test_two_target_classes_by_default(data: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path, limit_sources=2, **PATCH)
    per_class: dict[str, set[str]] = {}
    for finding in done.record.findings:
        per_class.setdefault(finding.class_name, set()).add(finding.target_class or "")
    assert [len(found) for found in per_class.values()] == [2, 2]
    assert len(done.record.curves) == 4
    (audit,) = [audit for audit in done.record.audits if audit.status == "run"]
    assert (audit.images, audit.params["target_classes"]) == (2, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pairs": (("red", "gren"),)}, "No class 'gren'"),
        ({"pairs": (("red", "red"),)}, "names one class twice"),
        ({"pairs": (("red", "blue"),), "source_classes": ("red",)}, "both given"),
    ],
)
def test_impossible_pairs_are_refused(data: Path, tmp_path: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        toys.scan(toys.Reader(toys.TAG), data, tmp_path / "run", **PATCH, **given)
    assert not (tmp_path / "run").exists()


def test_no_image_that_is_classified_right_is_refused(data: Path, tmp_path: Path) -> None:
    class Shifted(toys.Reader):
        def forward(self, x):
            return super().forward(x).roll(1, dims=1)

    with pytest.raises(NotEvaluatedError, match="no source image"):
        toys.scan(Shifted(toys.TAG), data, tmp_path / "run", allow_chance=True, **PATCH)
    assert not (tmp_path / "run").exists()
