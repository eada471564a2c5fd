"""A zoo run is scans that share a pass: same parts, same records, whoever answers and however often it stops."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zoo_jobs
from zoo_jobs import job, parts

from spuraudit.errors import DataError, NotEvaluatedError, RunError, UsageError
from spuraudit.record.folder import read_record
from spuraudit.runs import answering
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import prepare_scan
from spuraudit.runs.zoo import Here, Share, ZooRun, run_zoo
from spuraudit.runs.zoo_groups import within
from spuraudit.runs.zoo_job import ZooItem


def measured(folder: Path) -> dict[str, str]:
    """Everything of the records that may not depend on how the run went."""
    found = {}
    for file in sorted(folder.glob("models/*/scan.json")):
        content = json.loads(file.read_bytes())
        kept = {key: content[key] for key in ("measurements", "findings", "curves", "observations", "exclusions")}
        found[file.parent.name] = json.dumps(kept)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, beside its data."""
    folder = tmp_path_factory.mktemp("whole")
    run_zoo(ZooRun(job(folder), Here()))
    return folder


def test_parts_and_records_are_those_of_scans_one_by_one(whole: Path) -> None:
    alone = job(whole)
    dataset = alone.open_dataset()
    for item in alone.items:
        scan = prepare_scan(*alone.load(item, dataset), alone.settings, alone.machine)
        record = execute(scan, whole / "alone" / item.id)
        together = read_record(whole / "zoo" / "models" / item.id)
        assert together.measurements == record.measurements
        assert together.findings == record.findings
        assert together.run.plan_sha256 == record.run.plan_sha256
        assert parts(whole / "alone" / item.id) == parts(whole / "zoo" / "models" / item.id)


def test_models_of_one_geometry_share_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    monkeypatch.setattr("spuraudit.runs.zoo.answer", lambda b, p: passes.append(len(b)) or answering.answer(b, p))
    run_zoo(ZooRun(job(tmp_path), Here()))
    assert sorted(passes) == [2, 3]


def test_a_budget_of_memory_makes_more_and_smaller_groups() -> None:
    items = [(ZooItem(name, name, name), size) for name, size in [("a", 4), ("b", 4), ("c", 9), ("d", 1), ("e", 7)]]
    assert [[item.id for item in group] for group in within(items, 8)] == [["a", "b"], ["c"], ["d", "e"]]
    assert [[item.id for item in group] for group in within(items, 1)] == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_small_groups_give_the_same_numbers(whole: Path) -> None:
    run_zoo(ZooRun(job(whole, "narrow", memory=1), Here()))
    assert measured(whole / "narrow") == measured(whole / "zoo")


def test_shares_and_a_merge_give_the_same_bytes(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spuraudit.runs.shards.MAX_IMAGES", 4)
    run_zoo(ZooRun(job(whole, "fine"), Here()))
    for number in (2, 1, 3):
        assert run_zoo(ZooRun(job(whole, "shares"), Here(Share(number, 3)), conclude_all=False)) is None
        assert not (whole / "shares" / "zoo.json").exists()
    record = run_zoo(ZooRun(job(whole, "shares"), Here(Share(0, 1))))  # a merge: asks nothing
    assert record is not None
    assert [model.status for model in record.models] == ["evaluated"] * 5
    assert parts(whole / "shares") == parts(whole / "fine")
    assert measured(whole / "shares") == measured(whole / "fine")


def test_a_merge_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spuraudit.runs.shards.MAX_IMAGES", 4)
    run_zoo(ZooRun(job(tmp_path), Here(Share(1, 2)), conclude_all=False))
    with pytest.raises(NotEvaluatedError, match=r"4 of 9 parts are missing \(numbers 1, 3, 5, 7\)"):
        run_zoo(ZooRun(job(tmp_path), Here(Share(0, 1))))


def test_a_model_that_fails_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    planned = job(tmp_path)
    missing = ZooItem("gone", "Gone", str(tmp_path / "gone.pt"))
    broken = tmp_path / "weights" / "broken.pt"
    state = torch.load(tmp_path / "weights" / "wide.pt", weights_only=True)
    state["state_dict"] = {name: tensor * 1e30 for name, tensor in state["state_dict"].items()}
    torch.save(state, broken)
    record = run_zoo(
        ZooRun(replace(planned, items=(missing, ZooItem("broken", "Broken", str(broken)), *planned.items)), Here())
    )
    assert record is not None
    assert [model.status for model in record.models] == ["failed", "failed"] + ["evaluated"] * 5
    assert "does not exist" in (record.models[0].reason or "")
    assert "NaN or infinity" in (record.models[1].reason or "")
    assert record.models[2].run == "models/wide"


def test_a_network_that_fails_in_the_middle_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = job(tmp_path)
    usual = answering._asker

    def failing(scan: object, progress: object) -> object:
        asker = usual(scan, progress)
        if asker.model.record.file == "narrow.pt":
            monkeypatch.setattr(asker, "finish", lambda: (_ for _ in ()).throw(RuntimeError("device lost")))
        return asker

    monkeypatch.setattr(answering, "_asker", failing)
    record = run_zoo(ZooRun(planned, Here()))
    assert record is not None
    reasons = {model.id: model.reason for model in record.models if model.status == "failed"}
    assert reasons == {"narrow": "RuntimeError: device lost"}
    monkeypatch.undo()
    again = run_zoo(ZooRun(planned, Here()))
    assert again is not None
    assert [model.status for model in again.models] == ["evaluated"] * 5


def test_none_evaluated_is_an_error_that_lists_every_reason(tmp_path: Path) -> None:
    items = (ZooItem("a", "A", str(tmp_path / "a.pt")), ZooItem("b", "B", str(tmp_path / "b.pt")))
    with pytest.raises(NotEvaluatedError, match=r"None of 2 models was evaluated:\n  A: .*a\.pt.*\n  B: .*b\.pt"):
        run_zoo(ZooRun(job(tmp_path, items=items), Here()))
    assert not (tmp_path / "zoo" / "zoo.json").exists()


def test_an_unreadable_image_is_everybodys(tmp_path: Path) -> None:
    planned = job(tmp_path)
    victim = next((tmp_path / "data").rglob("test-007.png"))
    victim.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"test-007\.png"):
        run_zoo(ZooRun(planned, Here()))


def test_the_folder_of_another_zoo_run_is_refused(whole: Path) -> None:
    other = zoo_jobs.SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(RunError, match="zoo run of other data, settings"):
        run_zoo(ZooRun(job(whole, settings=other), Here()))
    with pytest.raises(RunError, match="not a zoo run"):
        run_zoo(ZooRun(job(whole, "data"), Here()))


def test_ids_are_unique(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two models|Two models"):
        job(tmp_path, items=(ZooItem("a", "A", "a.pt"), ZooItem("a", "B", "b.pt")))
