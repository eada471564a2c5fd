"""`spuraudit scan` from end to end: what it prints where, what it writes, which code it returns."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.cli.main import main
from spuraudit.record.folder import read_record, read_verdict

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord

QUICK = ["--trials", "2", "--swap-trials", "2"]
SWEEP = ["--passes", "4", "--targets", "2", "--sources", "2"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 test images; a network that follows the frame more than the object; the same data without masks."""
    folder = tmp_path_factory.mktemp("original")
    toys.draw(folder / "data", toys.Toy(test=20, train=6))
    toys.draw(folder / "bare", toys.Toy(test=6, train=3, masks=False))
    toys.save_cnn(folder / "model.pt", {"object": 1.0, "frame": 1.5})
    return folder


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that leads to both."""
    for name in ("data", "bare", "model.pt"):
        (tmp_path / name).symlink_to(original / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Ran:
    """Exit code and streams of one command."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        self.code = main(list(arguments))
        self.out, self.err = capsys.readouterr()


def only_run(here: Path) -> Path:
    """The one run folder under runs/."""
    (run,) = [path for path in (here / "runs").iterdir() if path.name != "last"]
    return run


def test_results_on_stdout_everything_else_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK)
    assert ran.code == 0
    for said in ("Clean accuracy", "RCS (sigma 0.25)", "Region-swap gap (background)", "Suspected spurious features"):
        assert said in ran.out
        assert said not in ran.err
    for said in ("Model  model: paper_cnn", "Input  28x28", " answers\n", "Report: runs/"):
        assert said in ran.err
        assert said not in ran.out
    assert "\x1b[" not in ran.out + ran.err  # no colour codes in a pipe
    assert ran.err.splitlines()[-1].startswith("Scanned: 3 of 9 tested features and regions are suspected;")


def test_the_run_folder_is_complete_and_last_leads_to_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK)
    run = only_run(here)
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    pictures = {name for name in names if name.startswith("exhibits/")}
    parts = {name for name in names if name.startswith("observations/")}
    assert names - pictures - parts == {"plan.json", "scan.json", "report.html"}
    record = read_record(here / "runs" / "last")
    assert run.name == f"model-toy-{record.run.plan_sha256[:8]}"
    assert parts == {part.file for part in record.observations}
    shown = {panel.file for f in record.findings for exhibit in f.exhibits for panel in exhibit.panels}
    assert pictures == shown
    assert pictures


def test_the_background_is_found_and_the_record_says_everything(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK)
    record = read_record(only_run(here))
    suspects = [f for f in record.findings if f.suspected]
    assert {(f.audit, f.feature, f.class_name) for f in suspects} == {
        ("region_swap", "background", name) for name in ("red", "green", "blue")
    }
    assert all(f.effect == 1 for f in suspects)
    assert record.model.arch == "paper_cnn"
    assert record.model.file == "model.pt"
    assert record.model.sha256 is not None
    assert len(record.model.sha256) == 64
    assert record.data.split == "test"
    assert record.data.images == record.data.available == 60
    assert record.run.seed == 0
    assert [a.status for a in record.audits] == ["run", "run", "run", "skipped"]


def test_quiet_prints_the_results_and_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "--quiet")
    assert "Clean accuracy" in ran.out
    assert len(ran.err.splitlines()) == 1
    assert "Report: " in ran.err


def test_quiet_prints_why_a_gate_was_not_evaluated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = "patch_drop <= 0.1"
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", "--trials", "1", "--audits", "noise", "-q", "--rule", rule)
    assert ran.code == 2
    assert "not evaluated" in ran.out
    assert f"{rule}: The record has no 'patch_drop'" in ran.out
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("rules", "code", "outcome", "last"),
    [
        (["clean_accuracy >= 0.9"], 0, "pass", "PASSED: the gate holds."),
        (["swap_gap[feature=background] <= 0.1"], 1, "fail", "FAILED: the gate failed."),
        (["clean_accuracy >= 0.9", "swap_gap[feature=background] <= 0.1"], 1, "fail", "FAILED: 1 of 2 gates failed."),
        (
            ["clean_accuracy[class=red] >= 0.9"],  # 20 images: below the 50 that a gate needs
            2,
            "not evaluated",
            "NOT EVALUATED: the gate could not be evaluated.",
        ),
        (["patch_drop <= 0.1"], 2, "not evaluated", "NOT EVALUATED: the gate could not be evaluated."),
    ],
)
def test_gates_decide_the_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str], rules: list[str], code: int, outcome: str, last: str
) -> None:
    arguments = [word for rule in rules for word in ("--rule", rule)]
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "--audits", "noise,region-swap", *arguments)
    assert ran.code == code
    assert ran.err.splitlines()[-1].startswith(f"{last} Report: ")
    verdict = read_verdict(only_run(here))
    assert verdict is not None
    assert verdict.outcome == outcome
    assert verdict.run_id == read_record(only_run(here)).run.id


