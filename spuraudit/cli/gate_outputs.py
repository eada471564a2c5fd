"""Files and messages that `spuraudit gate` makes of a verdict for CI: JUnit, SARIF, Markdown, GitHub Actions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli.options import OUTPUT
from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Verdict

Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="JUnit XML: a test case per gate, for any CI.", rich_help_panel=OUTPUT
    ),
]
Sarif = Annotated[
    Path | None,
    typer.Option("--sarif", metavar="FILE", help="SARIF 2.1.0, for code scanning.", rich_help_panel=OUTPUT),
]
Markdown = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="A comment for a pull request.", rich_help_panel=OUTPUT),
]


def write_outputs(
    verdict: Verdict, record: ScanRecord, *, junit: Path | None, sarif: Path | None, markdown: Path | None
) -> None:
    """Write the files that were asked for; in GitHub Actions, annotate and add to the summary of the step as well.

    Everything is rendered before anything is written, and each file is whole or unchanged. Raises UsageError where two
    outputs share a file and RunError where one cannot be written. What GitHub shows never changes the exit code.
    """
    from spuraudit.gates.outputs import comment, junit_xml, sarif_json
    from spuraudit.record.folder import write_bytes

    asked = [file.absolute() for file in (junit, sarif, markdown) if file is not None]
    for place, file in enumerate(asked):
        if file in asked[:place]:
            raise UsageError(f"{file}: two outputs would be written here.", "Give each of them a file of its own.")
    files: list[tuple[Path, bytes]] = []
    if junit is not None:
        files.append((junit, junit_xml(verdict)))
    if sarif is not None:
        files.append((sarif, sarif_json(verdict, record)))
    if markdown is not None:
        files.append((markdown, comment(verdict).encode()))
    for file, content in files:
        write_bytes(file, content)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate(verdict)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _add_summary(Path(summary), verdict, record)


def _annotate(verdict: Verdict) -> None:
    """On stderr, which the runner reads too: stdout may lead into a file."""
    from spuraudit.gates.outputs import annotation_lines

    for line in annotation_lines(verdict):
        print(line, file=sys.stderr)


def _add_summary(file: Path, verdict: Verdict, record: ScanRecord) -> None:
    """Append to the summary; what stands there already counts towards GitHub's limit."""
    from spuraudit.gates.outputs import step_summary
    from spuraudit.gates.outputs.github import LIMIT_SUMMARY, MOST_SUMMARY

    try:
        there = file.stat().st_size if file.exists() else 0
        text = step_summary(verdict, record, MOST_SUMMARY - there).encode()
        if there + len(text) > LIMIT_SUMMARY:
            print(f"The step summary is full; the verdict is not in it: {file}", file=sys.stderr)
            return
        with file.open("ab") as summary:
            summary.write(text)
    except OSError as error:
        print(f"The step summary could not be written ({error.strerror}): {file}", file=sys.stderr)
