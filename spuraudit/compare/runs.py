"""Reads two run folders, makes sure that they may be compared, and puts the comparison together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.compare.agreement import agree
from spuraudit.compare.changes import changes_of
from spuraudit.compare.joined import Joined
from spuraudit.compare.models import preprocessing, same_model
from spuraudit.compare.scores import Scorer
from spuraudit.compare.shortcuts import shortcuts_of
from spuraudit.errors import RunError
from spuraudit.record.comparison import ComparedRun, Comparison
from spuraudit.record.folder import read_record, resolve_run, sha256_of
from spuraudit.record.observations import read_parts

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from spuraudit.record.scan import ScanRecord


def compare_runs(before: Path, after: Path) -> Comparison:
    """What changed from the model of one finished run to that of another, on the same images.

    before, after: run folders, their scan.json or a `last` pointer. Answers are joined on (image, condition, trial,
    donor). Changes are paired: bootstrap over images within classes, the trials of an image together; exact sign-flip
    tests where scores are counts; Benjamini-Hochberg within a metric.
    Raises RunError: no finished run; another dataset, split, set of images, seed, settings or definitions; a part that
    is missing, or not the one that the record lists; rows that do not give the record's numbers.
    """
    folders = resolve_run(before), resolve_run(after)
    records = read_record(folders[0]), read_record(folders[1])
    notes = agree(records, folders)
    tables = _observations(records[0], folders[0]), _observations(records[1], folders[1])
    joined = Joined(tables, folders)
    if records[0].data.fingerprint != records[1].data.fingerprint:
        joined.require_equal_regions()
    scorer = Scorer(joined, records)
    return Comparison(
        before=_compared(records[0], folders[0]),
        after=_compared(records[1], folders[1]),
        data=records[0].data.name,
        data_fingerprint=records[0].data.fingerprint,
        split=records[0].data.split,
        images=len(joined.images),
        same_model=same_model(records),
        preprocessing=preprocessing(records),
        changes=changes_of(scorer, records, folders),
        shortcuts=shortcuts_of(scorer, records),
        notes=notes,
    )


def _compared(record: ScanRecord, folder: Path) -> ComparedRun:
    return ComparedRun(
        run_id=record.run.id,
        record_sha256=sha256_of(folder / "scan.json"),
        model=record.model.name,
        model_sha256=record.model.sha256,
    )


def _observations(record: ScanRecord, folder: Path) -> pa.Table:
    """All rows of a run, from exactly the parts that its record was made of."""
    for part in record.observations:
        file = folder / part.file
        if not file.is_file():
            raise RunError(f"{file}: missing; the record lists it.", "Restore it, or scan again.")
        if sha256_of(file) != part.sha256:
            raise RunError(f"{file}: not the part that the record was made of (sha256 differs).", "Scan again.")
    return read_parts([folder / part.file for part in record.observations])
