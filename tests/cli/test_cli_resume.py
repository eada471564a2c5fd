"""A scan that is killed, interrupted or terminated goes on where it stopped, and ends with the same numbers."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import toys

from spuraudit.cli.main import main
from spuraudit.record.folder import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Batches of one, so that the parts of the scan are seconds apart.
SCAN = ["scan", "model.pt", "--data", "data", "--trials", "24", "--batch-size", "1"]


@dataclass(frozen=True)
class Stop:
    """One interrupted call: exit code, stderr, and the parts that were there afterwards."""

    code: int
    err: str
    parts: dict[str, int]
    finished: bool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint and 60 images, as the working directory."""
    folder = tmp_path_factory.mktemp("resume")
    toys.draw(folder / "data", toys.Toy(test=20, train=4))
    toys.save_cnn(folder / "model.pt", {"object": 1.0, "frame": 1.5})
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Path:
    """The same scan, uninterrupted."""
    assert main([*SCAN, "-o", "reference", "-q"]) == 0
    assert len(list((folder / "reference/observations").iterdir())) >= 6
    return folder / "reference"


def modified(run: Path) -> dict[str, int]:
    """Parts with the time of their writing."""
    return {part.name: part.stat().st_mtime_ns for part in sorted((run / "observations").glob("part-*"))}


def stop_after_one_more_part(run: Path, number: signal.Signals) -> Stop:
    """Start the scan in a process of its own and send a signal when it has written a part."""
    before = len(modified(run))
    process = subprocess.Popen(
        [sys.executable, "-m", "spuraudit", *SCAN, "-o", run.name],
        cwd=run.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and their children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(modified(run)) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return Stop(process.returncode, err, modified(run), (run / "scan.json").exists())


@pytest.fixture(scope="module")
def stops(folder: Path) -> dict[str, Stop]:
    """SIGKILL, then Ctrl-C, then SIGTERM: each call goes on where the one before stopped."""
    run = folder / "stopped"
    return {name: stop_after_one_more_part(run, getattr(signal, name)) for name in ("SIGKILL", "SIGINT", "SIGTERM")}


@pytest.fixture(scope="module")
def resumed(folder: Path, stops: dict[str, Stop]) -> Path:
    """The last call, which finishes."""
    assert main([*SCAN, "-o", "stopped", "-q"]) == 0
    return folder / "stopped"


pytestmark = pytest.mark.slow


def test_a_killed_scan_leaves_whole_parts_and_no_record(stops: dict[str, Stop]) -> None:
    killed = stops["SIGKILL"]
    assert killed.code == -signal.SIGKILL
    assert len(killed.parts) >= 1
    assert not killed.finished


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_scan_exits_with_130_and_says_how_to_go_on(stops: dict[str, Stop], name: str) -> None:
    stop = stops[name]
    assert stop.code == 130
    assert not stop.finished
    assert "Error: Interrupted." in stop.err
    assert "Run the same command again: a scan resumes where it stopped." in stop.err
    assert "Traceback" not in stop.err


def test_every_call_goes_on_after_the_parts_of_the_last(stops: dict[str, Stop], resumed: Path) -> None:
    chain = [*(stop.parts for stop in stops.values()), modified(resumed)]
    for earlier, later in itertools.pairwise(chain):
        assert len(earlier) < len(later)
        assert {name: later[name] for name in earlier} == earlier  # not written again
    said = f"Resuming: {len(stops['SIGKILL'].parts)} of {len(modified(resumed))} parts are already there."
    assert said in stops["SIGINT"].err


def test_the_resumed_scan_is_the_uninterrupted_one(reference: Path, resumed: Path) -> None:
    one, two = (json.loads((run / "scan.json").read_text()) for run in (reference, resumed))
    run_one, run_two = one.pop("run"), two.pop("run")
    assert one == two  # measurements, findings with their exhibits, sha256 of the parts, everything
    assert run_one["id"] == run_two["id"]
    assert run_one["resumed_parts"] == 0
    assert run_two["resumed_parts"] >= 3
    for name in ("observations", "exhibits"):
        hashes = [{f.name: sha256_of(f) for f in (run / name).iterdir()} for run in (reference, resumed)]
        assert hashes[0] == hashes[1]
        assert hashes[0]
    assert (reference / "plan.json").read_bytes() == (resumed / "plan.json").read_bytes()


def test_nothing_temporary_stays(resumed: Path) -> None:
    assert [path for path in resumed.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"] == []


def test_another_plan_is_refused_in_a_folder_that_is_taken(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*")}
    assert main([*SCAN, "-o", "reference", "--seed", "1"]) == 2
    err = capsys.readouterr().err
    assert "Error: reference: holds a run of another plan (other model, data, settings or version" in err
    assert "Choose another folder with -o, or delete this one." in err
    assert {path: path.stat().st_mtime_ns for path in reference.rglob("*")} == before


def _break(part: Path, how: str, other: Path) -> None:
    content = part.read_bytes()
    if how == "truncated":
        part.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        part.write_bytes(b"")
    elif how == "garbage":
        part.write_bytes(bytes(range(256)) * 8)
    else:
        shutil.copy(other, part)


@pytest.mark.parametrize("how", ["truncated", "empty", "garbage", "of another length", "deleted"])
def test_a_part_that_is_not_whole_is_asked_again(reference: Path, tmp_path: Path, how: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    parts = sorted((run / "observations").iterdir())
    wanted = sha256_of(parts[1])
    if how == "deleted":
        parts[1].unlink()
    else:
        _break(parts[1], how, parts[-1])
    assert main([*SCAN, "-o", str(run), "-q"]) == 0
    assert sha256_of(parts[1]) == wanted
    record = _content(run)
    assert record["run"]["resumed_parts"] == len(parts) - 1
    assert record["measurements"] == _content(reference)["measurements"]


def test_a_part_with_rows_of_other_images_is_asked_again(reference: Path, tmp_path: Path) -> None:
    """Same number of rows, other images: it must not stand for the images that it does not hold."""
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    parts = sorted((run / "observations").iterdir())
    wanted = sha256_of(parts[1])
    shutil.copy(parts[0], parts[1])
    assert main([*SCAN, "-o", str(run), "-q"]) == 0
    assert sha256_of(parts[1]) == wanted
    assert _content(run)["measurements"] == _content(reference)["measurements"]


def _content(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "scan.json").read_text())
    return content
