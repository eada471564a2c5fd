"""`spuraudit demo` as a stranger runs it: what it finds, how long it may take, and what the README shows of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from spuraudit.runs.demo import CORNERS, NAMES

ROOT = Path(__file__).resolve().parent.parent
#: Class -> 1-based cell of its decoy on the 7x7 grid.
DECOY_CELLS = {NAMES[label]: 1 + (top // 4) * 7 + left // 4 for label, (top, left) in CORNERS.items()}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run folder and what was printed on stdout."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "spuraudit", "demo", "--output", str(folder / "demo"), "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "demo").glob("run-*")
    return run, done.stdout


@pytest.fixture(scope="module")
def record(demo: tuple[Path, str]) -> dict[str, Any]:
    return json.loads((demo[0] / "scan.json").read_text(encoding="utf-8"))


def test_the_decoy_cell_is_ranked_first_for_every_decoyed_class(record: dict[str, Any]) -> None:
    for name, cell in DECOY_CELLS.items():
        first = next(f for f in record["findings"] if f["class_name"] == name)
        assert first["suspected"], name
        assert first["feature"] == f"cell {cell}", name
        assert first["q"] <= 0.05


def test_classes_without_a_decoy_stay_clear(record: dict[str, Any]) -> None:
    suspected = {f["class_name"] for f in record["findings"] if f["suspected"]}
    assert suspected == set(DECOY_CELLS)


def test_the_argmin_is_the_decoy_for_95_percent_of_the_right_sources(demo: tuple[Path, str]) -> None:
    """Straight from the observations, not through the audit: mean certainty per source and cell, then argmin."""
    rows = [
        row for part in sorted((demo[0] / "observations").glob("*.parquet")) for row in pq.read_table(part).to_pylist()
    ]
    right = {row["image"] for row in rows if row["condition"] == "clean" and row["predicted"] == row["label"]}
    certainty: dict[tuple[str, int], list[float]] = {}
    label_of: dict[str, str] = {}
    for row in rows:
        cell = re.fullmatch(r"patch:(\d+)", row["condition"])
        name = NAMES[row["label"]]
        if cell and int(cell[1]) and name in DECOY_CELLS and row["image"] in right:
            certainty.setdefault((row["image"], int(cell[1])), []).append(row["p_true"])
            label_of[row["image"]] = name
    hits = []
    for image, name in label_of.items():
        means = [np.mean(certainty[image, cell]) for cell in range(1, 50)]
        hits.append(int(np.argmin(means)) + 1 == DECOY_CELLS[name])
    assert len(hits) >= 40
    assert np.mean(hits) >= 0.95


def test_the_readme_shows_what_the_demo_prints(demo: tuple[Path, str]) -> None:
    """Same lines; numbers may move a little, since processors differ in the last bits of a training."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- output of `spuraudit demo`.*?-->\n```text\n(.*?)```", readme, flags=re.DOTALL)
    shown, printed = ([line.strip() for line in text.splitlines() if line.strip()] for text in (block, demo[1]))
    number = r"[-+]?\d+(?:\.\d+)?(?:e-?\d+)?"
    head = [line for line in shown if line.startswith(("Clean", "Core", "Spurious", "RCS", "Region"))]
    assert [re.sub(number, "#", line) for line in head] == [
        re.sub(number, "#", line) for line in printed if line.startswith(("Clean", "Core", "Spurious", "RCS", "Region"))
    ]
    for line in head:
        twin = next(other for other in printed if other.split("  ")[0] == line.split("  ")[0])
        values = zip(re.findall(number, line), re.findall(number, twin), strict=True)
        assert all(abs(float(a) - float(b)) <= (0.3 if "RCS" in line else 10) for a, b in values), (line, twin)
    suspects = {(line.split()[1], line.split()[3]) for line in shown if re.match(r"F\d{3}", line)}
    assert suspects == {(line.split()[1], line.split()[3]) for line in printed if re.match(r"F\d{3}", line)}


def test_the_report_is_one_file_below_ten_megabytes(demo: tuple[Path, str]) -> None:
    report = demo[0] / "report.html"
    assert 50_000 < report.stat().st_size < 10_000_000
    assert "cell 49" in report.read_text(encoding="utf-8")
