"""Observations: rows to Parquet and back, and what the parts of a real run hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from spuraudit.errors import RunError
from spuraudit.record.folder import sha256_of
from spuraudit.record.observations import SCHEMA, read_parts, to_table, write_part

if TYPE_CHECKING:
    from pathlib import Path

ROW: dict[str, Any] = {
    "image": "red/test-000",
    "label": 0,
    "condition": "clean",
    "trial": 0,
    "donor_label": -1,
    "predicted": 2,
    "output": 5,
    "p_true": 0.25,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """A real run with every audit and several parts."""
    folder = tmp_path_factory.mktemp("finished")
    data = toys.draw(folder / "data", toys.Toy(test=4, train=3, tag=True))
    audits = ("noise", "feature_drop", "region_swap", "patch_swap")
    sizes = {"trials": 2, "swap_trials": 2, "passes": 4, "patch_targets": 3, "patch_sources": 2, "target_classes": 1}
    return toys.scan(toys.Reader(toys.TAG), data, folder / "run", audits=audits, **sizes)


def _numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


rows_of_any_kind = st.lists(
    st.fixed_dictionaries(
        {
            "image": st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()),
            "label": st.integers(0, 2**31 - 1),
            "condition": st.sampled_from(["clean", "noise.core@0.25", "swap.other:Hintergrund – Ö"]),
            "trial": st.integers(0, 1000),
            "donor_label": st.integers(-1, 999),
            "predicted": st.integers(-1, 999),
            "output": st.integers(0, 999),
            "p_true": _numbers(0, 1),
        },
        optional={
            "group": st.none() | st.text(max_size=5),
            "donor": st.none() | st.text(max_size=5),
            "p_sd": st.none() | _numbers(0, 0.5),
            "energy": st.none() | _numbers(0, 1000),
        },
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(rows=rows_of_any_kind, cut=st.integers(0, 8))
def test_rows_survive_parts_in_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    parts = [folder / "part-00000.parquet", folder / "part-00001.parquet"]
    for part, some in zip(parts, (rows[:cut], rows[cut:]), strict=True):
        write_part(part, some)
    empty = dict.fromkeys(SCHEMA.names)
    assert read_parts(parts).to_pylist() == [{**empty, **row} for row in rows]


def test_missing_values_are_null_and_required_ones_are_required(tmp_path: Path) -> None:
    write_part(tmp_path / "part.parquet", [ROW])
    (row,) = read_parts([tmp_path / "part.parquet"]).to_pylist()
    assert {name for name, value in row.items() if value is None} == set(SCHEMA.names) - set(ROW)
    assert {field.name for field in SCHEMA if not field.nullable} == set(ROW)


def test_no_parts_are_an_empty_table_of_the_same_columns() -> None:
    assert read_parts([]).schema.names == to_table([ROW]).schema.names
    assert read_parts([]).num_rows == 0


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_an_unreadable_part_is_named_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    part = tmp_path / "part-00003.parquet"
    part.write_bytes(content)
    with pytest.raises(RunError, match=r"part-00003\.parquet: not a readable part") as caught:
        read_parts([part])
    assert caught.value.hint == "Delete it and run the scan again."


def test_every_column_says_what_it_means() -> None:
    assert all((field.metadata or {}).get(b"meaning") for field in SCHEMA)


def test_a_reader_of_parquet_finds_the_meanings_in_the_file(tmp_path: Path) -> None:
    write_part(tmp_path / "part.parquet", [ROW])
    field = pq.read_schema(tmp_path / "part.parquet").field("predicted")
    assert field.metadata[b"meaning"] == b"class index, -1: an unmapped output"


def test_parts_hold_what_the_record_says(finished: toys.Scanned) -> None:
    parts = finished.record.observations
    assert len(parts) > 2
    assert [part.file for part in parts] == [f"observations/part-{i:05d}.parquet" for i in range(len(parts))]
    on_disk = sorted(file.name for file in (finished.folder / "observations").iterdir())
    assert on_disk == [part.file.rpartition("/")[2] for part in parts]
    for part in parts:
        assert sha256_of(finished.folder / part.file) == part.sha256
        assert pq.read_metadata(finished.folder / part.file).num_rows == part.rows
    assert finished.table.num_rows == sum(part.rows for part in parts)


def test_rows_of_a_run_are_one_per_question(finished: toys.Scanned) -> None:
    rows = finished.rows
    images = 12
    sources = 3 * 2
    noise, drop, swap = 2 * 2, 2 * 2 * 2, 2 * 2 * 2
    assert len(rows) == images * (1 + noise + drop + swap) + sources * 3 * 50
    assert len({(row["image"], row["condition"], row["trial"]) for row in rows}) == len(rows)
    for row in rows:
        kind = row["condition"].partition(":")[0].partition("@")[0]
        assert (row["donor"] is not None) == (kind in ("swap.same", "swap.other", "patch"))
        assert (row["donor_label"] >= 0) == (row["donor"] is not None)
        assert (row["energy"] is not None) == (kind in ("noise.core", "noise.spurious", "feature", "control"))
        assert (row["p_sd"] is not None) == (kind == "patch")
        assert 0 <= row["p_true"] <= 1
        assert row["group"] == "/".join([row["image"].partition("/")[0]] * 2)


def test_passes_of_the_audits_are_the_rows_they_asked(finished: toys.Scanned) -> None:
    counted: dict[str, int] = {"noise": 0, "feature_drop": 0, "region_swap": 0, "patch_swap": 0}
    of_kind = {"noise": "noise", "feature": "feature_drop", "control": "feature_drop", "swap": "region_swap"}
    for row in finished.rows:
        kind = row["condition"].partition(":")[0].partition(".")[0]
        if kind == "patch":
            counted["patch_swap"] += 4 + 1  # passes, and one without dropout
        elif kind != "clean":
            counted[of_kind[kind]] += 1
    assert {a.name: a.passes for a in finished.record.audits} == counted
