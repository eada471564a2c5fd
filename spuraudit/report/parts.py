"""Where what a page consists of goes: into the page itself, or into files beside it.

PAGE.html              the page
PAGE_files/style.css   its style sheet
PAGE_files/img/        pictures, named by their bytes
PAGE_files/data/       records and tables

The second form is for servers that drop inline styles, scripts and data: pictures, as Jenkins' default policy does
(`sandbox; default-src 'none'; img-src 'self'; style-src 'self'`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote

from spuraudit.errors import RunError
from spuraudit.record.folder import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

MARK = "/* Style sheet of a spuraudit report. The page owns this folder and replaces what is in it. */\n"
_STYLE = "style.css"
_ENDS = {"image/webp": "webp", "image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
_OURS = re.compile(r"style\.css|img/[0-9a-f]{16}\.(webp|png|jpg|svg)|data/[A-Za-z0-9.-]+\.(csv|json)(\.gz)?")


class Parts:
    """The parts of one page. `folder`: name of the folder beside it that takes them; None: they stay inside.

    `files`: what the folder holds, by path inside it; empty for a page in one file.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}

    @property
    def beside(self) -> bool:
        """Whether parts become files."""
        return self.folder is not None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def start(self) -> None:
        """Forget what an earlier drawing of the page has put here."""
        self.files.clear()

    def picture(self, kind: str, content: bytes) -> str:
        """What `src` of a picture of this media type is. Equal pictures are one file."""
        return self._placed(f"img/{sha256(content).hexdigest()[:16]}.{_ENDS[kind]}", kind, content)

    def file(self, name: str, kind: str, content: bytes) -> str:
        """What `href` of a file to download is."""
        return self._placed(f"data/{name}", kind, content)

    def style(self, text: str) -> str:
        """What `href` of a style sheet is."""
        return self._placed(_STYLE, "text/css", (MARK + text).encode())

    def _placed(self, path: str, kind: str, content: bytes) -> str:
        if self.folder is None:
            return f"data:{kind};base64,{b64encode(content).decode()}"
        self.files[path] = content
        # A leading ./ keeps a folder named like a scheme from being one.
        return f"./{quote(self.folder)}/{quote(path)}"


def parts_of(output: Path, *, split: bool) -> Parts:
    """The parts of the page that is to be written to `output`, beside it or inside it."""
    return Parts(_folder(output).name if split else None)


def write_page(output: Path, page: str, parts: Parts) -> None:
    """Write the page and what lies beside it; what an earlier page of that name left there goes.

    The page is written when all that it refers to is there, and nothing is removed before. Raises RunError: the folder
    beside it is not a page's, or something cannot be written.
    """
    folder = _folder(output)
    if parts.beside and folder.exists() and not _is_a_pages(folder):
        raise RunError(
            f"{folder}: this folder would take the files of {output.name}, and is not that of a report.",
            "Give the page another name with -o, or move the folder away.",
        )
    for path, content in sorted(parts.files.items(), key=lambda item: item[0] != _STYLE):
        write_bytes(folder / path, content)
    write_bytes(output, page.encode())
    if _is_a_pages(folder):
        _remove_stale(folder, set(parts.files))


def _folder(output: Path) -> Path:
    return output.with_name(f"{output.stem}_files")


def _is_a_pages(folder: Path) -> bool:
    style = folder / _STYLE
    if not style.is_file():
        return folder.is_dir() and not any(folder.iterdir())
    with style.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


def _remove_stale(folder: Path, kept: set[str]) -> None:
    """The style sheet goes last: it is what marks the folder."""
    old = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    for name in sorted(old, key=lambda name: name == _STYLE):
        if name not in kept and _OURS.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    for place in (folder / "img", folder / "data", folder):
        with suppress(OSError):  # not empty
            place.rmdir()
