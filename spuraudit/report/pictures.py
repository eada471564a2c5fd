"""Exhibits as data URIs, within a budget, and only real pictures."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from spuraudit.report import bounds

if TYPE_CHECKING:
    from collections.abc import Mapping


def media_type(content: bytes) -> str | None:
    """By its first bytes, never by its name: WebP, PNG or JPEG, else None. SVG would be a document, not a picture."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    return "image/jpeg" if content[:3] == b"\xff\xd8\xff" else None


class Pictures:
    """Hands out data URIs until the budget is spent; counts what could not be shown."""

    def __init__(self, images: Mapping[str, bytes], budget: int = bounds.IMAGE_BYTES) -> None:
        self._images = images
        self._left = budget
        self.missing = 0
        self.over_budget = 0

    def source(self, file: str) -> str | None:
        """The data URI of an exhibit, or None where it is missing, no picture, or beyond the budget."""
        content = self._images.get(file)
        kind = media_type(content) if content is not None else None
        if content is None or kind is None:
            self.missing += 1
            return None
        uri = f"data:{kind};base64,{b64encode(content).decode()}"
        if len(uri) > self._left:
            self.over_budget += 1
            return None
        self._left -= len(uri)
        return uri
