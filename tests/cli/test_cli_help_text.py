"""Docstrings as help."""

from __future__ import annotations

from itertools import pairwise

import pytest
from typer.testing import CliRunner

from spuraudit.cli.app import app
from spuraudit.cli.help_text import flowing


def test_paragraphs_flow_and_examples_keep_their_lines() -> None:
    text = "Does this\nand that.\n\nExample: one\nExample: two\n  which goes on\n\nA list:\n- first\n- second\nof two"
    assert flowing(text) == (
        "Does this and that.\n\nExample: one\nExample: two\n  which goes on\n\nA list:\n- first\n- second of two"
    )


def test_nothing_to_say_is_nothing() -> None:
    """As under python -OO, which drops docstrings."""
    assert flowing("") == ""
    assert flowing("One.\n\n\n\nTwo.") == "One.\n\nTwo."


@pytest.mark.parametrize("command", [["demo"], ["data", "check"], ["models", "info"]])
def test_no_line_of_a_paragraph_ends_early(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the next word would still have fitted, the terminal would show the docstring's lines, not its own."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*command, "--help"]).output.partition("╭")[0]
    lines = [line.strip() for line in shown.splitlines()]
    for line, after in pairwise(lines):
        if line and after and not after.startswith("Example"):
            assert len(line) + 1 + len(after.split()[0]) > 78
