"""Printing that cannot change an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def printing() -> Iterator[None]:
    """What is printed inside may be lost (`| head`, a full or closed stdout); the verdict's exit code may not.

    rich answers a broken pipe with SystemExit(1), which here would read as "a gate failed".
    """
    try:
        yield
        sys.stdout.flush()
    except (OSError, ValueError, SystemExit):
        # Python flushes stdout once more on exit, and would fail there again.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
