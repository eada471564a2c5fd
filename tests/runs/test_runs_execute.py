"""Executing a plan: the folder it claims, the record it writes, the pictures of its findings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from PIL import Image
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.errors import DataError, NotEvaluatedError, RunError, UsageError
from spuraudit.models.class_map import class_map
from spuraudit.record.folder import read_record
from spuraudit.record.observations import read_parts
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.chance import chance_check
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, Scan, prepare_scan

QUICK: dict[str, Any] = {"trials": 2, "swap_trials": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object, frame and tag say the class."""
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(test=6, train=3, tag=True))


def prepared(data: Path, area: Any = toys.TAG, **settings: Any) -> Scan:
    """A scan that is ready to run."""
    model = toys.as_model(toys.Reader(area))
    return prepare_scan(model, open_dataset(str(data)), ScanSettings(**{**QUICK, **settings}), Machine(16, 1))


class Listener:
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[list[Any]] = []

    def begin(self, what: str, total: int, unit: str) -> None:
        self.stages.append([what, total, unit, 0])

    def advance(self, amount: int) -> None:
        self.stages[-1][3] += amount

    def end(self, finished: bool) -> None:
        self.stages[-1].append("end")

    def say(self, text: str) -> None:
        self.said.append(text)


def test_preparing_writes_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepared(data)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_answer_once(data: Path, tmp_path: Path) -> None:
    listener = Listener()
    execute(prepared(data), tmp_path / "run", progress=listener)
    answers = len(read_parts(sorted((tmp_path / "run/observations").iterdir())))
    assert answers > 18 * 10
    assert listener.stages == [["Scanning", answers, "answers", answers, "end"]]
    assert listener.said == []
    again = Listener()
    execute(prepared(data), tmp_path / "run", progress=again)
    assert again.said == ["Resuming: 1 of 1 parts are already there."]
    assert again.stages == [["Scanning", 0, "answers", 0, "end"]]


