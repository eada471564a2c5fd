"""Small text files that people write: read whole, or one clear error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_FILE = 16 * 2**20


def read_text(file: Path, name: str, *, too_large: tuple[str, str]) -> str:
    """The text of a UTF-8 file, without a byte order mark; `name` is what errors call it.

    too_large: what to say after "larger than 16 MiB", and the way out. Raises ConfigError.
    """
    said, hint = too_large
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{name}: larger than 16 MiB{said}.", hint)
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start}).", "Save the file as UTF-8.") from error
    except OSError as error:
        raise ConfigError(
            f"{name}: cannot be read ({error.strerror}).", "Check the path and its permissions."
        ) from error
