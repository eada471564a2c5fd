"""The other forms of a report: CSV, Markdown, JSON, and the choice by extension."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import sample_run

from spuraudit.errors import RunError, UsageError
from spuraudit.record.folder import read_record, read_verdict
from spuraudit.record.scan import ScanRecord
from spuraudit.report import render, write
from spuraudit.report.csv_table import COLUMNS, csv_text
from spuraudit.report.markdown import MOST, markdown_text, safe


def test_csv_has_one_row_per_measurement_and_raw_numbers(tmp_path: Path) -> None:
    record = read_record(sample_run.birds_run(tmp_path))
    text = csv_text(record)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(record.measurements)
    assert text.count("\r\n") == len(rows) + 1
    assert tuple(rows[0]) == COLUMNS
    rcs = next(row for row in rows if row["metric"] == "rcs" and row["sigma"] == "0.25" and not row["class"])
    measured = next(item for item in record.measurements if item.metric == "rcs" and item.scope == {"sigma": 0.25})
    assert measured.ci is not None
    assert float(rcs["value"]) == measured.value
    assert (float(rcs["ci_low"]), float(rcs["ci_high"])) == measured.ci
    assert rcs["n"] == "640"
    assert rcs["definition"] == sample_run.NOISE
    assert rcs["model_sha256"] == record.model.sha256
    pair = next(row for row in rows if row["donor_class"])
    assert (pair["class"], pair["donor_class"], pair["feature"]) == ("landbird", "waterbird", "background")


def test_csv_carries_every_scope_key_of_the_record(tmp_path: Path) -> None:
    runs = (sample_run.birds_run(tmp_path / "a"), sample_run.digits_run(tmp_path / "b"))
    for run in runs:
        keys = {key for item in read_record(run).measurements for key in item.scope}
        assert keys <= set(COLUMNS)


def test_csv_keeps_hostile_names_as_they_are(tmp_path: Path) -> None:
    record = read_record(sample_run.hostile_run(tmp_path))
    rows = list(csv.DictReader(io.StringIO(csv_text(record), newline="")))
    assert {row["class"] for row in rows} == {"", *(item.name for item in record.data.classes)}


def test_markdown_says_verdict_gates_numbers_and_findings(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path, sample_run.verdict("fail", "pass"))
    text = markdown_text(read_record(run), read_verdict(run)).replace("\u202f", " ")
    lines = text.splitlines()
    assert lines[0] == "<!-- spuraudit run=9f2c41d07ab35e68 -->"
    assert lines[1] == "## birds.pt on drawn birds"
    assert "**Failed.** The model fails 1 of 2 gates." in text
    assert "| Failed | background-gap | swap\\_gap, feature = background: at most 10 points | 55.0 points |" in text
    assert "| 0.263 | 0.213 to 0.313 | 640 |" in text
    assert "| F001 | waterbird | background | Region swap | 63.5 points (58.5 to 68.5) | q &lt; 0.001 | 320 |" in text
    assert "a87a6e20892a" in text


def test_markdown_stays_below_the_limit_of_a_comment(tmp_path: Path) -> None:
    record = read_record(sample_run.thousand_run(tmp_path))
    text = markdown_text(record, None)
    assert len(text) < MOST
    suspected = sum(finding.suspected for finding in record.findings)
    assert f"{suspected - 20} more suspected features in report.html." in text


def test_markdown_sheds_rows_before_sections_and_says_so(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    record = read_record(run)
    findings = [record.findings[0].model_copy(update={"feature": "<" * 400}) for _ in range(40)]
    judged = sample_run.verdict(*["fail"] * 60)
    gates = [
        gate.model_copy(update={"rule": gate.rule.model_copy(update={"id": "&" * 400, "metric": "&" * 400})})
        for gate in judged.gates
    ]
    text = markdown_text(record.model_copy(update={"findings": findings}), judged.model_copy(update={"gates": gates}))
    assert len(text) < MOST
    assert "50 more gates in report.html." in text
    assert "20 more suspected features in report.html." in text
    assert "### Key numbers" in text
    assert "Left out" not in text


def test_markdown_drops_a_section_that_cannot_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_record(sample_run.birds_run(tmp_path))
    monkeypatch.setattr("spuraudit.report.markdown.MOST", 1_200)
    text = markdown_text(record, None)
    assert len(text) < 1_200
    assert "The audit found 4 suspected spurious features." in text
    assert "Left out because of the length limit: key numbers" in text


def test_markdown_cannot_be_broken_by_names(tmp_path: Path) -> None:
    text = markdown_text(read_record(sample_run.hostile_run(tmp_path)), None)
    body = text.split("\n", 1)[1]
    assert "<script" not in body
    assert "<img" not in body
    assert safe("a|b`c`<b>*d*\n# e") == "a\\|b\\`c\\`&lt;b&gt;\\*d\\* \\#&#8203; e"


def test_write_chooses_by_extension(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path / "run", sample_run.verdict("pass"))
    page = write(run, tmp_path / "out" / "page.HTML", charts=False, title="Mine")
    assert page.read_text() == render(run, charts=False, title="Mine")
    assert write(run, tmp_path / "n.csv").read_bytes().decode() == csv_text(read_record(run))
    assert "## Mine" in write(run, tmp_path / "m.md", title="Mine").read_text()
    again = write(run, tmp_path / "again.json")
    assert json.loads(again.read_bytes()) == json.loads((run / "scan.json").read_bytes())
    assert ScanRecord.model_validate_json(again.read_bytes()) == read_record(run)


@pytest.mark.parametrize(("name", "hint"), [("page.htm", "'.html'"), ("page.pdf", ".html, .json"), ("page", ".html")])
def test_unknown_extension_is_refused_before_anything_is_read(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no report can be written as") as caught:
        write(tmp_path / "no-run-here", tmp_path / name)
    assert hint in (caught.value.hint or "")


def test_nothing_is_written_where_the_run_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        write(tmp_path / "nothing", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
