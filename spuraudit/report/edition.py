"""How a page is handed on: a logo, notes of who hands it on, without pictures, at most so large."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from spuraudit.errors import UsageError
from spuraudit.report import bounds

if TYPE_CHECKING:
    from pathlib import Path

    from markupsafe import Markup

    from spuraudit.report.pictures import Picture


@dataclass(frozen=True, slots=True)
class Edition:
    """Every page takes one. `notes`: safe HTML. `redact`: no pixel of the data travels. `most`: bytes of the page."""

    logo: Picture | None = None
    notes: Markup | None = None
    redact: bool = False
    most: int = bounds.REPORT_BYTES


def make_edition(
    *,
    logo: Path | None = None,
    notes: Path | None = None,
    redact: bool = False,
    most_mb: float | None = None,
    config: Path | None = None,
) -> Edition:
    """An edition from files. logo: PNG, JPEG, WebP or SVG; notes: Markdown or, as .txt, plain text; most_mb: 1e6 bytes.

    config: the file whose `report:` section says so, for messages; None: the command line does.
    Raises UsageError: a file that cannot be read, is too large or of another kind; a limit that is no positive number.
    """
    from spuraudit.report.logo import load_logo
    from spuraudit.report.notes import load_notes

    if most_mb is not None and (not isfinite(most_mb) or most_mb <= 0):
        option = _option("max_report_mb", config)
        raise UsageError(f"{option} {most_mb:g}: not a size.", "Give megabytes above 0; the default is 10.")
    return Edition(
        logo=load_logo(logo, _option("logo", config)) if logo is not None else None,
        notes=load_notes(notes, _option("notes", config)) if notes is not None else None,
        redact=redact,
        most=bounds.REPORT_BYTES if most_mb is None else round(most_mb * 1e6),
    )


def _option(key: str, config: Path | None) -> str:
    return f"--{key.replace('_', '-')}" if config is None else f"{config}: report.{key}:"


def read_bounded(named: str, file: Path, most: int) -> bytes:
    """The bytes of a small file, for messages `named`. Raises UsageError: missing, unreadable, empty, above `most`."""
    try:
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise UsageError(f"{named}: cannot be read ({error.strerror}).", "Check the path.") from error
    if not content:
        raise UsageError(f"{named}: the file is empty.", "Give another file, or leave the option out.")
    if len(content) > most:
        raise UsageError(f"{named}: larger than {most // 1000} kB.", "It travels inside the page: give a smaller file.")
    return content
