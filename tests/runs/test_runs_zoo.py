"""A zoo run is scans that share a pass: same parts, same records, whoever answers and however often it stops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zoo_jobs
from zoo_jobs import job, measured, parts

from spuraudit.errors import DataError, NotEvaluatedError, RunError, UsageError
from spuraudit.record.compared import FILE, compared
from spuraudit.record.folder import claim, read_record, sha256_of
from spuraudit.record.zoo_folder import read_zoo
from spuraudit.report.zoo_evidence import gather_zoo
from spuraudit.runs import answering, zoo_groups
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import prepare_scan
from spuraudit.runs.storage import Storage
from spuraudit.runs.zoo import Here, Share, ZooRun, run_zoo
from spuraudit.runs.zoo_groups import within
from spuraudit.runs.zoo_job import ZooItem


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


def test_what_pages_compare_lies_beside_each_record_and_is_listed(whole: Path) -> None:
    for model in read_zoo(whole / "zoo").models:
        run = whole / "zoo" / "models" / model.id
        made = compared(read_record(run)).model_dump_json(by_alias=True)
        assert (run / FILE).read_text("utf-8") == made
        assert (model.record_sha256, model.compared_sha256) == (sha256_of(run / "scan.json"), sha256_of(run / FILE))
    assert all(model.features for model in gather_zoo(whole / "zoo").audited)


def test_a_stale_file_of_what_pages_compare_is_written_again(whole: Path) -> None:
    run_zoo(ZooRun(job(whole, "stale"), Here()))
    for file in (whole / "stale").rglob(FILE):
        file.write_bytes(b"{}")
    run_zoo(ZooRun(job(whole, "stale"), Here()))  # resumes: asks nothing
    assert measured(whole / "stale") == measured(whole / "zoo")


def test_models_of_one_geometry_share_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def answer(begun: list[object], *rest: object) -> object:
        passes.append(len(begun))
        return answering.answer(begun, *rest)

    monkeypatch.setattr("spuraudit.runs.zoo.answer", answer)
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
    before = (whole / "zoo" / "zoo.json").read_bytes()
    with pytest.raises(RunError, match="zoo run of other data, settings"):
        run_zoo(ZooRun(job(whole, settings=other), Here()))
    assert (whole / "zoo" / "zoo.json").read_bytes() == before
    with pytest.raises(RunError, match="not a zoo run"):
        run_zoo(ZooRun(job(whole, "data"), Here()))


@pytest.mark.parametrize(
    ("one", "other"), [("a", "a"), ("a", "A"), ("..", "b"), ("a/b", "b"), ("", "b"), ("a" * 300, "b")]
)
def test_ids_name_folders_of_their_own(tmp_path: Path, one: str, other: str) -> None:
    with pytest.raises(UsageError, match=r"[Tt]he id"):
        job(tmp_path, items=(ZooItem(one, "A", "a.pt"), ZooItem(other, "B", "b.pt")))


def test_storage_of_another_plan_is_refused(whole: Path, tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/bucket")
    run_zoo(ZooRun(job(whole, "stored"), Here(storage=storage), storage=storage))
    assert parts(tmp_path / "bucket") == parts(whole / "zoo")
    other = zoo_jobs.SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(NotEvaluatedError, match=r"wide/plan\.json: another plan"):
        run_zoo(ZooRun(job(whole, "other", settings=other), Here(storage=storage), storage=storage))


def test_shares_meet_on_storage_and_a_bad_part_is_answered_again(whole: Path, tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/bucket")
    for number in (1, 2):
        here = Here(Share(number, 2), storage)
        run_zoo(ZooRun(job(whole, f"machine{number}"), here, storage=storage, conclude_all=False))
    victim = next((tmp_path / "bucket").rglob("part-*.parquet"))
    victim.write_bytes(b"cut off")
    run_zoo(ZooRun(job(whole, "third"), Here(storage=storage), storage=storage))
    assert parts(whole / "third") == parts(tmp_path / "bucket") == parts(whole / "zoo")


def test_a_file_that_changes_during_a_run_is_not_shown_the_groups_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = job(tmp_path)
    usual = zoo_groups.survey

    def surveyed(*given: object) -> object:
        found = usual(*given)
        path = tmp_path / "weights" / "mixed.pt"
        content = torch.load(path, weights_only=True)
        content["args"]["img_size"] = 64
        torch.save(content, path)
        return found

    monkeypatch.setattr("spuraudit.runs.zoo.survey", surveyed)
    record = run_zoo(ZooRun(planned, Here()))
    assert record is not None
    reasons = {model.id: model.reason for model in record.models if model.status == "failed"}
    assert list(reasons) == ["mixed"]
    assert "mixed.pt: the file has changed" in (reasons["mixed"] or "")


def test_models_with_class_maps_of_their_own_share_a_pass_and_are_reported(tmp_path: Path) -> None:
    planned = job(tmp_path)
    (tmp_path / "map.csv").write_text("class,output\nred,2\ngreen,1\nblue,0\n", encoding="utf-8")
    mapped = replace(planned.items[0], id="mapped", class_map=tmp_path / "map.csv")
    record = run_zoo(ZooRun(replace(planned, items=(*planned.items[:2], mapped)), Here()))
    assert record is not None
    gather_zoo(tmp_path / "zoo")
    plain, other = (read_record(tmp_path / "zoo" / "models" / name) for name in ("wide", "mapped"))
    assert [info.outputs for info in other.data.classes] == [[2], [1], [0]]
    assert plain.data.fingerprint != other.data.fingerprint == record.models[2].data_fingerprint


def test_processes_may_claim_a_folder_at_once(tmp_path: Path) -> None:
    refused = RunError("another"), RunError("foreign")
    for attempt in range(20):
        file = tmp_path / str(attempt) / "plan.json"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, file=file: claim(file, b"{}", *refused), range(8)))
        assert file.read_bytes() == b"{}"
        with pytest.raises(RunError, match="another"):
            claim(file, b"[]", *refused)


def test_nothing_half_is_left_where_nothing_was_answered(tmp_path: Path) -> None:
    wrong = zoo_jobs.SETTINGS.model_copy(update={"split": "nope"})
    with pytest.raises(NotEvaluatedError, match="nope"):
        run_zoo(ZooRun(job(tmp_path, settings=wrong), Here()))
    assert not (tmp_path / "zoo").exists()
    assert run_zoo(ZooRun(job(tmp_path), Here())) is not None


def test_a_share_that_fails_leaves_the_claims_of_others(tmp_path: Path) -> None:
    planned = job(tmp_path)
    run_zoo(ZooRun(planned, Here(Share(0, 1)), conclude_all=False))  # claimed by a share that has no part yet
    broken = replace(planned, items=(ZooItem("wide", "Wide", str(tmp_path / "gone.pt")),))
    with pytest.raises(NotEvaluatedError):
        run_zoo(ZooRun(broken, Here(Share(1, 2)), conclude_all=False))
    assert (tmp_path / "zoo" / "models" / "wide" / "plan.json").is_file()
    assert run_zoo(ZooRun(planned, Here())) is not None
