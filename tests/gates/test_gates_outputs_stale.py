"""Nothing green of an earlier call outlives one that ended with exit code 2: no file, no verdict, no page."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gate_records import measured, record
from junitparser import Error, JUnitXml

from spuraudit.cli import gating
from spuraudit.cli.main import main
from spuraudit.gates.outputs.markdown import MARKER
from spuraudit.record.folder import to_json
from spuraudit.report import render

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = record(measured("rcs", 0.262, ci=(0.241, 0.283)))
FILES = ("o/j.xml", "o/s.json", "o/c.md")
CALL = ["gate", "run", "--junit", FILES[0], "--sarif", FILES[1], "--markdown", FILES[2]]


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has just passed, in the working directory, with its three files."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    Path("run").mkdir()
    Path("run/scan.json").write_bytes(to_json(RECORD))
    Path(".spuraudit.yaml").write_text("gates: [rcs >= 0.2]\n")
    assert main(CALL) == 0
    assert "PASSED" in Path("o/c.md").read_text()


def _typo() -> None:
    Path(".spuraudit.yaml").write_text("gates: [rcs > 0.2]\n")


def _unfinished() -> None:
    Path("run/scan.json").rename("run/plan.json")


def _gone() -> None:
    Path("run").rename("elsewhere")


def _no_run() -> None:
    _gone()
    Path("run").write_text("something else\n")


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "a typo in the config": (_typo, "rcs > 0.2"),
    "no gates": (lambda: Path(".spuraudit.yaml").unlink(), "There are no gates to judge"),
    "an unfinished run": (_unfinished, "this scan is unfinished"),
    "no run": (_gone, "no run here"),
    "a file that is no run": (_no_run, "not a run folder"),
    "half a record": (lambda: os.truncate("run/scan.json", 100), "not readable as JSON"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_after_an_error_every_file_says_that_there_is_no_verdict(what: str) -> None:
    change, message = ERRORS[what]
    change()
    assert main(CALL) == 2
    suite = JUnitXml.fromfile(FILES[0])
    assert (suite.tests, suite.failures, suite.errors) == (1, 0, 1)
    (problem,) = next(iter(next(iter(suite)))).result
    assert isinstance(problem, Error)
    assert message in problem.message
    (run,) = json.loads(Path(FILES[1]).read_bytes())["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [result["ruleId"] for result in run["results"]] == ["SPU004"]
    assert message in invocation["toolExecutionNotifications"][0]["message"]["text"]
    comment = Path(FILES[2]).read_text()
    assert comment.startswith(f"{MARKER}\n## spuraudit: NOT EVALUATED\n")
    assert "PASSED" not in comment
    assert not Path("run/verdict.json").exists()


def test_the_hint_is_in_every_file() -> None:
    _unfinished()
    assert main(CALL) == 2
    for name in FILES:
        assert "it resumes where it stopped" in Path(name).read_text()


def test_the_summary_and_an_annotation_say_it_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    _unfinished()
    capsys.readouterr()
    assert main(CALL) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("::")]
    assert said.startswith("::error title=spuraudit not evaluated::run: this scan is unfinished")
    assert Path("summary.md").read_text().startswith("## spuraudit: NOT EVALUATED\n\n**run: this scan is unfinished")


@pytest.mark.parametrize("option", [["--min-n", "few"], ["--min-n", "0"]])
def test_an_option_that_cannot_be_parsed_leaves_no_file(option: list[str]) -> None:
    assert main([*CALL, *option]) == 2
    assert main([*CALL[:2], *option, *CALL[2:]]) == 2
    assert not any(Path(name).exists() for name in FILES)


def test_completion_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from spuraudit.cli.app import app

    command = typer.main.get_command(app)
    context = command.make_context("spuraudit", ["gate"], resilient_parsing=True)
    _, chosen, _ = command.resolve_command(context, ["gate"])  # type: ignore[attr-defined]
    chosen.make_context("gate", CALL[1:], parent=context, resilient_parsing=True)
    assert all(Path(name).exists() for name in FILES)


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError()])
def test_a_crash_leaves_nothing_green(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(gating, "judge_run", crash)
    assert main(CALL) == 2
    assert JUnitXml.fromfile(FILES[0]).errors == 1
    assert "NOT EVALUATED" in Path(FILES[2]).read_text()
    assert not Path("run/verdict.json").exists()


def test_an_interruption_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gating, "judge_run", stop)
    assert main(CALL) == 130
    assert not any(Path(name).exists() for name in (*FILES, "run/verdict.json"))


def test_where_one_file_cannot_be_written_the_others_are_not_green() -> None:
    Path("o/c.md").unlink()
    Path("o/c.md").mkdir()
    assert main(CALL) == 2
    assert JUnitXml.fromfile(FILES[0]).errors == 1
    assert not Path("run/verdict.json").exists()


@pytest.mark.parametrize(
    ("sarif", "markdown"), [("o/j.xml", "o/c.md"), ("./o/../o/j.xml", "o/c.md"), ("o/s.json", "o/s.json")]
)
def test_two_outputs_cannot_share_a_file(sarif: str, markdown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "run", "--junit", "o/j.xml", "--sarif", sarif, "--markdown", markdown]) == 2
    assert "it is an input or another output" in capsys.readouterr().err.replace("\n", " ")
    assert not Path("o/j.xml").exists()


@pytest.mark.parametrize("name", ["run/scan.json", "run/verdict.json", ".spuraudit.yaml", "accepted.json", "m.pt"])
def test_an_output_never_takes_the_place_of_an_input(name: str) -> None:
    Path("m.pt").write_bytes(b"weights")
    assert main(["gate", "run", "--write-baseline", "accepted.json"]) == 0
    before = Path(name).read_bytes()
    given = ["--baseline", "accepted.json", "--model", "m.pt", "--markdown", name]
    assert main(["gate", "run", *given]) == 2
    assert Path(name).read_bytes() == before


def test_a_pipe_gets_the_verdict_and_stays_a_pipe() -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["gate", "run", "--markdown", "pipe"]) == 0
        assert os.read(reader, 100_000).startswith(MARKER.encode())
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(Path("pipe").lstat().st_mode)


def test_the_verdict_of_a_fix_is_not_that_of_a_run() -> None:
    Path("fix").mkdir()
    Path("fix/fix.json").write_text("{}")
    Path("fix/verdict.json").write_text("{}")
    assert main(["gate", "fix"]) == 2
    assert Path("fix/verdict.json").exists()


# The page in the run folder

PAGE = Path("run/report.html")
OLDER = "The verdict below is out of date"


@pytest.fixture
def page() -> str:
    """The page of the run with its verdict: passed."""
    text = render(Path("run"), charts=False)
    assert "Verdict: passed" in text
    PAGE.write_bytes(text.encode())
    return text


def test_a_page_with_this_verdict_stays_as_it_is(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["gate", "run"]) == 0
    assert PAGE.read_bytes().decode() == page
    assert "older verdict" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [
        ("rcs >= 0.3", 1, "FAILED: 1 of 2 gates failed."),
        ("core_accuracy >= 0.3", 2, "NOT EVALUATED: 1 of 2 gates could not be evaluated."),
        ("rcs > 0.3", 2, "NOT EVALUATED: the run could not be judged."),
    ],
)
def test_a_page_that_passed_says_above_its_verdict_that_it_is_older(
    page: str, rule: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for _ in range(2):
        assert main(["gate", "run", "--rule", rule]) == code
        text = PAGE.read_bytes().decode()
        assert text.count(OLDER) == 1
        assert text.index(OLDER) < text.index("Verdict: passed")
        assert f"The run was judged again. {said}" in text
        assert re.search("<title>.* · Passed · older verdict · spuraudit</title>", text)
    assert "shows an older verdict, and says so now. Renew it: spuraudit report run" in capsys.readouterr().err
    assert main(["gate", "run"]) == 0
    assert PAGE.read_bytes().decode() == page


@pytest.mark.parametrize(("rule", "code"), [("rcs >= 0.1", 0), ("rcs >= 0.3", 1), ("rcs > 0.3", 2)])
def test_a_page_without_a_verdict_shows_none_that_is_older(
    rule: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run/verdict.json").unlink()
    PAGE.write_text(text := render(Path("run"), charts=False), "utf-8")
    for more in ([], ["--quiet"]):
        capsys.readouterr()
        assert main(["gate", "run", "--rule", rule, *more]) == code
        said = capsys.readouterr().err
        assert "older" not in said
        assert ("report.html shows no verdict. To add it: spuraudit report run" in said) == (not more and code < 2)
        assert PAGE.read_text("utf-8") == text


def test_a_renewed_page_shows_the_new_verdict(page: str) -> None:
    assert main(["gate", "run", "--rule", "rcs >= 0.3"]) == 1
    assert main(["report", "run"]) == 0
    text = PAGE.read_bytes().decode()
    assert "Verdict: failed" in text
    assert OLDER not in text
    assert main(["gate", "run", "--rule", "rcs >= 0.3"]) == 1
    assert PAGE.read_bytes().decode() == text


def test_a_page_of_somebody_else_is_left_alone() -> None:
    PAGE.write_bytes(b"\xff<html>mine</html>")
    assert main(["gate", "run", "--rule", "rcs >= 0.3"]) == 1
    PAGE.write_bytes(b"<html>mine</html>")
    assert main(["gate", "run", "--rule", "rcs >= 0.3"]) == 1
    assert PAGE.read_bytes() == b"<html>mine</html>"


def test_a_verdict_beside_an_edited_record_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("run/scan.json").read_text()
    Path("run/scan.json").write_text(text.replace("0.262", "0.263"))
    assert main(["report", "run"]) == 2
    assert "judges a record with sha256" in capsys.readouterr().err.replace("\n", " ")
    assert not PAGE.exists()
