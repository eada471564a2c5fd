"""A zoo run's folder on disk: how its record, and the records of its models, are read back."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from spuraudit.errors import RunError
from spuraudit.record import compared
from spuraudit.record.folder import read_json, read_record, sha256_of
from spuraudit.record.zoo import ZooModel, ZooRecord

if TYPE_CHECKING:
    from spuraudit.record.compared import Compared
    from spuraudit.record.scan import ScanRecord

RECORD = "zoo.json"
PLAN = "zoo-plan.json"


def zoo_folder(path: Path) -> Path:
    """The folder that a zoo path means: itself, or that of its zoo.json."""
    return path.parent if path.name == RECORD and path.is_file() else path


def read_zoo(folder: Path) -> ZooRecord:
    """The record of a finished zoo run: `folder` or its zoo.json.

    Raises RunError: no zoo run, unfinished, not JSON, another schema or version, an invalid field.
    """
    folder = zoo_folder(folder)
    file = folder / RECORD
    if not file.is_file():
        if (folder / PLAN).is_file():
            raise RunError(
                f"{folder}: this zoo run is unfinished (no {RECORD}).",
                "Run the same `spuraudit zoo` command again: it resumes where it stopped.",
            )
        raise RunError(f"{folder}: no zoo run here (no {RECORD}).", "Give a folder that `spuraudit zoo` wrote.")
    foreign = RunError(f"{file}: not the record of a zoo run.", "Give a folder that `spuraudit zoo` wrote.")
    return read_json(file, ZooRecord, "run the zoo again", foreign)


def run_folder(folder: Path, model: ZooModel) -> Path:
    """The run folder of an evaluated model. Raises RunError where it is not named, or lies outside the zoo's folder."""
    file = zoo_folder(folder) / RECORD
    if not model.run:
        raise RunError(f"{file}: model {model.id!r} is evaluated but names no run folder.", "Run the zoo again.")
    parts = PurePosixPath(model.run)
    path = (file.parent / parts).resolve()
    if parts.is_absolute() or not path.is_relative_to(file.parent.resolve()):
        raise RunError(
            f"{file}: run folder {model.run!r} of model {model.id!r} lies outside the zoo's.", "Run the zoo again."
        )
    return path


def read_model(folder: Path, zoo: ZooRecord, model: ZooModel) -> ScanRecord:
    """The record of an evaluated model.

    Raises RunError: missing, unfinished or damaged; not the file that the zoo run left; measured on other data.
    """
    run = run_folder(folder, model)
    record = read_record(run)
    again = f"Delete {run} and run the same `spuraudit zoo` command again."
    if model.record_sha256 and sha256_of(run / "scan.json") != model.record_sha256:
        raise RunError(f"{run / 'scan.json'}: not the record that {RECORD} lists for model {model.id!r}.", again)
    expected = fingerprint_of(zoo, model)
    if record.data.fingerprint != expected:
        raise RunError(
            f"{run / 'scan.json'}: model {model.id!r} was measured on data {record.data.fingerprint[:12]}, the zoo on "
            f"{expected[:12]}.",
            again,
        )
    return record


def read_compared(folder: Path, zoo: ZooRecord, model: ZooModel) -> Compared:
    """What pages compare of an evaluated model's record.

    From compared.json, where it and scan.json are the files that the zoo run left; else from the whole record, which
    gives the same and takes thirty times as long. Raises RunError as `read_model`.
    """
    stored = _stored(run_folder(folder, model), model)
    if stored is not None and stored.record.data.fingerprint == fingerprint_of(zoo, model):
        return stored
    return compared.compared(read_model(folder, zoo, model))


def _stored(run: Path, model: ZooModel) -> Compared | None:
    if not model.record_sha256 or not model.compared_sha256:
        return None
    try:
        content = (run / compared.FILE).read_bytes()
        whole = sha256(content).hexdigest() == model.compared_sha256
        if whole and sha256_of(run / "scan.json") == model.record_sha256:
            return compared.Compared.model_validate_json(content)
    except (OSError, ValueError):  # missing, or of another version of spuraudit
        return None
    return None


def fingerprint_of(zoo: ZooRecord, model: ZooModel) -> str:
    """Of the zoo's dataset under the model's class map: its own where it has one, else the zoo's."""
    return zoo.data_fingerprint if model.data_fingerprint is None else model.data_fingerprint
