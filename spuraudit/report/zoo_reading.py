"""Reading what a zoo's page compares of a model's record, without building the rest: 42 records are half a gigabyte."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json

from spuraudit.record.scan import ScanRecord
from spuraudit.record.zoo_folder import fingerprint_of, read_model, run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.zoo import ZooModel, ZooRecord


def read_compared(folder: Path, zoo: ZooRecord, model: ZooModel) -> ScanRecord:
    """The record of an evaluated model with the entries that `compares` keeps, and without curves and exhibits.

    Only a file whose hash the zoo lists is read so: what is passed over was valid when it was written. In every other
    case, and for whatever is wrong, `record.zoo_folder.read_model` reads the whole record, or says why it cannot.
    Raises RunError as that does.
    """
    record = _compared(folder, zoo, model) if model.record_sha256 else None
    return record if record is not None else read_model(folder, zoo, model)


def _compared(folder: Path, zoo: ZooRecord, model: ZooModel) -> ScanRecord | None:
    try:
        content = (run_folder(folder, model) / "scan.json").read_bytes()
        if sha256(content).hexdigest() != model.record_sha256:
            return None
        fields = from_json(content, cache_strings="all")
        fields["measurements"] = [item for item in fields["measurements"] if compares(item["metric"], item["scope"])]
        fields["findings"] = [
            {**item, "exhibits": []} for item in fields["findings"] if item["audit"] == "feature_drop"
        ]
        fields["curves"] = []
        record = ScanRecord.model_validate(fields)
    except (OSError, ValueError, ValidationError, KeyError, TypeError):
        return None
    return record if record.data.fingerprint == fingerprint_of(zoo, model) else None


def compares(metric: str, scope: dict[str, Any]) -> bool:
    """Numbers over all images, by noise level or region; and what noise on each feature of a class costs."""
    keys = set(scope)
    return keys <= {"sigma", "feature"} or (metric == "feature_drop" and keys == {"class", "feature"})
