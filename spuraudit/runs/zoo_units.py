"""Units of a zoo run: some shards of a group of models, carried out by whoever has time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from spuraudit.errors import RunError
from spuraudit.runs.answering import answer
from spuraudit.runs.execute import begin
from spuraudit.runs.patch_sweep import Sweep, with_sweep
from spuraudit.runs.prepare import arrange
from spuraudit.runs.progress import Silent
from spuraudit.runs.zoo_groups import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

    sweeps: what was found out for a patch swap, by id. storage: where parts go; None: the job's folder is shared by all
    machines.
    """

    job: ZooJob
    shards: tuple[int, ...]
    threads: int
    sweeps: tuple[tuple[str, Sweep], ...] = ()
    storage: Storage | None = None


def units_of(unit: Unit, workers: int) -> list[Unit]:
    """Consecutive shards of `unit`, several units per worker, so that all workers end at about the same time."""
    todo = unit.shards
    size = min(_LARGEST, max(1, -(-len(todo) // (_PER_WORKER * workers))))
    return [replace(unit, shards=todo[start : start + size]) for start in range(0, len(todo), size)]


def carry_out(unit: Unit) -> dict[str, str]:
    """Answer the unit's shards of each model that lacks them; returns why models failed, by id.

    Meant for a process of its own: the models of one group stay loaded for the next unit. Raises what concerns all
    models: unreadable images, storage that cannot be reached.
    """
    torch.set_num_threads(unit.threads)
    scans, failed = _LOADED.scans(unit)
    if unit.storage is None:
        return failed | _answer(unit, unit.job, scans)
    storage = unit.storage
    with TemporaryDirectory(prefix="spuraudit-") as scratch:
        job = replace(unit.job, folder=Path(scratch))
        for item in job.items:
            storage.get(f"models/{item.id}/plan.json", job.run_of(item) / "plan.json")
        return failed | _answer(unit, job, scans, lambda item, part: storage.put(part, part_name(item, part.name)))


def _answer(
    unit: Unit, job: ZooJob, scans: Mapping[str, Scan], wrote: Callable[[ZooItem, Path], None] | None = None
) -> dict[str, str]:
    items: dict[Path, ZooItem] = {}
    begun: list[Begun] = []
    failed: dict[str, str] = {}
    for item in job.items:
        if item.id in scans:
            try:
                begun.append(begin(scans[item.id], job.run_of(item), unit.shards))
            except RunError as error:  # its file, or the version here, is not the one of the plan
                failed[item.id] = reason_of(error)
            else:
                items[begun[-1].run] = item
    if not any(one.todo for one in begun):
        return failed
    tell = None if wrote is None else lambda one, part: wrote(items[one.run], part)
    errors = answer(begun, Silent(), tell)
    return failed | {items[run].id: reason_of(error) for run, error in errors.items()}


def part_name(item: ZooItem, name: str) -> str:
    """Of a part, on shared storage."""
    return f"models/{item.id}/observations/{name}"


def exchange(storage: Storage, item: ZooItem, begun: Begun) -> None:
    """Leave a claimed run's plan on shared storage, and bring what others left there of the shards to be answered.

    Raises RunError where the storage holds another plan's parts.
    """
    plan = begun.run / "plan.json"
    name = f"models/{item.id}/plan.json"
    if "plan.json" in storage.names(f"models/{item.id}"):
        theirs = begun.run / ".plan.json.stored.tmp"
        storage.get(name, theirs)
        same = theirs.read_bytes() == plan.read_bytes()
        theirs.unlink(missing_ok=True)
        if not same:
            raise RunError(
                f"{storage.url}/{name}: another plan (other model, data, settings or version of spuraudit).",
                "Give another --storage, or delete what lies there.",
            )
    else:
        storage.put(plan, name)
    there = set(storage.names(f"models/{item.id}/observations"))
    for shard in begun.shards:
        part = shard.part(begun.run)
        if shard.number in begun.todo and part.name in there:
            storage.get(part_name(item, part.name), part)


class _Loaded:
    """The scans of one group, kept by a worker's process: the group before goes before the next one comes."""

    def __init__(self) -> None:
        self._job: ZooJob | None = None
        self._found: tuple[dict[str, Scan], dict[str, str]] = ({}, {})

    def scans(self, unit: Unit) -> tuple[dict[str, Scan], dict[str, str]]:
        """Scans as whoever handed out the unit has prepared them, and why others failed, by id."""
        if self._job != unit.job:
            self._job, self._found = None, ({}, {})
            self._found = _prepared(unit.job, dict(unit.sweeps))
            self._job = unit.job
        return self._found


_LOADED = _Loaded()


def _prepared(job: ZooJob, sweeps: Mapping[str, Sweep]) -> tuple[dict[str, Scan], dict[str, str]]:
    dataset = job.open_dataset()
    scans: dict[str, Scan] = {}
    failed: dict[str, str] = {}
    for item in job.items:
        try:
            model, mapped = job.load(item, dataset)
            scan = arrange(model, mapped, job.settings, job.machine)
            scans[item.id] = with_sweep(scan, sweeps[item.id]) if item.id in sweeps else scan
        except OSError:  # of the network or a disk: worth another try
            raise
        except Exception as error:
            failed[item.id] = reason_of(error)
    return scans, failed
