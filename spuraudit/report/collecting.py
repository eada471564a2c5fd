"""Making large trees without the garbage collector walking through them again and again."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection of cycles inside. JSON and records have none, and are freed by their reference counts all the same.

    Reading the records of a zoo of 1,000 classes takes 2.6 times as long with it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
