"""Parts on shared storage that is no folder of this machine: any URL that fsspec can open (s3://, gs://, memory://)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from spuraudit.errors import RunError, UsageError
from spuraudit.record.folder import write_bytes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Storage:
    """A folder behind a URL. Names are relative, with forward slashes."""

    url: str

    def put(self, file: Path, name: str) -> None:
        """Copy a local file there; a name that exists is whole. Raises RunError."""
        system, root = self._open()
        target, temporary = f"{root}/{name}", f"{root}/{name}.{uuid4().hex}.tmp"
        try:
            system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            system.pipe_file(temporary, file.read_bytes())
            system.mv(temporary, target)
        except Exception as error:  # every kind of storage has errors of its own
            raise self._failed("write", name, error) from error

    def names(self, folder: str) -> list[str]:
        """Whole files directly in a folder, sorted; none where it does not exist. Raises RunError."""
        system, root = self._open()
        try:
            found = system.ls(f"{root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._failed("list", folder, error) from error
        return sorted(name for name in (str(path).rsplit("/", 1)[-1] for path in found) if not name.endswith(".tmp"))

    def get(self, name: str, file: Path) -> None:
        """Copy a file from there, whole or not at all. Raises RunError."""
        system, root = self._open()
        try:
            content = system.cat_file(f"{root}/{name}")
        except Exception as error:
            raise self._failed("read", name, error) from error
        write_bytes(file, content)

    def _open(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"--storage {self.url}: cannot be opened ({error}).",
                "Install the package that it names, or give a folder that all machines share with -o.",
            ) from error
        system.invalidate_cache()  # others write there
        return system, str(root).rstrip("/")

    def _failed(self, what: str, name: str, error: Exception) -> RunError:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return RunError(
            f"{self.url}/{name}: cannot {what} it ({first[:200]}).",
            "Check the address and the credentials, and run the same command again: it resumes where it stopped.",
        )
