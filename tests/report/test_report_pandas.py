"""The CSV of a run as pandas reads it, with no options: the same numbers, names and gaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
import sample_run

from spuraudit.record.folder import read_record
from spuraudit.report import write
from spuraudit.report.csv_table import COLUMNS, SCOPE


@pytest.mark.parametrize("made", [sample_run.birds_run, sample_run.digits_run, sample_run.hostile_run])
def test_pandas_reads_the_numbers_of_the_record(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    run = made(tmp_path / "run")
    file = tmp_path / "numbers.csv"
    write(run, file)
    table = pandas.read_csv(file)
    measured = read_record(run).measurements
    assert tuple(table.columns) == COLUMNS
    assert len(table) == len(measured)
    for row, item in zip(table.to_dict("records"), measured, strict=True):
        assert row["metric"] == item.metric
        assert row["n"] == item.n
        assert math.isnan(row["value"]) if item.value is None else row["value"] == item.value
        if item.ci is not None:
            assert (row["ci_low"], row["ci_high"]) == item.ci
        for key in SCOPE:
            said = item.scope.get(key)
            assert pandas.isna(row[key]) if said is None else row[key] == said
    # Statistics on a column need numbers in it, not texts.
    assert table["value"].dtype == float
    assert table["ci_low"].dtype == float
