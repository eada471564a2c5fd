"""Observations: one row per answer of the model, in Parquet parts. Everything else is a pure function of these rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from spuraudit.errors import RunError
from spuraudit.record.folder import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NAME = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("image", _NAME, nullable=False, metadata={"meaning": "image id"}),
        pa.field("label", pa.int32(), nullable=False, metadata={"meaning": "class index in the dataset"}),
        pa.field("group", _NAME, metadata={"meaning": "group, null where the dataset has none"}),
        pa.field("condition", _NAME, nullable=False, metadata={"meaning": "how the image was shown"}),
        pa.field("trial", pa.int32(), nullable=False, metadata={"meaning": "which draw of the condition"}),
        pa.field("donor", _NAME, metadata={"meaning": "image id of the donor or target"}),
        pa.field("donor_label", pa.int32(), nullable=False, metadata={"meaning": "its class index, -1 for none"}),
        pa.field("predicted", pa.int32(), nullable=False, metadata={"meaning": "class index, -1: an unmapped output"}),
        pa.field("output", pa.int32(), nullable=False, metadata={"meaning": "the model's largest output"}),
        pa.field("p_true", pa.float32(), nullable=False, metadata={"meaning": "probability of the image's class"}),
        pa.field("p_sd", pa.float32(), metadata={"meaning": "its standard deviation over MC-dropout passes"}),
        pa.field("p_plain", pa.float32(), metadata={"meaning": "the same without dropout, where p_true is MC"}),
        pa.field("entropy", pa.float32(), metadata={"meaning": "of the mean prediction over MC-dropout passes, nats"}),
        pa.field("energy", pa.float32(), metadata={"meaning": "L2 norm of the perturbation, [0, 1] pixels"}),
        pa.field("region_share", pa.float32(), metadata={"meaning": "mean over the image of the changed soft region"}),
        pa.field("core_share", pa.float32(), metadata={"meaning": "mean core mask in the swapped cell"}),
        pa.field(
            "given",
            pa.list_(pa.int32()),
            metadata={"meaning": "class indices given as labels (probability 0.5 or more), null for a softmax head"},
        ),
    ]
)


def to_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows (a dict per answer, keys as in SCHEMA, missing keys are null) as a table."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write_part(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one part so that a part that exists is whole."""
    buffer = io.BytesIO()
    pq.write_table(to_table(rows), buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def read_parts(paths: Sequence[Path]) -> pa.Table:
    """All rows of the parts, in the order given. Raises RunError for a part that is not readable."""
    tables = []
    for path in paths:
        try:
            tables.append(pq.read_table(path, schema=SCHEMA))
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{path}: not a readable part ({error}).", "Delete it and run the scan again.") from error
    return pa.concat_tables(tables).unify_dictionaries() if tables else SCHEMA.empty_table()
