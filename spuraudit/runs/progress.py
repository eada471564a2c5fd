"""What a long run tells whoever started it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Told by a run how it goes; the command line draws it."""

    def begin(self, what: str, total: int, unit: str) -> None:
        """A stage of `total` units starts."""
        ...

    def advance(self, amount: int) -> None:
        """So many more units are done."""
        ...

    def end(self, finished: bool) -> None:
        """The stage is over, or something went wrong in it."""
        ...

    def say(self, text: str) -> None:
        """One line that a person should read."""
        ...


@contextmanager
def stage(progress: Progress, what: str, total: int, unit: str) -> Iterator[None]:
    """A stage that ends also where it fails: a bar must not outlive it."""
    progress.begin(what, total, unit)
    finished = False
    try:
        yield
        finished = True
    finally:
        progress.end(finished)


class Silent:
    """Nobody is listening."""

    def begin(self, what: str, total: int, unit: str) -> None:
        """Ignore."""

    def advance(self, amount: int) -> None:
        """Ignore."""

    def end(self, finished: bool) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Ignore."""
