"""Names of files inside a dataset: relative, with forward slashes, never out of the root."""

from __future__ import annotations

import re

from spuraudit.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_DRIVE = re.compile(r"^[A-Za-z]:")


def inside(path: str, named_by: str) -> str:
    """The path, normalised ("a//b/./c" -> "a/b/c"). Raises DataError where it could leave the root.

    `named_by` says who names the path, for the message: "images.csv, line 7" or "masks.zip".
    """
    clean = "/".join(part for part in path.split("/") if part not in ("", "."))
    # "./C:" is relative as typed and absolute once normalised: both forms have to be harmless.
    problem = _problem(path) or _problem(clean)
    if problem is not None:
        raise DataError(
            f"{named_by}: {path!r} {problem}.",
            "Use paths relative to the dataset's root, with forward slashes; root: or --data-dir may name any folder.",
        )
    return clean


def _problem(path: str) -> str | None:
    if not path.strip() or (path.strip("./") == "" and ".." not in path):
        return "names no file"
    if "\\" in path:
        return "has a backslash"
    if "\0" in path or "\n" in path:
        return "has a control character"
    if path.startswith("/") or _DRIVE.match(path):
        return "is absolute"
    if ".." in path.split("/"):
        return "climbs out of the root"
    return None


def stem(path: str) -> str:
    """File name without folders and without its last suffix."""
    name = path.rsplit("/", 1)[-1]
    head, dot, _ = name.rpartition(".")
    return head if dot and head else name


def parent(path: str) -> str:
    """Folders of a path, "" for a bare file name."""
    return path.rpartition("/")[0]


def is_image(path: str) -> bool:
    """Whether the suffix, in any case, is one of IMAGE_SUFFIXES, and the file is not hidden."""
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)
