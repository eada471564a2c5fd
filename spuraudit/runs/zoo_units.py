"""Units of a zoo run: some shards of a group of models, carried out by whoever has time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import torch

from spuraudit.runs.answering import answer
from spuraudit.runs.execute import begin
from spuraudit.runs.patch_sweep import prepare_sweep
from spuraudit.runs.prepare import arrange
from spuraudit.runs.progress import Silent
from spuraudit.runs.zoo_groups import reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.runs.answering import Begun
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.storage import Storage
    from spuraudit.runs.zoo_job import ZooItem, ZooJob

_PER_WORKER = 4
#: Shards of a unit, at most: some 8,000 images, minutes of work.
_LARGEST = 128


@dataclass(frozen=True)
class Unit:
    """Shards of a group: the job's models share a pass. threads: of torch, the same everywhere.

    storage: where parts go; None: the job's folder is shared by all machines.
    """

    job: ZooJob
    shards: tuple[int, ...]
    threads: int
    storage: Storage | None = None


def units_of(job: ZooJob, todo: Sequence[int], workers: int, threads: int, storage: Storage | None) -> list[Unit]:
    """Consecutive shards, several units per worker, so that all workers end at about the same time."""
    size = min(_LARGEST, max(1, -(-len(todo) // (_PER_WORKER * workers))))
    return [Unit(job, tuple(todo[start : start + size]), threads, storage) for start in range(0, len(todo), size)]


def carry_out(unit: Unit) -> dict[str, str]:
    """Answer the unit's shards of each model that lacks them; returns why models failed, by id.

    Meant for a process of its own: models and tables stay loaded for the next unit of the same group. Raises what
    concerns all models: unreadable images, a folder of another plan.
    """
    torch.set_num_threads(unit.threads)
    job = unit.job if unit.storage is None else replace(unit.job, folder=_scratch())
    scans, failed = _scans(unit.job)
    runs = {job.run_of(item): item for item in job.items if item.id in scans}
    begun = [_begin(scans[item.id], run, item, unit) for run, item in runs.items()]

    def wrote(one: Begun, part: Path) -> None:
        if unit.storage is not None:
            unit.storage.put(part, part_name(runs[one.run], part.name))
            part.unlink()

    errors = answer(begun, Silent(), wrote) if any(one.todo for one in begun) else {}
    return failed | {runs[run].id: reason_of(error) for run, error in errors.items()}


def _begin(scan: Scan, run: Path, item: ZooItem, unit: Unit) -> Begun:
    if unit.storage is None:
        return begin(scan, run, unit.shards)
    there = set(unit.storage.names(f"models/{item.id}/observations"))
    if not (run / "plan.json").is_file():
        unit.storage.get(f"models/{item.id}/plan.json", run / "plan.json")
    numbers = [shard.number for shard in scan.shards if shard.part(run).name not in there]
    return begin(scan, run, set(numbers) & set(unit.shards))


def part_name(item: ZooItem, name: str) -> str:
    """Of a part, on shared storage."""
    return f"models/{item.id}/observations/{name}"


def exchange(storage: Storage, item: ZooItem, run: Path) -> None:
    """Leave a claimed run's plan on shared storage, and bring the parts that others left there."""
    if "plan.json" not in storage.names(f"models/{item.id}"):
        storage.put(run / "plan.json", f"models/{item.id}/plan.json")
    for name in storage.names(f"models/{item.id}/observations"):
        if not (run / "observations" / name).exists():
            storage.get(part_name(item, name), run / "observations" / name)


@lru_cache(maxsize=1)
def _scratch() -> Path:
    return Path(mkdtemp(prefix="spuraudit-"))


@lru_cache(maxsize=1)
def _scans(job: ZooJob) -> tuple[dict[str, Scan], dict[str, str]]:
    """Scans of the group's models, as whoever handed out the unit has prepared them, and why others failed."""
    dataset = job.open_dataset()
    scans: dict[str, Scan] = {}
    failed: dict[str, str] = {}
    for item in job.items:
        try:
            model, mapped = job.load(item, dataset)
            scans[item.id] = prepare_sweep(arrange(model, mapped, job.settings, job.machine), Silent())
        except Exception as error:
            failed[item.id] = reason_of(error)
    return scans, failed
