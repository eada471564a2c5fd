"""`spuraudit zoo` over the real checkpoints and some random ones, on real masked photos: SIGKILL, resume, scans alone.

Numbers are compared bit for bit, so every pass uses one torch thread (docs/zoo.md says why).
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from spuraudit.cli.main import main
from spuraudit.models.architectures import create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
HALVES = {"mean": [0.5], "std": [0.5]}
SAME = {"pad_type": "same"}
#: Id -> file, and what has to be said of it: the keys of a zoo file.
REAL: dict[str, tuple[str, dict[str, Any]]] = {
    "v2": ("mobilenetv2_100.pt", {}),
    "v2-tf": ("mobilenetv2_100.tf_same.pt", {"kwargs": SAME, "preprocess": HALVES}),
    "v1": ("mobilenetv1_100.pt", {"kwargs": SAME}),
    "v1-packed": ("mobilenetv1_100.module_prefix.pth.tar", {}),
    "one": ("mobileone_s0.pt", {}),
    "one-fused": ("mobileone_s0.fused.safetensors", {}),
    "edgetpu": (
        "mobilenet_edgetpu_100.w075.pt",
        {"arch": "mobilenet_edgetpu_100", "kwargs": {"channel_multiplier": 0.75, **SAME}, "preprocess": HALVES},
    ),
}
#: 224 and 160 pixels, convolutions and attention; random weights.
RANDOM = ("mobilenetv3_small_050", "test_resnet", "test_vit", "test_efficientnet")
#: Scanned alone in every run: said arguments, a fused file, and each of the two sizes.
ALWAYS = ("v2", "v2-tf", "one-fused", "test_vit")
QUICK = ["--limit", "3", "--trials", "2", "--swap-trials", "1"]
#: A shard holds 64 photos at most.
TWO_SHARDS = ["--limit", "66", "--audits", "noise", "--trials", "1", "-m", "v2", "-m", "mobilenetv3_small_050"]

pytestmark = [pytest.mark.shared, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The zoo file and the random weights, as the working directory; one torch thread."""
    folder = tmp_path_factory.mktemp("zoo")
    entries = [
        {"id": id_, "name": f"Real {id_}", "group": "Real", "spec": str(shared / "data/weights" / file), **said}
        for id_, (file, said) in REAL.items()
    ]
    for number, arch in enumerate(RANDOM):
        torch.manual_seed(number)
        torch.save({"arch": arch, "state_dict": create(arch, {}).state_dict()}, folder / f"{arch}.pt")
        entries.append({"id": arch, "name": arch, "group": "Random", "spec": f"{arch}.pt"})
    (folder / "mine.yaml").write_text(json.dumps({"version": 1, "models": entries}), encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with chdir(folder):
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(shared: Path) -> list[str]:
    """What every command here is given of data and machine."""
    photos = ["--data", str(ROOT / "examples/butterflies"), "--data-dir", str(shared / "data/leeds_butterfly_256")]
    return [*photos, "--allow-chance", "--device", "cpu", "--workers", "2"]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Path:
    """Never interrupted."""
    assert main(["zoo", "--zoo", "mine.yaml", *data, *QUICK, "-o", "reference", "-q"]) == 0
    return folder / "reference"


def parts(folder: Path) -> dict[str, bytes]:
    """Every part below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("part-*.parquet"))}


def measured(run: Path) -> dict[str, Any]:
    """What the record of a run says, less when and how."""
    record = json.loads((run / "scan.json").read_bytes())
    return {key: record[key] for key in ("measurements", "findings", "observations", "exclusions", "warnings")}


def all_measured(zoo: Path) -> dict[str, dict[str, Any]]:
    return {run.name: measured(run) for run in sorted((zoo / "models").iterdir())}


def killed(arguments: list[str], zoo: Path, when: Callable[[set[str]], bool]) -> dict[str, int]:
    """Run until the parts (names) are as asked, then SIGKILL; what was written, with the times of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spuraudit", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 600
    while not when({path.relative_to(zoo).as_posix() for path in zoo.rglob("part-*.parquet")}):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (zoo / "zoo.json").exists()
    return {name: (zoo / name).stat().st_mtime_ns for name in parts(zoo)}


def test_every_model_is_evaluated(reference: Path) -> None:
    record = json.loads((reference / "zoo.json").read_bytes())
    assert {model["id"]: model["status"] for model in record["models"]} == dict.fromkeys((*REAL, *RANDOM), "evaluated")
    with (reference / "zoo.csv").open(newline="", encoding="utf-8") as file:
        clean = {row["id"]: float(row["clean"]) for row in csv.DictReader(file)}
    assert set(clean) == {*REAL, *RANDOM}
    # Three photos, of which a network of a thousand outputs that has learnt nothing hits none.
    assert all(clean[id_] >= 2 / 3 - 1e-9 for id_ in REAL)
    assert all(clean[id_] == 0 for id_ in RANDOM)


def test_killed_twice_and_resumed(folder: Path, data: list[str], reference: Path) -> None:
    """Once at the first part, and once between the groups of models that share a pass."""
    command = ["zoo", "--zoo", "mine.yaml", *data, *QUICK, "-o", "killed"]
    zoo, whole = folder / "killed", parts(reference)
    first = killed(command, zoo, lambda names: len(names) >= 1)
    second = killed(command, zoo, lambda names: len(names) >= len(REAL))
    assert 0 < len(first) < len(second) < len(whole)
    assert main([*command, "-q"]) == 0
    times = {name: (zoo / name).stat().st_mtime_ns for name in whole}
    assert first.items() <= second.items() <= times.items()  # nothing was asked twice
    assert parts(zoo) == whole
    assert all_measured(zoo) == all_measured(reference)


def test_killed_within_a_pass_and_resumed(folder: Path, data: list[str]) -> None:
    """Photos of a pass lie in two shards; the first is written, the second is not."""
    command = ["zoo", "--zoo", "mine.yaml", *data, *TWO_SHARDS, "-q"]
    assert main([*command, "-o", "shards"]) == 0
    written = killed([*command, "-o", "within"], folder / "within", lambda names: len(names) >= 1)
    assert all(name.endswith("part-00000.parquet") for name in written)
    assert main([*command, "-o", "within"]) == 0
    assert {name: (folder / "within" / name).stat().st_mtime_ns for name in written} == written
    assert parts(folder / "within") == parts(folder / "shards")
    assert len(parts(folder / "shards")) == 2 * 2
    assert all_measured(folder / "within") == all_measured(folder / "shards")


@pytest.mark.parametrize(
    "id_", [pytest.param(id_, marks=() if id_ in ALWAYS else pytest.mark.sweep) for id_ in (*REAL, *RANDOM)]
)
def test_a_scan_alone_gives_the_same(folder: Path, shared: Path, data: list[str], reference: Path, id_: str) -> None:
    """With the same said on the command line as in the zoo file."""
    file, said = REAL.get(id_, (f"{id_}.pt", {}))
    flags = ["--arch", said["arch"]] if "arch" in said else []
    for key, value in said.get("kwargs", {}).items():
        flags += ["--model-kwargs", f"{key}={value}"]
    for key, (value,) in said.get("preprocess", {}).items():
        flags += [f"--{key}", str(value)]
    place = str(shared / "data/weights" / file) if id_ in REAL else file
    assert main(["scan", place, *flags, *data, *QUICK, "-o", f"alone/{id_}", "-q"]) == 0
    alone, among = folder / "alone" / id_, reference / "models" / id_
    assert parts(alone) == parts(among)
    assert measured(alone) == measured(among)
