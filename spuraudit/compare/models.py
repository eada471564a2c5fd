"""Whether two runs are of one model, and whether their models were shown the images in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spuraudit.record.geometry import Preprocess
    from spuraudit.record.scan import ScanRecord

#: What, beside the weights, makes a model answer as it does.
_BESIDE = ("arch", "kwargs", "num_classes", "head", "text_head", "precision")


def same_model(records: tuple[ScanRecord, ScanRecord]) -> bool:
    """Whether no answer can differ: equal weights, network, preprocessing and images, and outputs of the classes.

    False where a record does not hold the sha256 of its weights.
    """
    one, other = (record.model for record in records)
    equal = all(getattr(one, name) == getattr(other, name) for name in _BESIDE)
    data = records[0].data.fingerprint == records[1].data.fingerprint
    return same_file(records) and equal and data and not preprocessing(records)


def same_file(records: tuple[ScanRecord, ScanRecord]) -> bool:
    """Whether both records name the same weights."""
    return records[0].model.sha256 is not None and records[0].model.sha256 == records[1].model.sha256


def preprocessing(records: tuple[ScanRecord, ScanRecord]) -> str | None:
    """What differs between the two, such as 'mean 0.5, 0.5, 0.5 and 0, 0, 0', the run before first; None if nothing."""
    one, other = (_values(record.model.preprocess) for record in records)
    return "; ".join(f"{name} {one[name]} and {other[name]}" for name in one if one[name] != other[name]) or None


def preprocessing_note(records: tuple[ScanRecord, ScanRecord]) -> str | None:
    """A sentence where the two models were not shown the images in the same way."""
    differs = preprocessing(records)
    if differs is None:
        return None
    if same_file(records):
        return f"Both runs are of the same model file, and its preprocessing differs ({differs})."
    return (
        f"The models were given another preprocessing each ({differs}). One that does not fit its model makes it weak, "
        "and then changes are not the model's."
    )


def _values(preprocess: Preprocess) -> dict[str, str]:
    """By name; where a value came from does not count."""
    content = preprocess.model_dump(exclude={"origin"})
    values = {**content.pop("geometry"), **content}
    return {name: _said(value) for name, value in values.items()}


def _said(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, tuple) else str(value)
