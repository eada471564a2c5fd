"""A zoo run: many models, one dataset, as few passes over the images as memory allows.

Every model gets an ordinary run folder, the same that a scan of it alone writes. So resuming, judging and reporting are
those of a scan, and a run can be finished by any machine that sees the parts.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spuraudit import __version__
from spuraudit.data.fingerprint import fingerprint
from spuraudit.errors import DataError, NotEvaluatedError, RunError
from spuraudit.record import compared
from spuraudit.record.base import Part
from spuraudit.record.folder import claim, sha256_of, to_json, write_bytes
from spuraudit.record.scan import ToolRecord
from spuraudit.record.settings import ScanSettings
from spuraudit.record.zoo import ZooModel, ZooRecord
from spuraudit.runs.answering import Begun, answer
from spuraudit.runs.execute import begin, conclude
from spuraudit.runs.progress import Progress, Silent
from spuraudit.runs.recording import environment, without_folders, without_folders_in
from spuraudit.runs.zoo_groups import prepare_group, reason_of, survey
from spuraudit.runs.zoo_units import exchange, part_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Protocol

    from spuraudit.data.dataset import Dataset
    from spuraudit.record.scan import ScanRecord
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.storage import Storage
    from spuraudit.runs.zoo_job import ZooItem, ZooJob

    class Executor(Protocol):
        """Answers the shards of groups, here or elsewhere."""

        @property
        def beside(self) -> int:
            """Processes that hold models at the same time and share this machine's memory."""
            ...

        def submit(self, group: Group, progress: Progress) -> Iterable[Finished]:
            """Take a group; returns those that are finished by now."""
            ...

        def drain(self, progress: Progress) -> Iterable[Finished]:
            """Wait for the rest."""
            ...


@dataclass(frozen=True)
class Group:
    """Models that share a pass, prepared, with their folders claimed. `job` is of these models alone."""

    job: ZooJob
    begun: Mapping[str, Begun]


@dataclass(frozen=True)
class Finished:
    """A group of which everything was asked. errors: why models failed, by id."""

    group: Group
    errors: Mapping[str, str]


@dataclass(frozen=True)
class Share:
    """Shards number, number + count, ...: what one of `count` independent calls answers. number: from 1; 0: none."""

    number: int
    count: int

    def takes(self, shard: int) -> bool:
        """Whether a shard (from 0) is among them."""
        return shard % self.count == self.number - 1


class Here:
    """Answers in this process, a group at a time.

    share: only so much of each; None: all. storage: where parts go too.
    """

    beside = 1

    def __init__(self, share: Share | None = None, storage: Storage | None = None) -> None:
        self._share, self._storage = share, storage

    def submit(self, group: Group, progress: Progress) -> Iterable[Finished]:
        """Answer the group now."""
        begun = {id_: self._mine(one) for id_, one in group.begun.items()}
        items = {group.begun[item.id].run: item for item in group.job.items}

        def wrote(one: Begun, part: Path) -> None:
            if self._storage is not None:
                self._storage.put(part, part_name(items[one.run], part.name))

        errors = answer(list(begun.values()), progress, wrote) if any(one.todo for one in begun.values()) else {}
        yield Finished(group, {items[run].id: reason_of(error) for run, error in errors.items()})

    def drain(self, progress: Progress) -> Iterable[Finished]:
        """Nothing is left."""
        del progress
        return ()

    def _mine(self, begun: Begun) -> Begun:
        if self._share is None:
            return begun
        return begun.only({number for number in begun.todo if self._share.takes(number)})


class ZooPlan(Part):
    """What all runs of a zoo folder have in common: `zoo-plan.json`."""

    tool_version: str
    data_fingerprint: str
    settings: ScanSettings
    precision: str


