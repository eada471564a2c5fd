"""`[tool.spuraudit]` of a pyproject.toml, with the lines of its keys: Python's reader of TOML remembers none."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

from spuraudit.errors import ConfigError
from spuraudit.record.text_file import read_text
from spuraudit.record.yaml_lines import YamlDocument

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spuraudit.record.yaml_lines import Key

FILE_NAME = "pyproject.toml"
_TABLE = ("tool", "spuraudit")
_TOO_LARGE = ("", "A pyproject.toml is short: check the path.")
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")
_ITEM = re.compile(r"\s*[{\"']")


def has_table(file: Path) -> bool:
    """Whether a pyproject.toml has a `[tool.spuraudit]`. Raises ConfigError where it may and cannot be read."""
    text = read_text(file, str(file), too_large=_TOO_LARGE)
    return "spuraudit" in text and _table(file, text) is not None


def load_pyproject(file: Path) -> YamlDocument:
    """`[tool.spuraudit]` as if it were a config file. Raises ConfigError: unreadable, malformed, no such table."""
    text = read_text(file, str(file), too_large=_TOO_LARGE)
    value = _table(file, text)
    if value is None:
        raise ConfigError(
            f"{file}: there is no [tool.spuraudit].", "Add the table, or name a .spuraudit.yaml with --config."
        )
    return YamlDocument(f"{file} [tool.spuraudit]", value, _lines(text, value))


def _table(file: Path, text: str) -> Any:
    try:
        tools = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: malformed TOML: {error}.", "Correct the file and run the command again.") from error
    return tools.get("spuraudit") if isinstance(tools, dict) else None


def _lines(text: str, value: Any) -> dict[tuple[Key, ...], int]:
    """1-based lines: of headers, of keys, of items of a list that stand on lines of their own; else their parent's."""
    found: dict[tuple[Key, ...], int] = {}
    seen: Counter[tuple[str, ...]] = Counter()
    table: tuple[Key, ...] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            whole = _keys(header[2])
            table = None if whole[: len(_TABLE)] != _TABLE else whole[len(_TABLE) :]
            if table and header[1] == "[[":
                table, seen[whole] = (*table, seen[whole]), seen[whole] + 1
            if table is not None:
                found.setdefault(table, number)
        elif table is not None and (key := _KEY.match(line)):
            found.setdefault((*table, *_keys(key[1])), number)
    found.setdefault((), 1)
    for name in ("gates", "ignores"):
        if isinstance(value, dict) and isinstance(value.get(name), list) and (name,) in found:
            found.update(_item_lines(text, name, found[(name,)], len(value[name])))
    for path in _paths(value, ()):
        found.setdefault(path, found[path[:-1]])
    return found


def _item_lines(text: str, key: str, start: int, count: int) -> dict[tuple[Key, ...], int]:
    """Lines of the items of `key = [`, where each begins a line; nothing where they do not."""
    lines = []
    for number, line in enumerate(text.splitlines()[start:], start + 1):
        if line.lstrip().startswith("]"):
            break
        if _ITEM.match(line):
            lines.append(number)
    return {(key, place): number for place, number in enumerate(lines)} if len(lines) == count else {}


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _paths(value: Any, path: tuple[Key, ...]) -> Iterator[tuple[Key, ...]]:
    """Every path in a value, parents first."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from _paths(child, (*path, key))
