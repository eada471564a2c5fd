"""Carries out a prepared scan: observations first, everything else from them."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from spuraudit.audits.base import Audit, Exhibiting, StochasticAudit, Summary
from spuraudit.audits.findings import rank
from spuraudit.audits.noise import clean_summary
from spuraudit.audits.rows import Rows
from spuraudit.errors import RunError, SpurauditError
from spuraudit.record.folder import remove_temporaries, to_json, write_bytes
from spuraudit.record.observations import read_parts, write_part
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.asking import Asker
from spuraudit.runs.batching import Batches
from spuraudit.runs.exhibits import draw_exhibits
from spuraudit.runs.parallel import in_parallel
from spuraudit.runs.patch_sweep import resolve
from spuraudit.runs.plan import Plan
from spuraudit.runs.prepare import prepare_scan
from spuraudit.runs.progress import Progress, Silent, stage
from spuraudit.runs.recording import Execution, assemble
from spuraudit.runs.showing import make, pictures, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.models.model import Model
    from spuraudit.record.scan import ScanRecord
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.shards import Shard


def execute(scan: Scan, run: Path, *, argv: Sequence[str] = (), progress: Progress | None = None) -> ScanRecord:
    """Carry out a prepared scan into the folder `run`, or finish what an earlier call began there.

    Parts that exist are not asked again. `scan.json` is written last. Raises RunError where the folder holds another
    plan's run or cannot be written, DataError at the first unreadable image.
    """
    progress = progress or Silent()
    started, clock = datetime.now(UTC), time.monotonic()
    scan = _as_begun(scan, run)
    plan = scan.plan
    _claim(run, plan)
    shards = scan.shards
    todo = [shard for shard in shards if not shard.is_done(run)]
    if len(todo) < len(shards):
        progress.say(f"Resuming: {len(shards) - len(todo)} of {len(shards)} parts are already there.")
    try:
        _ask(scan, todo, run, progress)
    except SpurauditError:
        _leave_nothing_half(run, shards)
        raise
    rows = Rows(read_parts([shard.part(run) for shard in shards]), scan.cohort.rows)
    summaries = _summarise(scan, rows)
    findings = rank(finding for summary in summaries for finding in summary.findings)
    exhibitors: dict[str, Exhibiting] = {
        name: audit for name, audit in scan.audits.items() if isinstance(audit, Exhibiting)
    }
    with scan.loader() as loader:
        findings = draw_exhibits(findings, exhibitors, rows, loader, run)
    execution = Execution(
        argv=tuple(argv),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        resumed_parts=len(shards) - len(todo),
        parts=tuple(shard.part(run) for shard in shards),
    )
    record = assemble(scan, plan, summaries, findings, execution)
    write_bytes(run / "scan.json", to_json(record))
    return record


def scan(model: Model, dataset: Dataset, run: Path | str, settings: ScanSettings | None = None) -> ScanRecord:
    """Prepare and carry out a scan in one call; `run` is the folder to write to. Errors as of the two steps."""
    return execute(prepare_scan(model, dataset, settings or ScanSettings()), Path(run))


def _as_begun(scan: Scan, run: Path) -> Scan:
    """What a budget pays for is measured once: a run that is resumed keeps what its first call found."""
    file = run / "plan.json"
    if scan.resolved is None or not file.is_file():
        return scan
    try:
        begun = Plan.model_validate_json(file.read_bytes())
    except ValidationError:
        return scan  # `_claim` says what is wrong with the folder
    if begun.resolved is None or begun.as_asked != scan.plan.as_asked:
        return scan
    return resolve(scan, begun.resolved)


def _claim(run: Path, plan: Plan) -> None:
    """Write the plan, or see that the folder's plan is this one."""
    file = run / "plan.json"
    content = to_json(plan)
    if file.is_file():
        if file.read_bytes() == content:
            return
        raise RunError(
            f"{run}: holds a run of another plan (other model, data, settings or version of spuraudit).",
            "Choose another folder with -o, or delete this one.",
        )
    if run.is_dir():
        remove_temporaries(run)
        if any(run.iterdir()):
            raise RunError(f"{run}: not empty, and not a run of spuraudit.", "Choose another folder with -o.")
    write_bytes(file, content)


def _leave_nothing_half(run: Path, shards: Sequence[Shard]) -> None:
    """After bad input, a run without any finished part leaves no trace; finished parts wait for a resume."""
    if any(shard.part(run).exists() for shard in shards):
        return
    (run / "plan.json").unlink(missing_ok=True)
    for folder in (run / "observations", run):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _ask(scan: Scan, todo: Sequence[Shard], run: Path, progress: Progress) -> None:
    """Answer shard by shard; a part is written when all of it is answered."""
    audits = list(scan.audits.values())
    batches = Batches(scan.machine.batch_size, progress.say)
    asker = Asker(scan.model, scan.class_map, batches, scan.dropout)
    rows = [row for shard in todo for row in shard.rows]
    wanted = ((row, donors_of(row, audits)) for row in rows)
    answers = sum(shard.answers for shard in todo)
    with stage(progress, "Scanning", answers, "answers"), scan.loader() as loader:
        wanted_tasks = tasks(loader.load(wanted), audits, scan.machine.batch_size)
        made = in_parallel(make, wanted_tasks, pictures, scan.machine.threads, scan.machine.batch_size)
        # Closing ends the threads before the loader goes, on errors and interrupts too.
        with closing(made) as items:
            for shard in todo:
                for _ in shard.rows:
                    asker.ask_image(items, audits, progress.advance)
                write_part(shard.part(run), asker.finish())


def donors_of(row: ImageRow, audits: Sequence[Audit]) -> list[str]:
    """Ids of all images that lend pixels to this one."""
    found: set[str] = set()
    for audit in audits:
        if isinstance(audit, StochasticAudit):
            found.update(audit.donors(row))
        else:
            found.update(question.donor for question in audit.questions(row) if question.donor is not None)
    return sorted(found)


def _summarise(scan: Scan, rows: Rows) -> list[Summary]:
    """Every audit's conclusions; clean accuracy of all images where the noise audit does not give its own."""
    summaries = [audit.summarise(rows) for audit in scan.audits.values()]
    if "noise" not in scan.audits:
        everything = np.ones(rows.count, dtype=bool)
        summaries.insert(0, clean_summary(rows, everything, scan.cohort, "audited images"))
    return summaries