@dataclass
class ZooRun:
    """A zoo run under way. `conclude_all`: whether records are written, or parts only, for a merge later on.

    storage: shared storage that is no folder of this machine.
    """

    job: ZooJob
    executor: Executor
    progress: Progress = field(default_factory=Silent)
    storage: Storage | None = None
    conclude_all: bool = True
    failed: dict[str, str] = field(default_factory=dict)
    evaluated: dict[str, ScanRecord] = field(default_factory=dict)

    def carry_out(self, dataset: Dataset, argv: Sequence[str]) -> None:
        """Survey, prepare, answer, conclude; failures of single models are kept.

        Raises RunError where the folder belongs to another zoo run, DataError at the first unreadable image.
        """
        _claim(self.job, fingerprint(dataset))
        for name in _RESULTS:  # of an earlier call: its models may be others
            (self.job.folder / name).unlink(missing_ok=True)
        try:
            surveyed = survey(self.job, dataset, self.executor.beside, self.progress)
            self._fail({id_: reason_of(error) for id_, error in surveyed.failed.items()})
            for number, items in enumerate(surveyed.groups, start=1):
                self.progress.say(f"Group {number} of {len(surveyed.groups)}: {', '.join(item.name for item in items)}")
                self._one_group(items, dataset, argv)
            self._finish(self.executor.drain(self.progress), argv)
        finally:
            if self.conclude_all:  # others may be at work on shares of their own, and have no part yet
                self._leave_nothing_half()

    def _one_group(self, items: Sequence[ZooItem], dataset: Dataset, argv: Sequence[str]) -> None:
        """In a call of its own, so that these models go before the next ones come."""
        group = self._begin(items, dataset)
        if group.begun:
            self._finish(self.executor.submit(group, self.progress), argv)

    def _begin(self, items: Sequence[ZooItem], dataset: Dataset) -> Group:
        scans, failed = prepare_group(self.job, items, dataset, self.progress)
        self._fail({id_: reason_of(error) for id_, error in failed.items()})
        begun: dict[str, Begun] = {}
        for item in items:
            if item.id in scans:
                try:
                    begun[item.id] = self._begin_one(item, scans[item.id])
                except RunError as error:
                    self._fail({item.id: reason_of(error)})
        return Group(self.job.of([item for item in items if item.id in begun]), begun)

    def _begin_one(self, item: ZooItem, scan: Scan) -> Begun:
        begun = begin(scan, self.job.run_of(item))
        if self.storage is None:
            return begun
        exchange(self.storage, item, begun)
        return begin(scan, begun.run)

    def _finish(self, finished: Iterable[Finished], argv: Sequence[str]) -> None:
        for done in finished:
            self._fail(done.errors)
            if not self.conclude_all:
                continue
            for item in done.group.job.items:
                if item.id not in done.errors:
                    self._conclude(item, done.group.begun[item.id], argv)

    def _conclude(self, item: ZooItem, begun: Begun, argv: Sequence[str]) -> None:
        try:
            if self.storage is not None:
                exchange(self.storage, item, begun)
            missing = [shard.number for shard in begun.shards if not shard.is_done(begun.run)]
            if missing:
                self._fail({item.id: _missing(missing, len(begun.shards))})
                return
            record = conclude(begun, argv)
            compared.write_compared(begun.run, record)
        except DataError:  # an image that cannot be read is everybody's
            raise
        except Exception as error:
            self._fail({item.id: reason_of(error)})
            return
        self.evaluated[item.id] = record
        self.progress.say(_line(item, record, len(self.evaluated), len(self.job.items)))

    def _leave_nothing_half(self) -> None:
        """A run folder without any part, and a zoo's folder without any run, would only be in the way later."""
        models = self.job.folder / "models"
        for item in self.job.items:
            run = self.job.run_of(item)
            if item.id not in self.evaluated and not any(run.glob("observations/part-*")):
                (run / "plan.json").unlink(missing_ok=True)
                _remove_if_empty(run / "observations", run)
        _remove_if_empty(models)
        if not models.exists():
            (self.job.folder / "zoo-plan.json").unlink(missing_ok=True)
            _remove_if_empty(self.job.folder)

    def _fail(self, reasons: Mapping[str, str]) -> None:
        names = {item.id: item.name for item in self.job.items}
        for id_, reason in reasons.items():
            self.failed[id_] = reason
            self.progress.say(f"{names[id_]}: not evaluated. {reason}{_KEYS if '--' in reason else ''}")


