"""Where bytes come from: a folder, or a zip archive read in place. Neither can be climbed out of.

Sources are used by many threads at once and travel to worker processes: they hold no open file that is not guarded,
and pickle as nothing but their address.
"""

from __future__ import annotations

import os
import stat
import threading
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from spuraudit.data.paths import inside, parent
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: No photo or mask of a dataset is larger; more is a mistake or an attack.
LARGEST_FILE = 256 * 2**20
#: Blank masks deflate 1000:1 and are harmless while small: the ratio counts only above this size.
RATIO_MATTERS_ABOVE = 32 * 2**20
LARGEST_RATIO = 100

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@runtime_checkable
class Source(Protocol):
    """Named bytes. Paths are relative with forward slashes; a path that leaves the source raises DataError."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises DataError where it is missing, unreadable or too large."""

    def exists(self, path: str) -> bool:
        """Whether a file of that name is there."""

    def size(self, path: str) -> int | None:
        """Bytes of the (unpacked) file, None where there is none."""

    def files(self, folder: str = "") -> Iterator[str]:
        """Paths of all files below a folder, sorted; hidden files and the folders of archivers are left out."""

    def describe(self, path: str) -> str:
        """What messages call the file."""


class FolderSource:
    """Files below a folder. Symbolic links are followed as long as they stay inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = Path(os.path.realpath(root))
        self._checked: set[str] = set()

    def read(self, path: str) -> bytes:
        """The whole file. Raises DataError where it is missing, unreadable, too large or outside the root."""
        file = self._locate(path)
        try:
            size = file.stat().st_size
            if size > LARGEST_FILE:
                raise DataError(
                    f"{file}: {size / 2**20:.0f} MiB, more than the {LARGEST_FILE // 2**20} MiB allowed for one file.",
                    "Store photos and masks as compressed images, one per file.",
                )
            return file.read_bytes()
        except OSError as error:
            raise DataError(
                f"{file}: cannot be read ({error.strerror}).", "Restore the file, or mend its row."
            ) from error

    def exists(self, path: str) -> bool:
        """Whether a file of that name is there."""
        return self._locate(path).is_file()

    def size(self, path: str) -> int | None:
        """Bytes of the file, None where there is none."""
        try:
            found = self._locate(path).stat()
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def files(self, folder: str = "") -> Iterator[str]:
        """Paths of all files below a folder, sorted by name within each folder; hidden ones are left out."""
        yield from self._walk(folder, frozenset())

    def _walk(self, folder: str, above: frozenset[str]) -> Iterator[str]:
        start = self._locate(folder) if folder else self.root
        real = os.path.realpath(start)
        if real in above:  # a link back up: its files are already listed
            return
        try:
            entries = sorted(os.scandir(start), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from self._walk(path, above | {real})
            elif entry.is_file():
                yield path

    def describe(self, path: str) -> str:
        """The file's path on this machine."""
        return str(self.root / path)

    def _locate(self, path: str) -> Path:
        path = inside(path, str(self.root))
        file = self.root / path
        folder = parent(path)
        if folder not in self._checked:
            self._check(path, self.root / folder)
            self._checked.add(folder)
        if file.is_symlink():
            self._check(path, file)
        return file

    def _check(self, path: str, place: Path) -> None:
        if not Path(os.path.realpath(place)).is_relative_to(self._real_root):
            raise DataError(
                f"{self.root}: {path!r} is a link that leads out of this folder (to {os.path.realpath(place)}).",
                "Copy the files into the dataset, or name the folder that really holds them with root: or --data-dir.",
            )


class _Opened(NamedTuple):
    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    names: list[str]


class ZipSource:
    """Members of a zip archive, read in place. `prefix`: a folder inside the archive that counts as its root.

    The archive is opened on first use, once per process; a lock keeps threads from sharing its position.
    """

    def __init__(self, file: Path, prefix: str = "") -> None:
        self.file = file
        self.prefix = inside(prefix, str(file)) if prefix else ""
        self._forget()

    def read(self, path: str) -> bytes:
        """The unpacked member. Raises DataError where it is missing, damaged, encrypted, or a bomb."""
        name = self._name(path)
        with self._guard():
            opened = self._open()
            member = opened.members.get(name)
            if member is None:
                raise DataError(f"{self.describe(path)}: not in the archive.", "Check the name, or pack again.")
            self._refuse_bomb(path, member)
            try:
                # zipfile never yields more than the declared size, so the check above holds for the real one.
                return opened.archive.read(member)
            except _DAMAGED as error:
                raise DataError(
                    f"{self.describe(path)}: cannot be unpacked ({error}).",
                    "Copy the archive again, or pack it without encryption, with the usual deflate method.",
                ) from error

    def exists(self, path: str) -> bool:
        """Whether a member of that name is there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Declared unpacked bytes of the member, None where there is none."""
        name = self._name(path)
        with self._guard():
            member = self._open().members.get(name)
        return None if member is None else member.file_size

    def files(self, folder: str = "") -> Iterator[str]:
        """Paths of all members below a folder, sorted; hidden ones and `__MACOSX` are left out."""
        start = "/".join(part for part in (self.prefix, folder) if part)
        start = f"{start}/" if start else ""
        skip = len(self.prefix) + 1 if self.prefix else 0
        with self._guard():
            names = self._open().names
            first = bisect_left(names, start)
            names = names[first : bisect_right(names, start, lo=first, key=lambda name: name[: len(start)])]
        for name in names:
            parts = name[skip:].split("/")
            if not any(part.startswith(".") or part == "__MACOSX" for part in parts):
                yield name[skip:]

    def describe(self, path: str) -> str:
        """`masks.zip:folder/mask.png`, with the archive's path on this machine."""
        return f"{self.file}:{self._name(path)}"

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "prefix": self.prefix}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.file, self.prefix = state["file"], state["prefix"]
        self._forget()

    def _name(self, path: str) -> str:
        path = inside(path, str(self.file))
        return f"{self.prefix}/{path}" if self.prefix else path

    def _forget(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def _guard(self) -> threading.Lock:
        if self._process != os.getpid():
            # After a fork the file position is shared with the parent, and its lock may be held for ever.
            self._forget()
        return self._lock

    def _open(self) -> _Opened:
        if self._opened is None:
            self._opened = self._index()
        return self._opened

    def _index(self) -> _Opened:
        try:
            archive = zipfile.ZipFile(self.file)
        except _DAMAGED as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise DataError(
                f"{self.file}: not readable as a zip archive ({reason}).", "Copy the archive again; was it cut off?"
            ) from error
        members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            if member.orig_filename.rstrip("/") in ("", "."):
                continue
            name = inside(member.orig_filename, f"{self.file}, archive member")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(
                    f"{self.file}: member {name!r} is a symbolic link.", "Pack the files themselves (zip without -y)."
                )
            if not member.is_dir():
                members[name] = member
        return _Opened(archive, members, sorted(members))

    def _refuse_bomb(self, path: str, member: zipfile.ZipInfo) -> None:
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > LARGEST_FILE or (member.file_size > RATIO_MATTERS_ABOVE and ratio > LARGEST_RATIO):
            raise DataError(
                f"{self.describe(path)}: unpacks to {member.file_size / 2**20:.0f} MiB, {ratio:.0f} times its packed "
                f"size (allowed: {LARGEST_FILE // 2**20} MiB, and {LARGEST_RATIO} times above "
                f"{RATIO_MATTERS_ABOVE // 2**20} MiB): this looks like a zip bomb.",
                "If you trust the archive, unpack it and name the folder instead.",
            )
