"""What a report is made from: the record, the verdict, and the pictures that its cards show. Read once, from RUN."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from spuraudit.errors import RunError
from spuraudit.record.folder import read_record, read_verdict, resolve_run
from spuraudit.report.shown import shown_cards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Verdict


@dataclass(frozen=True)
class Evidence:
    """Everything a page may say. `images`: bytes by the record's file name; a missing file is simply not in it."""

    record: ScanRecord
    verdict: Verdict | None = None
    images: Mapping[str, bytes] = field(default_factory=dict)


def gather(run: Path) -> Evidence:
    """Read a run: its folder, its scan.json or a `last` pointer.

    Raises RunError: no run, not finished, a verdict of another run, an exhibit outside the folder.
    """
    folder = resolve_run(run)
    record = read_record(folder)
    verdict = read_verdict(folder)
    if verdict is not None and verdict.run_id != record.run.id:
        raise RunError(
            f"{folder / 'verdict.json'}: judges run {verdict.run_id}, but this folder holds run {record.run.id}.",
            f"Judge again with `spuraudit gate {folder}`, or delete verdict.json.",
        )
    return Evidence(record, verdict, _images(folder, record))


def _images(folder: Path, record: ScanRecord) -> dict[str, bytes]:
    images: dict[str, bytes] = {}
    for card in shown_cards(record):
        for exhibit in (*card.exhibits, *card.counterexamples):
            for panel in exhibit.panels:
                path = _inside(folder, panel.file)
                if panel.file not in images and path.is_file():
                    images[panel.file] = path.read_bytes()
    return images


def _inside(folder: Path, name: str) -> Path:
    """A report is forwarded: a record must not be able to pull other files of this machine into it."""
    parts = PurePosixPath(name)
    path = (folder / parts).resolve()
    if parts.is_absolute() or not path.is_relative_to(folder.resolve()):
        raise RunError(f"{folder / 'scan.json'}: exhibit {name!r} lies outside the run folder.", "Scan again.")
    return path