def run_zoo(run: ZooRun, *, zoo: str = "", source: str | None = None, argv: Sequence[str] = ()) -> ZooRecord | None:
    """Carry out a zoo run and write `zoo.json`, last; None where parts only were asked for.

    zoo: name of the zoo file; source: of its published figures. Raises NotEvaluatedError where no model was evaluated,
    and whatever concerns all models: DataError, RunError, UsageError.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    dataset = run.job.open_dataset()
    run.carry_out(dataset, argv)
    if not run.job.items or len(run.failed) == len(run.job.items):
        listed = "\n".join(f"  {item.name}: {run.failed[item.id]}" for item in run.job.items)
        raise NotEvaluatedError(f"None of {len(run.job.items)} models was evaluated:\n{listed}", "Mend one of them.")
    if not run.conclude_all:
        return None
    device = next(iter(run.evaluated.values())).environment.device
    record = ZooRecord(
        tool=ToolRecord(version=__version__),
        zoo=zoo,
        source=source,
        data=dataset.name,
        data_fingerprint=fingerprint(dataset),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        argv=[without_folders(argument) for argument in argv],
        environment=environment(device),
        models=[_entry(run, item) for item in run.job.items],
    )
    write_bytes(run.job.folder / "zoo.json", to_json(record))
    return record


#: What a finished call leaves beside the run folders.
_RESULTS = ("zoo.json", "zoo.html", "zoo.csv", "features.csv")
#: Reasons name the options of a scan.
_KEYS = " (In a zoo file: arch:, kwargs:, preprocess:, class_map:.)"


def _claim(job: ZooJob, data_fingerprint: str) -> None:
    plan = ZooPlan(
        tool_version=__version__,
        data_fingerprint=data_fingerprint,
        settings=job.settings,
        precision=job.loading.precision,
    )
    claim(
        job.folder / "zoo-plan.json",
        to_json(plan),
        RunError(
            f"{job.folder}: holds a zoo run of other data, settings or another version of spuraudit.",
            "Choose another folder with -o, or delete this one.",
        ),
        RunError(f"{job.folder}: not empty, and not a zoo run of spuraudit.", "Choose another folder with -o."),
    )


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()


def _entry(run: ZooRun, item: ZooItem) -> ZooModel:
    ok = item.id in run.evaluated
    folder = run.job.run_of(item)
    return ZooModel(
        id=item.id,
        name=item.name,
        group=item.group,
        spec=item.shown or without_folders(item.spec),
        licence=item.licence,
        published=item.published,
        status="evaluated" if ok else "failed",
        reason=None if ok else without_folders_in(run.failed[item.id]),
        run=f"models/{item.id}" if ok else None,
        data_fingerprint=run.evaluated[item.id].data.fingerprint if ok else None,
        record_sha256=sha256_of(folder / "scan.json") if ok else None,
        compared_sha256=sha256_of(folder / compared.FILE) if ok else None,
    )


def _missing(numbers: Sequence[int], count: int) -> str:
    shown = ", ".join(str(number) for number in numbers[:8]) + (", ..." if len(numbers) > 8 else "")
    return (
        f"{len(numbers)} of {count} parts are missing (numbers {shown}). Run the shares that lack them again "
        "(--shard i/n), or run without --merge."
    )


def _line(item: ZooItem, record: ScanRecord, done: int, total: int) -> str:
    """Key numbers of a model that is done."""
    found = {m.metric: m.value for m in record.measurements if not set(m.scope) - {"sigma"} and m.value is not None}
    shown = [
        f"{name} {100 * found[metric]:.1f} %"
        for metric, name in (("clean_accuracy", "clean"), ("core_accuracy", "core"), ("spurious_accuracy", "spurious"))
        if metric in found
    ]
    shown += [f"RCS {found['rcs']:+.3f}"] if "rcs" in found else []
    return f"{item.name}: {', '.join(shown)} ({done} of {total})"
