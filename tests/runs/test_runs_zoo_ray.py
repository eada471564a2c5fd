"""A local Ray cluster of two workers: the observations of a run in this process, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zoo_jobs
from zoo_jobs import job, measured, parts

from spuraudit.errors import DataError, SpurauditError, UsageError
from spuraudit.runs.storage import Storage
from spuraudit.runs.zoo import Here, ZooRun, run_zoo

pytest.importorskip("ray")
from spuraudit.runs.zoo_ray import OnRay

pytestmark = pytest.mark.slow

#: So many answers per image that the images make several shards.
SETTINGS = zoo_jobs.SETTINGS.model_copy(update={"trials": 12})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in this process with one thread, as the workers have, beside its data."""
    folder = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    run_zoo(ZooRun(job(folder, settings=SETTINGS), Here()))
    assert len(parts(folder / "zoo")) >= 5 * 2
    return folder


def test_two_workers_write_the_same_bytes(whole: Path) -> None:
    with closing(OnRay(workers=2)) as cluster:
        record = run_zoo(ZooRun(job(whole, "ray", settings=SETTINGS), cluster))
    assert record is not None
    assert [model.status for model in record.models] == ["evaluated"] * 5
    assert parts(whole / "ray") == parts(whole / "zoo")
    assert measured(whole / "ray") == measured(whole / "zoo")


def test_a_killed_worker_costs_nothing_but_time(whole: Path) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        for _ in range(1200):
            time.sleep(0.1)
            at_work = _workers_at_work()
            if at_work and any((whole / "killed").rglob("part-*.parquet")):
                os.kill(at_work[0], signal.SIGKILL)
                killed.append(at_work[0])
                return

    killer = threading.Thread(target=kill_one, daemon=True)
    with closing(OnRay(workers=2)) as cluster:
        killer.start()
        record = run_zoo(ZooRun(job(whole, "killed", settings=SETTINGS), cluster))
    assert killed
    assert record is not None
    assert [model.status for model in record.models] == ["evaluated"] * 5
    assert parts(whole / "killed") == parts(whole / "zoo")


def test_parts_travel_through_storage_that_is_no_shared_folder(whole: Path, tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/bucket")
    with closing(OnRay(workers=2, storage=storage)) as cluster:
        record = run_zoo(ZooRun(job(whole, "stored", settings=SETTINGS), cluster, storage=storage))
    assert record is not None
    assert parts(tmp_path / "bucket") == parts(whole / "zoo") == parts(whole / "stored")


def test_a_patch_swap_is_prepared_once_and_answered_anywhere(tmp_path: Path) -> None:
    settings = zoo_jobs.SETTINGS.model_copy(
        update={"audits": ("patch_swap",), "passes": 4, "patch_sources": 3, "patch_targets": 3, "target_classes": 1}
    )
    torch.set_num_threads(1)
    planned = job(tmp_path, settings=settings)
    planned = replace(planned, items=planned.items[2:4])
    run_zoo(ZooRun(planned, Here()))
    with closing(OnRay(workers=2)) as cluster:
        record = run_zoo(ZooRun(replace(planned, folder=tmp_path / "ray"), cluster))
    assert record is not None
    assert [model.reason for model in record.models if model.status == "failed"] == []
    assert parts(tmp_path / "ray") == parts(tmp_path / "zoo")


def test_more_gpus_than_the_cluster_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the cluster has 0 GPUs"):
        OnRay(workers=1, gpus=64)


def test_an_error_of_a_worker_keeps_its_way_out(whole: Path) -> None:
    planned = job(whole, "broken", settings=SETTINGS)
    victim = next((whole / "data").rglob("test-011.png"))
    content = victim.read_bytes()
    with closing(OnRay(workers=2)) as cluster:
        run = ZooRun(planned, cluster)

        def break_it(text: str) -> None:
            if "units for" in text:
                victim.write_bytes(b"no image")

        run.progress.say = break_it  # type: ignore[method-assign]
        try:
            with pytest.raises(DataError, match=r"test-011\.png") as caught:
                run_zoo(run)
        finally:
            victim.write_bytes(content)
    assert isinstance(caught.value, SpurauditError)
    assert caught.value.hint


def _workers_at_work() -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if (process / "cmdline").read_bytes().startswith(b"ray::carry_out"):
                    found.append(int(process.name))
    return found
