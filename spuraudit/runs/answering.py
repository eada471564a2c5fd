"""One pass over the images for one scan or for many that show the same pictures; a part per shard and scan."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spuraudit.audits.base import StochasticAudit
from spuraudit.record.observations import write_part
from spuraudit.runs.asking import Asker, ask_image
from spuraudit.runs.batching import Batches
from spuraudit.runs.parallel import in_parallel
from spuraudit.runs.progress import stage
from spuraudit.runs.showing import make, pictures, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from spuraudit.audits.base import Audit
    from spuraudit.data.dataset import ImageRow
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.progress import Progress
    from spuraudit.runs.shards import Shard
    from spuraudit.runs.showing import Block, Done


@dataclass(frozen=True)
class Begun:
    """A scan whose folder is claimed. todo: numbers of the shards without a part; clock: `time.monotonic` then."""

    scan: Scan
    run: Path
    shards: tuple[Shard, ...]
    todo: frozenset[int]
    started: str
    clock: float

    def only(self, shards: Collection[int]) -> Begun:
        """The same, to be asked of some shards."""
        return replace(self, todo=self.todo & frozenset(shards))


def same_pictures(scan: Scan) -> tuple[object, ...]:
    """Equal for scans of one dataset that show the same pictures in the same order: they can share a pass.

    Questions that depend on a model's answers are shared with nobody: their keys are equal to no other.
    """
    geometry = scan.model.record.preprocess.geometry
    # The border of a photo is filled with the normalisation's mean.
    fill = scan.model.record.preprocess.mean if geometry.crop_mode == "border" else None
    alone = object() if any(isinstance(audit, StochasticAudit) for audit in scan.audits.values()) else None
    plan = scan.plan
    facts = (plan.split, plan.donor_split, plan.images_sha256, plan.audits, plan.settings)
    return (*facts, geometry, fill, str(scan.model.device), scan.machine, alone)


def answer(
    begun: Sequence[Begun], progress: Progress, wrote: Callable[[Begun, Path], None] | None = None
) -> dict[Path, Exception]:
    """Ask what `todo` of each scan lacks; a part is written when all of its shard is answered.

    begun: of equal `same_pictures`, so that every picture is made once. wrote: told of every part. Where the network of
    one scan fails, the others go on; returns the errors by run folder. Raises DataError at the first unreadable image.
    """
    scan = begun[0].scan
    audits, machine = list(scan.audits.values()), scan.machine
    shards = [shard for shard in begun[0].shards if any(shard.number in one.todo for one in begun)]
    members = [_Member(one, _asker(one.scan, progress)) for one in begun if one.todo]
    wanted = ((row, donors_of(row, audits)) for shard in shards for row in shard.rows)
    title, unit = ("Scanning", "answers") if len(begun) == 1 else (f"Showing {len(begun)} models", "pictures")
    total = sum(shard.answers for shard in shards)
    with stage(progress, title, total, unit), scan.loader() as loader:
        wanted_tasks = tasks(loader.load(wanted), audits, machine.batch_size)
        made = in_parallel(make, wanted_tasks, pictures, machine.threads, machine.batch_size)
        # Closing ends the threads before the loader goes, on errors and interrupts too.
        with closing(made) as items:
            for shard in shards:
                asked = [member for member in members if shard.number in member.begun.todo]
                for _ in shard.rows:
                    ask_image(items, asked, audits, progress.advance)
                    if all(member.error for member in members):  # nobody is left for the pictures to come
                        return _errors(members)
                for member in asked:
                    part = member.write(shard)
                    if part is not None and wrote is not None:
                        wrote(member.begun, part)
    return _errors(members)


def _errors(members: Sequence[_Member]) -> dict[Path, Exception]:
    return {member.begun.run: member.error for member in members if member.error is not None}


def _asker(scan: Scan, progress: Progress) -> Asker:
    return Asker(scan.model, scan.class_map, Batches(scan.machine.batch_size, progress.say), scan.dropout)


@dataclass
class _Member:
    """One scan of a pass. An error of its network silences it: the others go on."""

    begun: Begun
    asker: Asker
    error: Exception | None = None

    def begin_image(self) -> None:
        self._do(self.asker.begin_image)

    def take(self, block: Block) -> None:
        self._do(lambda: self.asker.take(block))

    def end_image(self, done: Done, audits: Sequence[Audit], told: Callable[[int], None] | None = None) -> None:
        self._do(lambda: self.asker.end_image(done, audits, told))

    def write(self, shard: Shard) -> Path | None:
        """The shard's part, where everything was answered."""
        part = shard.part(self.begun.run)
        self._do(lambda: write_part(part, self.asker.finish()))
        return None if self.error else part

    def _do(self, step: Callable[[], None]) -> None:
        if self.error is not None:
            return
        try:
            step()
        except Exception as error:
            self.error = error.with_traceback(None)  # which would keep every tensor of the failed pass alive


def donors_of(row: ImageRow, audits: Sequence[Audit]) -> list[str]:
    """Ids of all images that lend pixels to this one."""
    found: set[str] = set()
    for audit in audits:
        if isinstance(audit, StochasticAudit):
            found.update(audit.donors(row))
        else:
            found.update(question.donor for question in audit.questions(row) if question.donor is not None)
    return sorted(found)