def test_a_finished_run_is_made_anew_from_its_parts(data: Path, tmp_path: Path) -> None:
    first = execute(prepared(data), tmp_path / "run")
    (part,) = (tmp_path / "run/observations").iterdir()
    written = part.stat().st_mtime_ns
    second = execute(prepared(data), tmp_path / "run", argv=("scan", "/home/me/model.pt"))
    assert part.stat().st_mtime_ns == written
    assert second.measurements == first.measurements
    assert second.findings == first.findings
    assert (first.run.resumed_parts, second.run.resumed_parts) == (0, 1)
    assert second.run.argv == ["scan", "model.pt"]
    assert read_record(tmp_path / "run") == second


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"trials": 3}, {"sigmas": (0.3,)}, {"limit": 9}, {"split": "train"}, {"audits": ("noise",)}],
    ids=str,
)
def test_another_plan_is_refused_and_touches_nothing(data: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    execute(prepared(data), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(RunError, match="holds a run of another plan"):
        execute(prepared(data, **other), tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_another_model_is_another_plan(data: Path) -> None:
    one = prepared(data)
    other = replace(one, model=replace(one.model, record=one.model.record.model_copy(update={"sha256": "1" * 64})))
    assert one.plan.sha256 != other.plan.sha256
    assert one.plan.sha256 == prepared(data).plan.sha256
    assert one.plan.sha256 == replace(one, machine=Machine(1, 4)).plan.sha256


def test_changed_data_is_another_plan(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=4, train=2))
    before = prepared(data, toys.OBJECT).plan.sha256
    rows = toys.read_list(data)
    toys.write_list(data, [*rows[:-1], (*rows[-1][:3], "other/group", rows[-1][4])])
    assert prepared(data, toys.OBJECT).plan.sha256 != before


def test_a_folder_of_somebody_else_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("Introduction")
    with pytest.raises(RunError, match="not empty, and not a run of spuraudit"):
        execute(prepared(data), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_record_describes_model_data_and_environment(data: Path, tmp_path: Path) -> None:
    record = execute(prepared(data), tmp_path / "run")
    assert record.data.name == "toy"
    assert (record.data.split, record.data.donor_split) == ("test", "train")
    assert (record.data.images, record.data.available) == (18, 18)
    assert [(c.index, c.name, c.outputs, c.images) for c in record.data.classes] == [
        (0, "red", [0], 6),
        (1, "green", [1], 6),
        (2, "blue", [2], 6),
    ]
    assert [(f.name, f.role, f.masks) for f in record.data.features] == [
        ("object", "core", 18),
        ("tag", "spurious", 18),
    ]
    assert record.model.num_classes == 4
    assert record.environment.device == "cpu"
    assert {"torch", "timm", "numpy"} <= set(record.environment.packages)
    assert record.run.id == record.run.plan_sha256[:16]
    plan = json.loads((tmp_path / "run/plan.json").read_text())
    assert plan["data_fingerprint"] == record.data.fingerprint
    assert plan["images_sha256"]
    assert [notice.code for notice in record.warnings] == ["SPA003"]


def test_exhibits_show_the_region_that_was_touched(data: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "run", **QUICK)
    finding = done.findings("feature_drop", "tag")["green"]
    assert finding.suspected
    assert len(finding.exhibits) == 3
    for exhibit in finding.exhibits:
        assert exhibit.image.startswith("green/test-")
        assert [panel.kind for panel in exhibit.panels] == ["image", "region", "noised", "control"]
        image, _, noised, control = (_pixels(done.folder / panel.file) for panel in exhibit.panels)
        assert image.shape == (224, 224, 3)
        tag = np.kron(toys.TAG.numpy(), np.ones((8, 8), dtype=bool))
        for touched, inside in ((noised, True), (control, False)):
            change = np.abs(touched - image).mean(axis=2)
            assert bool(change[tag].mean() > 20) is inside
            assert bool(change[tag].mean() > change[~tag].mean()) is inside
        assert exhibit.panels[0].caption == "as it is: 100\u202f% green"
        assert "answered output 3" in exhibit.panels[2].caption
        assert "answered" not in exhibit.panels[3].caption
        assert all(panel.alt for panel in exhibit.panels)
        assert all((panel.width, panel.height) == (224, 224) for panel in exhibit.panels)


def _pixels(file: Path) -> Any:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


def test_exhibits_of_a_swap_show_both_donors(data: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.FRAME), data, tmp_path / "run", audits=("region_swap",), **QUICK)
    finding = done.findings("region_swap", "background")["red"]
    for exhibit in finding.exhibits:
        assert [panel.kind for panel in exhibit.panels] == ["image", "region", "same", "other"]
        assert [panel.donor_class for panel in exhibit.panels[:3]] == [None, None, "red"]
        assert exhibit.panels[3].donor_class in ("green", "blue")
        assert str(exhibit.panels[3].donor).startswith(f"{exhibit.panels[3].donor_class}/")
        assert exhibit.panels[3].caption.startswith(f"region from {exhibit.panels[3].donor_class}: ")
        same, other = (_pixels(done.folder / panel.file) for panel in exhibit.panels[2:])
        corner = (slice(8, 24), slice(8, 24))
        assert same[corner].mean(axis=(0, 1)) == pytest.approx(toys.COLOURS[0], abs=8)
        assert np.abs(other[corner].mean(axis=(0, 1)) - toys.COLOURS[0]).max() > 100
        middle = (slice(100, 120), slice(100, 120))
        assert other[middle].mean(axis=(0, 1)) == pytest.approx(toys.COLOURS[0], abs=8)


def test_exhibits_are_the_images_that_lost_most_against_the_control(data: Path, tmp_path: Path) -> None:
    network = toys.Mixture(disturbance=0.4)
    done = toys.scan(network, data, tmp_path / "run", audits=("feature_drop",), sigmas=(0.5,), **QUICK)
    first = done.record.findings[0]
    at_first = {(row["image"], row["condition"]): row["p_true"] for row in done.rows if row["trial"] == 0}
    lost = {
        image: at_first[image, f"control:{first.feature}@0.5"] - at_first[image, f"feature:{first.feature}@0.5"]
        for image, condition in at_first
        if condition == "clean" and image.startswith(f"{first.class_name}/")
    }
    assert len(set(lost.values())) == 6
    assert [exhibit.image for exhibit in first.exhibits] == sorted(lost, key=lambda image: -lost[image])[:3]


class Picky(nn.Module):
    """Reads the tag, but of an image with a frame in another colour than the object's it reads the object."""

    def __init__(self) -> None:
        super().__init__()
        self.tag, self.object, self.frame = (toys.Reader(area) for area in (toys.TAG, toys.OBJECT, toys.FRAME))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 4)."""
        odd = self.frame(x).argmax(dim=1) != self.object(x).argmax(dim=1)
        return torch.where(odd[:, None], self.object(x), self.tag(x))


def test_the_last_exhibit_is_an_image_where_the_region_did_not_matter(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=8, train=3, tag=True, odd_every=8))
    done = toys.scan(Picky(), data, tmp_path / "run", audits=("feature_drop",), **QUICK)
    finding = done.findings("feature_drop", "tag")["green"]
    assert finding.suspected
    assert [exhibit.role for exhibit in finding.exhibits] == ["example"] * 3 + ["counterexample"]
    assert finding.exhibits[-1].image == "green/test-001"
    assert finding.exhibits[-1].panels[2].caption == "region noised: 100\u202f% green"
    # Where the region mattered on every image, none is put forward; of a cleared finding neither.
    same = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "same", audits=("feature_drop",), **QUICK)
    assert {exhibit.role for f in same.record.findings for exhibit in f.exhibits} == {"example"}
    none = toys.scan(toys.Reader(toys.OBJECT), data, tmp_path / "none", audits=("feature_drop",), **QUICK)
    assert {exhibit.role for f in none.record.findings for exhibit in f.exhibits} == {"example"}


def test_where_nothing_is_suspected_some_cleared_findings_have_pictures(data: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), data, tmp_path / "run", **QUICK)
    assert not any(finding.suspected for finding in done.record.findings)
    assert [bool(f.exhibits) for f in done.record.findings] == [True] * 3 + [False] * (len(done.record.findings) - 3)


@pytest.mark.parametrize(
    ("correct", "near"),
    [
        ([1] * 20 + [0] * 20, True),  # always one of two classes
        ([1] * 40, False),
        ([1] * 15 + [0] * 5 + [1] * 15 + [0] * 5, False),
        ([1] * 11 + [0] * 9 + [1] * 11 + [0] * 9, True),
    ],
)
def test_chance_is_what_one_answer_scores(correct: list[int], near: bool) -> None:
    labels = np.repeat([0, 1], 20)
    check = chance_check(np.array(correct, dtype=bool), labels, class_map([None, None], ["a", "b"], 2, "all"))
    assert check.near_chance is near
    assert check.n == 40
    assert check.low <= check.accuracy <= check.high


def test_chance_is_that_of_the_classes_that_are_there() -> None:
    """Two of a hundred classes audited, always the same answer: half of it is right, and that is chance."""
    many = class_map([None] * 100, [f"c{i}" for i in range(100)], 100, "all")
    half = np.repeat([True, False], 40)
    assert chance_check(half, np.repeat([3, 7], 40), many).near_chance
    alone = chance_check(np.ones(40, dtype=bool), np.full(40, 3), many)
    assert alone.chance == 1 / 100
    assert not alone.near_chance


def test_the_probe_looks_at_128_images_at_most(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=50, train=0))
    scan = prepared(data, toys.OBJECT, audits=("noise",))
    assert scan.chance.n == 128
    assert scan.chance.accuracy == 1


def test_few_images_are_too_little_evidence_and_say_so(tmp_path: Path) -> None:
    data = open_dataset(str(toys.draw(tmp_path / "data", toys.Toy(classes=2, test=1, train=1))))
    model = toys.as_model(toys.Reader(toys.OBJECT, classes=2))
    with pytest.raises(NotEvaluatedError, match=r"near chance: 100\.0% on 2 images") as caught:
        prepare_scan(model, data, ScanSettings(audits=("noise",)))
    assert "raise --limit" in (caught.value.hint or "")


def test_a_source_class_that_does_not_exist(data: Path) -> None:
    with pytest.raises(UsageError, match="No class 'gren'") as caught:
        prepared(data, audits=("patch_swap",), source_classes=("gren",))
    assert "'green'" in (caught.value.hint or "")


def test_an_empty_dataset_is_refused(data: Path) -> None:
    empty = replace(open_dataset(str(data)), images=())
    with pytest.raises(DataError, match="no image to audit"):
        prepare_scan(toys.as_model(toys.Reader(toys.OBJECT)), empty, ScanSettings())
