"""`spuraudit report`, as the command line calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sample_run
import typer
from typer.testing import CliRunner

from spuraudit.cli.report import report
from spuraudit.errors import RunError, UsageError
from spuraudit.record.folder import read_record

app = typer.Typer()
app.command()(report)
runner = CliRunner()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return sample_run.healthy_run(tmp_path / "run")


def test_default_is_a_page_in_the_run_folder(run: Path) -> None:
    result = runner.invoke(app, [str(run), "--no-charts"])
    assert result.exit_code == 0
    assert result.stdout == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!doctype html>")


def test_several_outputs_by_extension(run: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("a.html", "b.md", "c.csv", "d.json")]
    arguments = [word for file in outputs for word in ("-o", str(file))]
    result = runner.invoke(app, [str(run), "--no-charts", "--title", "Mine", *arguments])
    assert result.stdout.split() == [str(file) for file in outputs]
    assert all(file.stat().st_size > 200 for file in outputs)
    assert "<title>Mine" in outputs[0].read_text()
    assert not (run / "report.html").exists()


def test_several_runs_each_get_their_page(run: Path, tmp_path: Path) -> None:
    second = sample_run.healthy_run(tmp_path / "second")
    result = runner.invoke(app, [str(run), str(second / "scan.json"), "--no-charts"])
    assert result.stdout.split() == [str(run / "report.html"), str(second / "report.html")]


def test_several_runs_go_on_one_page(run: Path, tmp_path: Path) -> None:
    other = sample_run.healthy_run(tmp_path / "healthy")
    page = tmp_path / "a.html"
    result = runner.invoke(app, [str(run), str(other), "-o", str(page)])
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    for folder in (run, other):
        assert read_record(folder).model.name in text


@pytest.mark.parametrize(
    ("file", "more", "says"),
    [
        ("a.csv", [], "several runs go on one HTML page"),
        ("a.html", ["--against", "zoo"], "--against has no effect"),
    ],
)
def test_what_the_page_of_several_runs_cannot_be_is_refused(
    run: Path, tmp_path: Path, file: str, more: list[str], says: str
) -> None:
    result = runner.invoke(app, [str(run), str(run), "-o", str(tmp_path / file), *more])
    assert isinstance(result.exception, UsageError)
    assert says in result.exception.message
    assert not (tmp_path / file).exists()


@pytest.mark.parametrize("option", [("--logo", "logo.png"), ("--notes", "notes.md"), ("--max-report-mb", "5")])
def test_what_belongs_to_a_page_is_refused_without_one(run: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    result = runner.invoke(app, [str(run), "-o", str(tmp_path / "a.csv"), *option])
    assert isinstance(result.exception, UsageError)
    assert f"{option[0]} has no effect: no HTML page is written." in result.exception.message
    assert not (tmp_path / "a.csv").exists()


def test_a_bad_extension_stops_before_the_first_file(run: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, [str(run), "-o", str(tmp_path / "a.md"), "-o", str(tmp_path / "b.pdf")])
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "a.md").exists()


def test_no_run_is_one_clear_error(tmp_path: Path) -> None:
    result = runner.invoke(app, [str(tmp_path)])
    assert isinstance(result.exception, RunError)
    assert "no run here" in result.exception.message


def test_declaring_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, spuraudit.cli.report; "
        "print([name for name in ('jinja2', 'plotly', 'torch', 'pydantic', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
