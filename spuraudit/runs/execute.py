"""Carries out a prepared scan: observations first, everything else from them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from spuraudit.audits.base import Exhibiting, Summary
from spuraudit.audits.findings import rank
from spuraudit.audits.labels import label_summary
from spuraudit.audits.noise import NoiseAudit, clean_summary
from spuraudit.audits.rows import Rows
from spuraudit.errors import RunError, SpurauditError
from spuraudit.record.folder import claim, remove_temporaries, to_json, write_bytes
from spuraudit.record.observations import read_parts
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.answering import Begun, answer
from spuraudit.runs.exhibits import draw_exhibits
from spuraudit.runs.patch_sweep import resolve
from spuraudit.runs.plan import Plan
from spuraudit.runs.prepare import prepare_scan
from spuraudit.runs.progress import Progress, Silent
from spuraudit.runs.recording import Execution, assemble

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model
    from spuraudit.record.scan import ScanRecord
    from spuraudit.runs.prepare import Scan


def execute(scan: Scan, run: Path, *, argv: Sequence[str] = (), progress: Progress | None = None) -> ScanRecord:
    """Carry out a prepared scan into the folder `run`, or finish what an earlier call began there.

    Parts that exist are not asked again. `scan.json` is written last. Raises RunError where the folder holds another
    plan's run or cannot be written, DataError at the first unreadable image.
    """
    progress = progress or Silent()
    begun = begin(scan, run)
    done = len(begun.shards) - len(begun.todo)
    if done:
        progress.say(f"Resuming: {done} of {len(begun.shards)} parts are already there.")
    try:
        for error in answer([begun], progress).values():
            raise error
    except SpurauditError:
        leave_nothing_half(begun)
        raise
    return conclude(begun, argv)


def begin(scan: Scan, run: Path, among: Collection[int] | None = None) -> Begun:
    """Claim the folder `run` for a scan. among: shards to be asked where they lack a part; None: all.

    Raises RunError where the folder holds another plan's run or cannot be written.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    scan = _as_begun(scan, run)
    _claim(run, scan.plan)
    shards = tuple(scan.shards)
    wanted = shards if among is None else [shard for shard in shards if shard.number in among]
    todo = frozenset(shard.number for shard in wanted if not shard.is_done(run))
    return Begun(scan, run, shards, todo, started, clock)


def conclude(begun: Begun, argv: Sequence[str] = ()) -> ScanRecord:
    """The record of a scan whose parts are all there: measurements, findings, exhibits; `scan.json` is written."""
    scan, run = begun.scan, begun.run
    parts = tuple(shard.part(run) for shard in begun.shards)
    rows = Rows(read_parts(parts), scan.cohort.rows)
    summaries = _summarise(scan, rows)
    findings = rank(finding for summary in summaries for finding in summary.findings)
    exhibitors: dict[str, Exhibiting] = {
        name: audit for name, audit in scan.audits.items() if isinstance(audit, Exhibiting)
    }
    with scan.loader() as loader:
        findings = draw_exhibits(findings, exhibitors, rows, loader, run)
    execution = Execution(
        argv=tuple(argv),
        started=begun.started,
        seconds=round(time.monotonic() - begun.clock, 3),
        resumed_parts=len(begun.shards) - len(begun.todo),
        parts=parts,
    )
    record = assemble(scan, scan.plan, summaries, findings, execution)
    write_bytes(run / "scan.json", to_json(record))
    for folder in (run, run / "observations"):  # of calls that were killed; everything is written now
        remove_temporaries(folder)
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
    claim(
        run / "plan.json",
        to_json(plan),
        RunError(
            f"{run}: holds a run of another plan (other model, data, settings or version of spuraudit).",
            "Choose another folder with -o, or delete this one.",
        ),
        RunError(f"{run}: not empty, and not a run of spuraudit.", "Choose another folder with -o."),
    )


def leave_nothing_half(begun: Begun) -> None:
    """After bad input, a run without any finished part leaves no trace; finished parts wait for a resume."""
    run = begun.run
    if any(shard.part(run).exists() for shard in begun.shards):
        return
    (run / "plan.json").unlink(missing_ok=True)
    for folder in (run / "observations", run):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _summarise(scan: Scan, rows: Rows) -> list[Summary]:
    """Every audit's conclusions; clean accuracy of all images where the noise audit does not give its own."""
    summaries = [audit.summarise(rows) for audit in scan.audits.values()]
    if "noise" not in scan.audits:
        everything = np.ones(rows.count, dtype=bool)
        summaries.insert(0, clean_summary(rows, everything, scan.cohort, "audited images"))
    noise = scan.audits.get("noise")
    labels = label_summary(rows, scan.cohort, noise if isinstance(noise, NoiseAudit) else None)
    return summaries if labels is None else [*summaries, labels]
