"""`spuraudit zoo` as a stranger runs it: shares, merge, SIGKILL, failures, refusals."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import toys
import yaml
import zoo_jobs

from spuraudit.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ZOO = ["zoo", "--zoo", "mine.yaml", "--data", "data", "--trials", "24", "--swap-trials", "1", "--allow-chance"]
ZOO += ["--batch-size", "16", "--workers", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data, weights and a zoo file, as the working directory."""
    folder = tmp_path_factory.mktemp("zoo")
    toys.draw(folder / "data", toys.Toy())
    items = zoo_jobs.save_networks(folder / "weights")
    entries = [
        {
            "id": item.id,
            "name": item.name,
            "group": "Random" if number % 2 else "Drawn",
            "spec": f"weights/{item.id}.pt",
        }
        for number, item in enumerate(items)
    ]
    entries[0]["published"] = {"clean": 80.0, "core": 70.0, "spurious": 60.0, "rcs": 14.3}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"version": 1, "models": entries}), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Path:
    assert main([*ZOO, "-o", "reference", "-q"]) == 0
    return folder / "reference"


def measured(zoo: Path) -> dict[str, str]:
    """What the records say of the models, less when and how."""
    found = {}
    for file in sorted(zoo.glob("models/*/scan.json")):
        content = json.loads(file.read_bytes())
        found[file.parent.name] = json.dumps(
            {key: content[key] for key in ("measurements", "findings", "observations")}
        )
    return found


def test_what_a_zoo_run_leaves(reference: Path) -> None:
    record = json.loads((reference / "zoo.json").read_bytes())
    assert [model["status"] for model in record["models"]] == ["evaluated"] * 5
    assert record["models"][0]["spec"] == "wide.pt"
    assert str(reference.parent) not in (reference / "zoo.json").read_text()
    assert {row["id"] for row in csv.DictReader((reference / "zoo.csv").open())} == set(zoo_jobs.NETWORKS)
    page = (reference / "zoo.html").read_text()
    assert all(name.title() in page for name in zoo_jobs.NETWORKS)


def test_killed_and_resumed_gives_the_same_bytes(folder: Path, reference: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "spuraudit", *ZOO, "-o", "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 240
    while not any((folder / "killed").rglob("part-*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = zoo_jobs.parts(folder / "killed")
    assert 0 < len(left) < len(zoo_jobs.parts(reference))
    assert not (folder / "killed" / "zoo.json").exists()
    written = {part: (folder / "killed" / part).stat().st_mtime_ns for part in left}
    assert main([*ZOO, "-o", "killed", "-q"]) == 0
    assert {part: (folder / "killed" / part).stat().st_mtime_ns for part in left} == written
    assert zoo_jobs.parts(folder / "killed") == zoo_jobs.parts(reference)
    assert measured(folder / "killed") == measured(reference)


def test_shares_under_any_scheduler_and_a_merge(
    folder: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ZOO, "-o", "shares", "--shard", "2/2"]) == 0
    assert "--merge" in capsys.readouterr().err
    assert main([*ZOO, "-o", "shares", "--merge"]) == 2
    assert "parts are missing" in capsys.readouterr().err
    assert main([*ZOO, "-o", "shares", "--shard", "1/2", "-q"]) == 0
    assert main([*ZOO, "-o", "shares", "--merge"]) == 0
    assert "5 of 5 models evaluated" in capsys.readouterr().err
    assert zoo_jobs.parts(folder / "shares") == zoo_jobs.parts(reference)
    assert measured(folder / "shares") == measured(reference)


def test_groups_entries_and_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--group", "Random", "--models", "wide", "--models", "weights/vision.pt"]
    assert main([*ZOO, *chosen, "--limit", "6", "-o", "chosen"]) == 0
    record = json.loads((folder / "chosen" / "zoo.json").read_bytes())
    assert [model["id"] for model in record["models"]] == ["wide", "narrow", "vision", "vision-2"]
    assert "Published" in capsys.readouterr().out


def test_one_model_among_a_zoo(folder: Path, reference: Path) -> None:
    assert (
        main(["scan", "weights/wide.pt", "--data", "data", "--allow-chance", "--against", "reference", "-o", "one"])
        == 0
    )
    page = (folder / "one" / "report.html").read_text()
    assert "Narrow" in page
    assert "Not comparable" in page  # five trials there, another number here


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "wild"], "Did you mean 'wide'?"),
        (["--group", "Randon"], "Did you mean 'Random'?"),
        (["--shard", "3/2"], "expected I/N with I from 1 to N"),
        (["--shard", "1/2", "--merge"], "--merge concludes, --shard answers a share"),
        (["--ray-workers", "2"], "--ray-workers has no effect"),
        (["--executor", "slurm"], "Use here or ray"),
        (["--audits", "noise"], "--swap-trials has no effect"),
        (["--batch-size", "auto"], "fits one model, not many"),
        (["--preset", "theirs"], "preset"),
    ],
)
def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main([*ZOO, "-o", "refused", *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (folder / "refused").exists()


def test_no_model_evaluated_is_exit_code_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "weights" / "empty.pt").write_bytes(b"")
    (folder / "weights" / "text.pt").write_bytes(b"text")
    models = ["--models", "weights/empty.pt", "--models", "weights/text.pt"]
    assert main([*ZOO, "-o", "none", *models]) == 2
    err = capsys.readouterr().err
    assert "None of 2 models was evaluated" in err
    assert "empty.pt" in err
    assert "text.pt" in err


def test_a_folder_of_a_zoo_run_is_no_scan(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = sorted(path.parent for path in Path("reference").glob("models/*/scan.json"))
    for command in (["gate", "reference", "--rule", "rcs >= 0.1"], ["compare", str(scans[0]), "reference"]):
        capsys.readouterr()
        assert main(command) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"reference: a folder of `spuraudit zoo`, not of a scan. Give a scan in it: {scans[0]}, " in said


def test_the_list_names_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--list"]) == 0
    out = capsys.readouterr().out
    assert "resnet50_l2_eps3.ckpt" in out
    assert "timm:vit_base_patch16_224.augreg_in21k_ft_in1k" in out
