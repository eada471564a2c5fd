"""Several runs, each compared with the first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.errors import RunError, UsageError
from spuraudit.record.folder import read_record, resolve_run
from spuraudit.report.views.compare_pair import Pair, gather_pair
from spuraudit.report.views.compare_words import letter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.record.scan import ScanRecord


@dataclass(frozen=True)
class OtherRun:
    """A run beside the first. Exactly one of `pair` and `reason` is there."""

    letter: str
    record: ScanRecord
    pair: Pair | None
    reason: str


@dataclass(frozen=True)
class ManyRuns:
    """The first run, A, is the reference of all others."""

    first: ScanRecord
    others: list[OtherRun]

    @property
    def compared(self) -> list[tuple[OtherRun, Pair]]:
        """Those that could be compared with the first."""
        return [(one, one.pair) for one in self.others if one.pair is not None]

    @property
    def apart(self) -> list[OtherRun]:
        """Those that could not."""
        return [one for one in self.others if one.pair is None]


def gather_many(runs: Sequence[Path]) -> ManyRuns:
    """Read all runs and compare each with the first.

    Raises UsageError for fewer than two, RunError where one is no finished run.
    """
    if len(runs) < 2:
        raise UsageError("A comparison needs at least two runs.", "Give the reference first, then the others.")
    records = [read_record(run) for run in runs]
    others = [_other(runs, records, place) for place in range(1, len(runs))]
    return ManyRuns(records[0], others)


def _other(runs: Sequence[Path], records: list[ScanRecord], place: int) -> OtherRun:
    own = letter(place)
    try:
        pair = gather_pair(runs[0], runs[place], (letter(0), own))
    except RunError as error:
        return OtherRun(own, records[place], None, _without_folders(error.message, runs[0], runs[place], own))
    return OtherRun(own, records[place], pair, "")


def _without_folders(message: str, first: Path, run: Path, own: str) -> str:
    """The reason in the page's letters: a page that is passed on names no folder of the machine."""
    named = {str(resolve_run(first)): letter(0), str(resolve_run(run)): own}
    for folder in sorted(named, key=len, reverse=True):
        message = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w-])", named[folder], message)
    return message
