"""Files and messages that `spuraudit gate` makes of a verdict for CI: JUnit, SARIF, Markdown, GitHub Actions.

A file of an earlier verdict never outlives a call that ended with an error: a CI system would read it as a green one.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli.options import OUTPUT
from spuraudit.errors import RunError, SpurauditError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Verdict

_HEAD = 2000
_OURS = (b'<testsuites name="spuraudit"', b'"driver": {\n     "name": "spuraudit"', b"<!-- spuraudit:verdict -->")
"""What a file of ours has in its first bytes: JUnit, SARIF, Markdown."""


def _withdraw(context: typer.Context, file: Path | None) -> Path | None:
    """An earlier output goes away as soon as its option is parsed: the next option may be one that cannot be."""
    if file is not None and not context.resilient_parsing and _is_ours(file):
        file.unlink(missing_ok=True)
    return file


def _is_ours(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    return any(sign in head for sign in _OURS)


Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        metavar="FILE",
        help="JUnit XML: a test case per gate, for any CI.",
        rich_help_panel=OUTPUT,
        callback=_withdraw,
        is_eager=True,
    ),
]
Sarif = Annotated[
    Path | None,
    typer.Option(
        "--sarif",
        metavar="FILE",
        help="SARIF 2.1.0, for code scanning.",
        rich_help_panel=OUTPUT,
        callback=_withdraw,
        is_eager=True,
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        metavar="FILE",
        help="A comment for a pull request.",
        rich_help_panel=OUTPUT,
        callback=_withdraw,
        is_eager=True,
    ),
]


@dataclass(frozen=True)
class Outputs:
    """The files that were asked for."""

    junit: Path | None = None
    sarif: Path | None = None
    markdown: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Those that are not None."""
        return [file for file in (self.junit, self.sarif, self.markdown) if file is not None]


def check_outputs(outputs: Outputs, inputs: Sequence[Path | None]) -> None:
    """Raises UsageError where two outputs, or an output and an input, are one file. Touches nothing."""
    taken = {file.resolve() for file in inputs if file is not None}
    for file in outputs.files:
        if file.resolve() in taken:
            raise UsageError(
                f"{file}: an output would be written here, and it is an input or another output.",
                "Give each output a file of its own.",
            )
        taken.add(file.resolve())


@contextmanager
def judging(outputs: Outputs) -> Iterator[None]:
    """Inside, no output of an earlier call is left. Where it ends with an error, the outputs say so; it goes on.

    An interruption leaves no outputs.
    """
    _remove(outputs)
    try:
        yield
    except Exception as error:
        _remove(outputs)
        if isinstance(error, SpurauditError):
            _write_unjudged(outputs, error.message, error.hint)
        else:
            _write_unjudged(outputs, f"{type(error).__name__}: {error}", None)
        raise
    except BaseException:
        _remove(outputs)
        raise


def _remove(outputs: Outputs) -> None:
    from spuraudit.record.folder import is_stream

    for file in outputs.files:
        if not is_stream(file):
            with suppress(OSError):  # a folder, or a place that cannot be written to: writing will say so
                file.unlink(missing_ok=True)


def write_outputs(verdict: Verdict, record: ScanRecord, outputs: Outputs) -> None:
    """Write the files that were asked for; in GitHub Actions, annotate and add to the summary of the step as well.

    Everything is rendered before anything is written. Raises RunError where a file cannot be written. What GitHub shows
    never changes the exit code.
    """
    from spuraudit.gates.outputs import annotation_lines, comment, junit_xml, sarif_json, step_summary
    from spuraudit.gates.outputs.github import MOST_SUMMARY
    from spuraudit.record.folder import write_bytes

    files: list[tuple[Path, bytes]] = []
    if outputs.junit is not None:
        files.append((outputs.junit, junit_xml(verdict)))
    if outputs.sarif is not None:
        files.append((outputs.sarif, sarif_json(verdict, record)))
    if outputs.markdown is not None:
        files.append((outputs.markdown, comment(verdict).encode()))
    for file, content in files:
        write_bytes(file, content)
    _tell_github(annotation_lines(verdict), lambda there: step_summary(verdict, record, MOST_SUMMARY - there))


def _write_unjudged(outputs: Outputs, message: str, hint: str | None) -> None:
    """Say in every output that there is no verdict. One that cannot be written stays away."""
    from spuraudit.gates import outputs as forms
    from spuraudit.record.folder import write_bytes

    contents = (
        (outputs.junit, forms.junit_unjudged(message, hint)),
        (outputs.sarif, forms.sarif_unjudged(message, hint)),
        (outputs.markdown, forms.comment_unjudged(message, hint).encode()),
    )
    for file, content in contents:
        if file is not None:
            with suppress(RunError):
                write_bytes(file, content)
    _tell_github([forms.annotation_unjudged(message, hint)], lambda _: forms.unjudged(message, hint))


def _tell_github(annotations: Sequence[str], summary: Callable[[int], str]) -> None:
    """Annotations on stderr, which the runner reads too: stdout may lead into a file. Then the summary of the step."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations:
            print(line, file=sys.stderr)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        _add_summary(Path(file), summary)


def _add_summary(file: Path, summary: Callable[[int], str]) -> None:
    """Append to the summary; what stands there already, in bytes, counts towards GitHub's limit."""
    from spuraudit.gates.outputs.github import LIMIT_SUMMARY

    try:
        there = file.stat().st_size if file.exists() else 0
        text = summary(there).encode()
        if there + len(text) > LIMIT_SUMMARY:
            print(f"The step summary is full; the verdict is not in it: {file}", file=sys.stderr)
            return
        with file.open("ab") as stream:
            stream.write(text)
    except OSError as error:
        print(f"The step summary could not be written ({error.strerror}): {file}", file=sys.stderr)
