"""Exhibits for a page, as stored or smaller, and only real pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from spuraudit.report.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Mapping

QUALITY = 60
"""Of pictures that are made smaller."""


class Picture(NamedTuple):
    """A picture file: media type and bytes."""

    kind: str
    content: bytes


def media_type(content: bytes) -> str | None:
    """By its first bytes, never by its name: WebP, PNG or JPEG, else None. SVG would be a document, not a picture."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    return "image/jpeg" if content[:3] == b"\xff\xd8\xff" else None


class Pictures:
    """Puts images of one set into the parts of a page; counts what could not be shown. Smaller ones are made once."""

    def __init__(self, images: Mapping[str, bytes], *, withheld: bool = False, parts: Parts | None = None) -> None:
        self._images = images
        self._parts = parts or Parts()
        self._made: dict[tuple[str, int | None], Picture | None] = {}
        self.withheld = withheld
        self._missing: set[str] = set()

    @property
    def missing(self) -> int:
        """Files that were asked for and are missing or no pictures."""
        return len(self._missing)

    @property
    def without(self) -> str:
        """Why a picture is not there, for its place on the page."""
        return "Picture withheld." if self.withheld else "Picture not in this file."

    def source(self, file: str, side: int | None = None, *, grain: bool = False) -> str | None:
        """The address of an exhibit for `src`, or None where there is none.

        side: its longer side is at most so many pixels; None: as it is stored. `grain`: pixels are dropped, not
        averaged, so that noise stays as strong as the model saw it.
        """
        if self.withheld:
            return None
        if (file, side) not in self._made:
            self._made[file, side] = self._picture(file, side, grain)
        made = self._made[file, side]
        return None if made is None else self._parts.picture(*made)

    def _picture(self, file: str, side: int | None, grain: bool) -> Picture | None:
        content = self._images.get(file)
        kind = media_type(content) if content is not None else None
        if content is None or kind is None:
            self._missing.add(file)
            return None
        smaller = _smaller(content, side, grain) if side is not None else None
        if smaller is not None and len(smaller) < len(content):
            kind, content = "image/webp", smaller
        return Picture(kind, content)


def _smaller(content: bytes, side: int, grain: bool) -> bytes | None:
    """WebP of QUALITY within `side` x `side` pixels; None for a picture that cannot be decoded."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    longest = max(picture.size)
    if longest > side:
        width, height = (max(1, round(edge * side / longest)) for edge in picture.size)
        way = Image.Resampling.NEAREST if grain else Image.Resampling.LANCZOS
        picture = picture.resize((width, height), way)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
