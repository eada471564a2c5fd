"""A run folder on disk: whole files only (temporary name, fsync, rename), and how to read one back.

RUN/plan.json                 what is being asked; written first
RUN/observations/part-*.parquet
RUN/exhibits/*.webp
RUN/verdict.json              where gates were judged
RUN/report.html
RUN/scan.json                 the record; written last: without it the run is unfinished
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from spuraudit.errors import RunError
from spuraudit.record.not_a_scan import no_scan_in
from spuraudit.record.scan import ScanRecord
from spuraudit.record.verdict import Verdict

Record = TypeVar("Record", bound=BaseModel)

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` so that `path` is whole or unchanged. Raises RunError where the disk is full or read-only.

    A device, a pipe and what else is no file is written into, never replaced. A link to a file is replaced, since what
    it leads to may lie in a store of others (git-annex, DVC).
    """
    if is_stream(path):
        _write_into(path, content)
        return
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def is_stream(path: Path) -> bool:
    """Whether a path leads to something that takes bytes and is no file: a device, a pipe, an open file of a process.

    `/dev/stdout` is one even where a shell has put a file behind it: to rename over it would replace the link in /dev.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    descriptor = path.absolute().parts[1:2] in (("dev",), ("proc",)) and path.is_symlink()
    return descriptor or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_into(path: Path, content: bytes) -> None:
    try:
        with path.open("ab") as stream:  # where a file is behind a descriptor, what stands in it stays
            stream.write(content)
    except OSError as error:
        raise _cannot_write(path, error) from error


def claim(file: Path, content: bytes, another: RunError, foreign: RunError) -> None:
    """Make a folder the one of a plan: write `file`, or see that it says the same already.

    Several processes may claim a folder for the same plan at once. Raises `another` where the file says something
    else, `foreign` where the folder holds other things and no such file.
    """
    folder = file.parent
    others = folder.is_dir() and any(not _is_temporary(path) for path in folder.iterdir())
    if file.is_file():  # after the look into the folder: what was not there then may be by now
        if file.read_bytes() != content:
            raise another
        return
    if others:
        raise foreign
    write_bytes(file, content)


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed `write_bytes` left directly in a folder."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> RunError:
    if error.errno in _NO_SPACE:
        return RunError(
            f"{path}: the disk is full ({error.strerror}).",
            "Free some space and run the same command again: it resumes where it stopped.",
        )
    return RunError(f"{path}: cannot be written ({error.strerror}).", "Choose a writable folder with -o.")


def to_json(part: BaseModel) -> bytes:
    """Canonical JSON of a record: same record, same bytes."""
    content = part.model_dump(mode="json", by_alias=True)
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def point_last(run: Path) -> None:
    """Make `last` beside a run folder lead to it: a symbolic link, or a text file where links cannot be made.

    Somebody's own file or folder of that name stays as it is.
    """
    pointer = run.parent / "last"
    ours = pointer.is_symlink() or not pointer.exists() or _pointed(pointer) is not None
    if run.name == pointer.name or not ours:
        return
    # A convenience: where the folder above cannot be written to, the run is no worse without it.
    with suppress(OSError, RunError):
        pointer.unlink(missing_ok=True)
        try:
            pointer.symlink_to(run.name, target_is_directory=True)
        except OSError:
            write_bytes(pointer, run.name.encode())


def _pointed(pointer: Path) -> Path | None:
    """The run folder beside a `last` file that its text names."""
    if not pointer.is_file() or pointer.stat().st_size > 255:
        return None
    name = pointer.read_text("utf-8", "replace").strip()
    folder = pointer.parent / name
    is_run = (folder / "plan.json").is_file() or (folder / "scan.json").is_file()
    return folder if name and "/" not in name and is_run else None


def resolve_run(run: Path) -> Path:
    """The folder that a run path means: itself, that of its scan.json, or the one a `last` file names.

    Raises RunError for any other file.
    """
    if not run.is_file():
        return run
    if run.name == "scan.json":
        return run.parent
    folder = _pointed(run)
    if folder is None:
        raise RunError(f"{run}: not a run folder, a record or a pointer to one.", "Give a folder that a scan wrote.")
    return folder


def read_record(run: Path) -> ScanRecord:
    """The record of a finished run: `run` is its folder, its scan.json or a `last` pointer. Raises RunError."""
    run = resolve_run(run)
    file = run / "scan.json"
    if not file.is_file():
        raise no_scan_in(run)
    foreign = RunError(f"{file}: not a spuraudit record.", "Give a run folder, as printed by `spuraudit scan`.")
    return read_json(file, ScanRecord, "scan again", foreign)


def read_json(file: Path, kind: type[Record], again: str, foreign: RunError) -> Record:
    """A record of a kind that states its schema and version. again: how to come by another one.

    Raises RunError: not JSON, another version, an invalid field; `foreign` where it is of another kind.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: not readable as JSON ({error}).", f"Restore the file or {again}.") from error
    fields = kind.model_fields
    if not isinstance(content, dict) or content.get("schema") != fields["schema_name"].default:
        raise foreign
    version, reads = str(content.get("schema_version", "?")), fields["schema_version"].default.split(".")[0]
    if version.split(".")[0] != reads:
        raise RunError(
            f"{file}: record version {version}; this spuraudit reads {reads}.x.",
            f"Use the spuraudit that wrote it (see tool.version in the file), or {again}.",
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RunError(f"{file}: not a valid record: {_first(error)}.", f"{again.capitalize()}.") from error


def _first(error: ValidationError) -> str:
    """Field, what is wrong with it and, where it is a single one, its value."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    said = f"{where}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    given = first["input"]
    shown = first["type"] != "value_error" and isinstance(given, str | int | float)
    return f"{said}, not {given!r}" if shown else said


def write_verdict(file: Path, verdict: Verdict, run: Path) -> None:
    """Store a verdict with the hash of the record that it judges, that of the run folder `run`."""
    write_bytes(file, to_json(verdict.model_copy(update={"record_sha256": sha256_of(run / "scan.json")})))


def read_verdict(run: Path) -> Verdict | None:
    """The verdict stored in a run folder, or None where no gate was judged.

    Raises RunError: not a verdict, or one of another record than the scan.json beside it.
    """
    file, record = run / "verdict.json", run / "scan.json"
    if not file.is_file():
        return None
    try:
        verdict = Verdict.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise RunError(f"{file}: not a valid verdict.", "Judge again with `spuraudit gate`.") from error
    if verdict.record_sha256 is not None and record.is_file():
        digest = sha256_of(record)
        if digest != verdict.record_sha256:
            raise RunError(
                f"{file}: judges a record with sha256 {verdict.record_sha256[:12]}, but {record} has {digest[:12]}.",
                f"Judge again with `spuraudit gate {run}`, or delete verdict.json.",
            )
    return verdict
