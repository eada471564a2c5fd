"""Files that travel inside a page as data: URLs, whole, compressed where that is needed, or left out and said so."""

from __future__ import annotations

import gzip
from base64 import b64encode
from dataclasses import dataclass

from spuraudit.report import bounds
from spuraudit.report.formats import size


@dataclass(frozen=True, slots=True)
class Download:
    """A link. `href` is None for a file too large for a page."""

    name: str
    href: str | None
    size: str
    says: str


def download(name: str, kind: str, content: bytes, says: str) -> Download:
    """`content` as a link; above CSV_BYTES as NAME.gz, and above PACKED_BYTES even then not at all. Equal bytes for
    equal content: gzip's time stamp is 0.
    """
    if len(content) <= bounds.CSV_BYTES:
        return Download(name, _url(kind, content), size(len(content)), says)
    packed = gzip.compress(content, 6, mtime=0)
    if len(packed) * 4 // 3 <= bounds.PACKED_BYTES:
        return Download(f"{name}.gz", _url("application/gzip", packed), size(len(content)), f"{says} Compressed.")
    return Download(name, None, size(len(content)), says)


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
