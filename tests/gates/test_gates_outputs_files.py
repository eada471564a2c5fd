"""The options of `spuraudit gate` that write files, and what it says inside GitHub Actions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from outputs_verdicts import finding, gate, mixed, scanned, verdict
from typer.testing import CliRunner

from spuraudit.cli.gate_outputs import Junit, Markdown, Outputs, Sarif, write_outputs
from spuraudit.errors import RunError
from spuraudit.gates.outputs import annotation_lines, comment, junit_xml, sarif_json, step_summary
from spuraudit.gates.outputs.github import LIMIT_SUMMARY, MOST_SUMMARY

RECORD = scanned(finding(1))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may themselves run in GitHub Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_the_options_write_what_the_writers_return(tmp_path: Path) -> None:
    app = typer.Typer()

    @app.command()
    def command(junit: Junit = None, sarif: Sarif = None, markdown: Markdown = None) -> None:
        write_outputs(mixed(), RECORD, Outputs(junit, sarif, markdown))

    files = [tmp_path / "out" / name for name in ("junit.xml", "gate.sarif", "comment.md")]
    options = ["--junit", str(files[0]), "--sarif", str(files[1]), "--markdown", str(files[2])]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    contents = [file.read_bytes() for file in files]
    assert contents == [junit_xml(mixed()), sarif_json(mixed(), RECORD), comment(mixed()).encode()]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)


def test_without_options_nothing_is_written_or_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_outputs(mixed(), RECORD, Outputs())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(RunError, match="cannot be written"):
        write_outputs(mixed(), RECORD, Outputs(tmp_path / "file" / "below"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("value", ["", "false", "1"])
def test_annotations_only_where_github_says_it_is_there(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", value)
    write_outputs(mixed(), RECORD, Outputs())
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    write_outputs(mixed(), RECORD, Outputs())
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()) == ("", annotation_lines(mixed()))


def test_the_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("Before.\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for _ in range(2):
        write_outputs(mixed(), RECORD, Outputs())
    assert summary.read_text() == "Before.\n" + 2 * step_summary(mixed(), RECORD)


def test_what_stands_in_the_summary_counts_towards_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    large = verdict(*(gate(f"g{number}", text="x" * 900) for number in range(900)))
    assert len(step_summary(large, RECORD).encode()) > MOST_SUMMARY - 100_000
    for there in (0, 500_000, MOST_SUMMARY, LIMIT_SUMMARY - 10):
        summary.write_text("x" * there)
        write_outputs(large, RECORD, Outputs())
        assert summary.stat().st_size <= LIMIT_SUMMARY
        assert ("900 of 900 gates failed." in summary.read_text()) is (there < LIMIT_SUMMARY - 10)
    assert "The step summary is full" in capsys.readouterr().err


def test_a_summary_that_cannot_be_written_is_said_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    write_outputs(mixed(), RECORD, Outputs(tmp_path / "junit.xml"))
    assert (tmp_path / "junit.xml").is_file()
    assert "could not be written" in capsys.readouterr().err


def test_the_outputs_need_nothing_heavy() -> None:
    blocked = ("torch", "torchvision", "timm", "plotly", "jinja2", "PIL", "sklearn")
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import spuraudit.gates.outputs, spuraudit.cli.gate_outputs; print('loaded')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "loaded\n", done.stderr