def test_a_scan_is_judged_as_gate_judges_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ignores and baselines of the config count, and the verdict is the same."""
    gates = [
        {"id": "swap", "metric": "swap_gap", "feature": "background", "max": 0.0001},
        {"id": "no-regression", "metric": "core_accuracy", "max_drop": 0.02},
    ]
    config = {"gates": gates, "baseline": "before", "ignores": [{"gate": "swap", "reason": "known since the first"}]}
    assert Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "-o", "before").code == 0
    (here / ".spuraudit.yaml").write_text(json.dumps(config))
    toys.save_cnn(here / "other.pt", {"object": 1.0, "frame": 1.4})
    ran = Ran(capsys, "scan", "other.pt", "--data", "data", *QUICK, "-o", "after")
    verdict = read_verdict(here / "after")
    assert ran.code == 0, ran.err
    assert verdict is not None
    assert [one.ignored > 0 for one in verdict.gates] == [True, False]
    assert verdict.gates[1].baseline is not None
    written = (here / "after" / "verdict.json").read_bytes()
    assert Ran(capsys, "gate", "after").code == 0
    assert (here / "after" / "verdict.json").read_bytes() == written


def test_a_missing_baseline_is_known_before_the_scan(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".spuraudit.yaml").write_text(json.dumps({"gates": ["drop(rcs) <= 0.02"], "baseline": "released"}))
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK)
    assert ran.code == 2
    assert "released: there is no baseline run." in ran.err
    assert "spuraudit scan OLD_MODEL" in ran.err
    assert not (here / "runs").exists()


def test_a_baseline_that_cannot_be_compared_leaves_the_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "--seed", "1", "-o", "before").code == 0
    (here / ".spuraudit.yaml").write_text(json.dumps({"gates": ["drop(rcs) <= 0.02"], "baseline": "before"}))
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "-o", "after")
    assert ran.code == 2
    assert "seed" in ran.err
    assert (here / "after" / "report.html").is_file()
    assert not (here / "after" / "verdict.json").exists()


def test_a_verdict_of_an_earlier_call_does_not_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["scan", "model.pt", "--data", "data", "--trials", "2", "--audits", "noise"]
    Ran(capsys, *command, "--rule", "clean_accuracy >= 0.9")
    assert read_verdict(only_run(here)) is not None
    again = Ran(capsys, *command)
    assert "Resuming: 1 of 1 parts are already there" in again.err
    assert read_verdict(only_run(here)) is None


def test_files_by_suffix_beside_the_run_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["x.html", "y.csv", "z.md", "w.json", "mine"]
    ran = Ran(
        capsys,
        *("scan", "model.pt", "--data", "data", "--trials", "2", "--audits", "noise"),
        *(word for name in outputs for word in ("-o", name)),
    )
    assert ran.code == 0
    assert not (here / "runs").exists()
    assert not (here / "last").exists()
    assert (here / "x.html").read_text().startswith("<!doctype html>")
    table = list(csv.DictReader((here / "y.csv").open()))
    record = read_record(here / "mine")
    assert len(table) == len(record.measurements)
    assert (here / "w.json").read_bytes() == (here / "mine/scan.json").read_bytes()
    assert "RCS" in (here / "z.md").read_text()
    assert f"Report: {Path('mine/report.html')}" in ran.err


def test_without_masks_only_patch_swap_runs_and_the_others_say_what_they_need(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "scan", "model.pt", "--data", "bare", *SWEEP)
    assert ran.code == 0
    record = read_record(only_run(here))
    assert {a.name for a in record.audits if a.status == "run"} == {"patch_swap"}
    assert {a.name: a.reason for a in record.audits if a.status == "skipped"} == {
        "noise": "It needs core masks; the audited images have none.",
        "feature_drop": "It needs feature masks; the audited images have none.",
        "region_swap": "It needs core masks; the audited images have none.",
    }
    page = (only_run(here) / "report.html").read_text()
    assert "It needs core masks" in page
    assert {f.audit for f in record.findings} == {"patch_swap"}
    assert "Clean accuracy" in ran.out


def test_every_option_of_the_patch_swap_reaches_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(
        capsys,
        *("scan", "model.pt", "--data", "data", "--audits", "patch_swap", "--passes", "4", "--targets", "6"),
        *("--pair", "red:green", "--pair", "green:blue", "--sources", "3", "--limit-sources", "4"),
        *("--search", "adaptive", "--precision", "bf16", "--batch-size", "auto", "--budget", "1h"),
    )
    assert ran.code == 0
    assert "Batch size " in ran.err
    assert "the fastest on cpu" in ran.err
    assert "Budget 1h: adaptive search, at most 4 source images" in ran.err
    record = read_record(only_run(here))
    assert record.model.precision == "bf16"
    assert {(f.class_name, f.target_class) for f in record.findings} == {("red", "green"), ("green", "blue")}
    assert len(record.curves) == 4
    assert all(curve.settled is not None for curve in record.curves)
    again = Ran(capsys, "scan", "model.pt", "--data", "data", *("--audits", "patch_swap", "--passes", "4"))
    assert again.code == 0
    assert len(list((here / "runs").iterdir())) == 3  # another plan, another folder; and `last`


def test_config_takes_pairs_and_search(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters = {"pairs": ["red:blue"], "search": "adaptive", "passes": 4, "targets": 5, "sources": 2}
    (here / ".spuraudit.yaml").write_text(json.dumps({"audits": {"patch_swap": parameters}}))
    assert Ran(capsys, "scan", "model.pt", "--data", "data").code == 0
    record = read_record(only_run(here))
    assert [(f.class_name, f.target_class) for f in record.findings] == [("red", "blue")]
    (here / ".spuraudit.yaml").write_text(json.dumps({"audits": {"patch_swap": {"pairs": ["red"]}}}))
    refused = Ran(capsys, "scan", "model.pt", "--data", "data")
    assert refused.code == 2
    assert "expected CLASS:CLASS" in refused.err


def test_the_record_holds_no_folder_of_this_machine(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["scan", str(here / "model.pt"), f"--data={here / 'data'}", "--trials", "2", "--audits", "noise"]
    monkeypatch.setattr("sys.argv", ["spuraudit", *arguments])
    Ran(capsys, *arguments)
    run = only_run(here)
    for name in ("scan.json", "plan.json", "report.html"):
        assert str(here) not in (run / name).read_text()
        assert str(here.resolve()) not in (run / name).read_text()
    argv = read_record(run).run.argv
    assert argv[:3] == ["scan", "model.pt", "--data=data"]


def test_limit_and_split_and_seed_reach_the_record(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--limit", "9", "--split", "train", "--seed", "5", "--sigma", "0.5", "--sigma", "0.1"]
    Ran(capsys, "scan", "model.pt", "--data", "data", "--trials", "2", "--audits", "noise", *options)
    record = read_record(only_run(here))
    assert (record.data.split, record.data.images, record.data.available) == ("train", 9, 18)
    assert [entry.images for entry in record.data.classes] == [3, 3, 3]
    assert record.run.seed == 5
    assert record.audits[0].params["sigma"] == [0.1, 0.5]
    assert "Only 9 of 18 images were audited" in next(n.text for n in record.warnings if n.code == "SPA002")


def test_overridden_preprocessing_is_stored_with_its_origin(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--mean", "0.1,0.2,0.3", "--std", "0.9", "--interpolation", "bicubic", "--crop-pct", "0.9"]
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", "--trials", "2", "--audits", "noise", *options)
    preprocess = read_record(only_run(here)).model.preprocess
    assert preprocess.mean == (0.1, 0.2, 0.3)
    assert preprocess.std == (0.9, 0.9, 0.9)
    assert (preprocess.geometry.interpolation, preprocess.geometry.crop_pct) == ("bicubic", 0.9)
    assert preprocess.origin["mean"] == "--mean"
    assert "mean 0.1,0.2,0.3 (--mean), std 0.9,0.9,0.9 (--std)" in ran.err


def test_the_config_gives_defaults_that_the_command_line_overrides(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / ".spuraudit.yaml").write_text(
        "model: model.pt\n"
        "data: data\n"
        "seed: 4\n"
        "audits:\n"
        "  noise: {sigma: [0.3, 0.1], trials: 2}\n"
        "gates:\n"
        "  - {id: floor, metric: clean_accuracy, min: 0.9}\n"
    )
    ran = Ran(capsys, "scan")
    record = read_record(only_run(here))
    assert ran.code == 0
    assert "PASSED" in ran.err
    assert record.run.seed == 4
    assert record.audits[0].params["sigma"] == [0.1, 0.3]
    assert [a.name for a in record.audits if a.status == "run"] == ["noise"]
    shutil.rmtree(here / "runs")
    Ran(capsys, "scan", "--seed", "6", "--sigma", "0.2")
    again = read_record(only_run(here))
    assert again.run.seed == 6
    assert again.audits[0].params["sigma"] == [0.2]


def test_gate_and_report_work_on_the_finished_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "--audits", "noise,region_swap")
    assert Ran(capsys, "gate", "runs/last", "--rule", "clean_accuracy >= 0.9").code == 0
    assert Ran(capsys, "gate", "runs/last", "--rule", "ci_high(swap_gap[feature=background]) <= 0.1").code == 1
    assert Ran(capsys, "gate", "runs/last", "--rule", "clean_accuracy >= 0.9", "--min-n", "100").code == 2
    checked = Ran(capsys, "schema", "--check", "runs/last/scan.json")
    assert (checked.code, checked.out) == (0, "runs/last/scan.json: valid spuraudit/scan 1.1\n")
    (only_run(here) / "report.html").unlink()
    assert Ran(capsys, "report", "runs/last").code == 0
    assert (only_run(here) / "report.html").is_file()


def test_two_finished_scans_of_one_plan_differ_in_times_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records: list[ScanRecord] = []
    for name in ("a", "b"):
        Ran(capsys, "scan", "model.pt", "--data", "data", *QUICK, "-o", name, "-q")
        records.append(read_record(here / name))
        content = json.loads((here / name / "scan.json").read_text())
        content["run"] = {**content["run"], "started": "", "seconds": 0}
        (here / name / "scan.json").write_text(json.dumps(content, indent=1))
    assert (here / "a/scan.json").read_bytes() == (here / "b/scan.json").read_bytes()
    assert (here / "a/plan.json").read_bytes() == (here / "b/plan.json").read_bytes()


def test_data_check_prints_counts_and_finds_what_is_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine = Ran(capsys, "data", "check", "data")
    assert fine.code == 0
    assert "toy: 78 images, 78 masks (manifest)" in fine.out
    assert "Every photo and mask can be read." in fine.err
    toys.draw(here / "broken", toys.Toy(test=2, train=1))
    (here / "broken/images/red/test-001.png").write_bytes(b"")
    broken = Ran(capsys, "data", "check", "broken")
    assert broken.code == 2
    assert "images/red/test-001.png: the file is empty" in broken.err


@pytest.mark.parametrize(
    ("rule", "code"), [("clean_accuracy >= 0.1", 0), ("clean_accuracy <= 0.1", 1), ("nothing >= 0", 2)]
)
def test_a_reader_that_goes_away_changes_no_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str], rule: str, code: int
) -> None:
    Ran(capsys, "scan", "model.pt", "--data", "data", "--trials", "2", "--audits", "noise", "-o", "mine", "-q")
    command = [sys.executable, "-m", "spuraudit", "gate", "mine", "--rule", rule, "--min-n", "5"]
    read, write = os.pipe()
    os.close(read)
    assert subprocess.run(command, cwd=here, stdout=write, stderr=subprocess.PIPE, check=False).returncode == code
    os.close(write)
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, cwd=here, stdout=full, stderr=subprocess.PIPE, check=False).returncode == code


def test_an_option_that_nothing_reads_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "scan", "model.pt", "--data", "data", "--audits", "noise", "--passes", "10")
    assert ran.code == 2
    assert "--passes has no effect: it belongs to patch_swap" in ran.err
    assert "--audits noise,patch_swap" in ran.err
    assert not (here / "runs").exists()
