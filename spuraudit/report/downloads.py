"""Files that travel with a page: whole, compressed where that is needed, or left out and said so."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import NamedTuple

from spuraudit.report import bounds
from spuraudit.report.formats import size
from spuraudit.report.parts import Parts


class Attached(NamedTuple):
    """A file that a page offers: name, media type, bytes, and a sentence about it."""

    name: str
    kind: str
    content: bytes
    says: str


@dataclass(frozen=True, slots=True)
class Download:
    """A link. `href` is None for a file too large for a page."""

    name: str
    href: str | None
    size: str
    says: str


def download(
    name: str,
    kind: str,
    content: bytes,
    says: str,
    parts: Parts | None = None,
    most: int = bounds.PACKED_BYTES,
) -> Download:
    """`content` as a link; above CSV_BYTES as NAME.gz, and where that takes more than `most` not at all.

    Equal bytes for equal content: gzip's time stamp is 0.
    """
    parts, shown = parts or Parts(), size(len(content))
    if len(content) <= min(bounds.CSV_BYTES, most):
        return Download(name, parts.file(name, kind, content), shown, says)
    packed = gzip.compress(content, 6, mtime=0)
    if len(packed) * 4 // 3 <= most:
        href = parts.file(f"{name}.gz", "application/gzip", packed)
        return Download(f"{name}.gz", href, shown, f"{says} Compressed.")
    return Download(name, None, shown, says)
