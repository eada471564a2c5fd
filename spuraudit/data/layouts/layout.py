"""What a layout is: a way of lying on disk that people really have, and how to open it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from spuraudit.data.dataset import Dataset

_SHOWN = 3


@dataclass(frozen=True)
class Place:
    """Where to open a dataset.

    folder: the dataset's folder. origin: what the user typed. data_dir: the folder given with --data-dir, if any.
    locations: folders from the configuration, for parts that lie elsewhere (`imagenet`).
    """

    folder: Path
    origin: str
    data_dir: Path | None = None
    locations: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One way of lying on disk.

    name: as in `--data NAME` where `named`, and in the record. folders: usual names of its folder, looked for inside
    SPURAUDIT_DATA. recognises: whether a folder looks like this layout (cheap; it is opened to find out whether all
    is there). needs: what must be on disk, a line each, for people.
    """

    name: str
    title: str
    named: bool
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    licence: str
    recognises: Callable[[Path], bool]
    open: Callable[[Place], Dataset]


def refuse_missing(what: str, missing: Sequence[str], total: int, hint: str) -> None:
    """Raise DataError naming the first of `missing` and how many of `total` there are; nothing where all is there."""
    if missing:
        examples = "".join(f"\n  {entry}" for entry in missing[:_SHOWN])
        more = f"\n  ... and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DataError(f"{what}: {len(missing)} of {total} missing:{examples}{more}", hint)
