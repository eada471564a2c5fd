"""Progress for people, on stderr: a bar on a terminal, a plain heartbeat in CI and pipes, nothing with --quiet."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from spuraudit.runs.progress import Silent

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

HEARTBEAT_SECONDS = 30.0


def progress_for(quiet: bool) -> Silent | Bar | Heartbeat:
    """The fitting one. CI wins over a terminal: a redrawn bar fills a log."""
    if quiet:
        return Silent()
    interactive = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    return Bar() if interactive else Heartbeat()


class Bar:
    """A rich bar with images per second and time left."""

    def __init__(self) -> None:
        self._progress: RichProgress | None = None
        self._task: TaskID | None = None

    def begin(self, what: str, total: int, unit: str) -> None:
        """Start a bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._unit, self._start, self._done = unit, time.monotonic(), 0
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, rate="")

    def advance(self, amount: int) -> None:
        """Move the bar."""
        if self._progress is None or self._task is None:
            return
        self._done += amount
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        self._progress.update(self._task, advance=amount, rate=f"{rate:.1f} {self._unit}/s")

    def end(self, finished: bool) -> None:
        """Remove the bar."""
        del finished
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def say(self, text: str) -> None:
        """A line above the bar."""
        from rich.console import Console

        Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


class Heartbeat:
    """One line per tenth of the work or per half minute, whichever comes first."""

    def begin(self, what: str, total: int, unit: str) -> None:
        """Say what starts."""
        self._what, self._total, self._unit, self._done = what, max(total, 1), unit, 0
        self._start = self._last = time.monotonic()
        self._tenth = 0
        self.say(f"{what}: {total} {unit}")

    def advance(self, amount: int) -> None:
        """Say where it is, now and then."""
        self._done += amount
        now, tenth = time.monotonic(), 10 * self._done // self._total
        # A stage of seconds needs no ten lines.
        if now - self._last >= HEARTBEAT_SECONDS or (tenth > self._tenth and now - self._last >= 3):
            rate = self._done / max(now - self._start, 1e-9)
            left = (self._total - self._done) / max(rate, 1e-9)
            self.say(
                f"{self._what}: {self._done}/{self._total} {self._unit}, {rate:.1f} {self._unit}/s, {left:.0f} s left"
            )
            self._last, self._tenth = now, tenth

    def end(self, finished: bool) -> None:
        """Say that it is done, or where it stopped."""
        seconds = time.monotonic() - self._start
        state = "done" if finished else f"stopped at {self._done}/{self._total} {self._unit}"
        self.say(f"{self._what}: {state} in {seconds:.1f} s")

    def say(self, text: str) -> None:
        """A plain line."""
        print(text, file=sys.stderr, flush=True)
