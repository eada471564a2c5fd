"""Docstrings as help: paragraphs flow to the width of the terminal, examples and tables keep their lines."""

from __future__ import annotations

import inspect
import re

import typer

_OWN_LINE = re.compile(r"Example: |\s|- ")


def flow(app: typer.Typer) -> None:
    """Give every command of the app and of its groups its docstring as help, reflowed."""
    for command in app.registered_commands:
        if command.callback is not None and command.help is None:
            command.help = flowing(inspect.getdoc(command.callback) or "") or None
    for group in app.registered_groups:
        if group.typer_instance is not None:
            flow(group.typer_instance)


def flowing(text: str) -> str:
    """Each paragraph on one line; examples, indented lines and list items begin lines of their own."""
    paragraphs = re.split(r"\n{2,}", text.strip())
    return "\n\n".join(_joined(paragraph.splitlines()) for paragraph in paragraphs if paragraph)


def _joined(lines: list[str]) -> str:
    joined = lines[0]
    for line in lines[1:]:
        joined += f"\n{line}" if _OWN_LINE.match(line) else f" {line}"
    return joined
