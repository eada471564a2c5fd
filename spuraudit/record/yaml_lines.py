"""YAML that remembers its lines, so that a wrong value is reported as file and line.

Only plain YAML is read: no tags that build objects, no aliases (a few lines of nested ones expand to gigabytes), no
key twice. `parse` checks a document against a pydantic model and turns every complaint into the file's own terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from spuraudit.errors import ConfigError, did_you_mean
from spuraudit.record.text_file import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

Key = str | int
M = TypeVar("M", bound=BaseModel)

_TOO_LARGE = ("", "Put long lists of images into a CSV file.")
_DEEPEST = 64
_SHOWN = 5
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_QUOTES = "YAML reads {value} as {kind}; put it in quotes to mean the text."
_KINDS = {bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "a mapping", str: "text"}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}


@dataclass(frozen=True)
class YamlDocument:
    """A parsed file: `value` is plain Python data, `name` what messages call the file."""

    name: str
    value: Any
    lines: Mapping[tuple[Key, ...], int]

    def line(self, *path: Key) -> int:
        """1-based line of the key at `path`, such as `line("classes", 1, "name")`; of its nearest known ancestor."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def error(self, path: Sequence[Key], problem: str, hint: str | None = None) -> ConfigError:
        """A ConfigError that names file, line and key. Returned, not raised."""
        where = _dotted(path)
        return ConfigError(
            f"{self.name}, line {self.line(*path)}: {where + ': ' if where else ''}{problem}",
            hint or "Correct the line and run the command again.",
        )


def load(source: Path | str, name: str | None = None) -> YamlDocument:
    """Read YAML from a file (a Path) or from text (a str, called `name` in messages).

    Raises ConfigError where the file is unreadable, malformed, too large, nested too deep, or uses aliases, tags or a
    key twice. An empty file has the value None.
    """
    if isinstance(source, Path):
        name, text = name or str(source), read_text(source, name or str(source), too_large=_TOO_LARGE)
    else:
        name, text = name or "YAML text", source
    try:
        _refuse_fancy(name, text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _malformed(name, error) from error
    except yaml.YAMLError as error:  # a control character: has a position but no mark
        raise ConfigError(f"{name}: not readable as YAML ({error}).", "Save the file as plain UTF-8 text.") from error
    lines: dict[tuple[Key, ...], int] = {}
    value = None if root is None else _Builder(name, lines).build(root, ())
    return YamlDocument(name, value, lines)


def parse(document: YamlDocument, model: type[M]) -> M:
    """Check a document against a pydantic model. Raises ConfigError naming file, line, key and what was expected."""
    value = {} if document.value is None else document.value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
    problems = [_explain(document, model, detail) for detail in details[:_SHOWN]]
    more = len(details) - len(problems)
    text = "\n".join(problem for problem, _ in problems) + (f"\n... and {more} more problems." if more else "")
    hint = next((hint for _, hint in problems if hint), "Correct the line and run the command again.")
    raise ConfigError(text, hint)


def _at(name: str, mark: Any, problem: str, hint: str) -> ConfigError:
    return ConfigError(f"{name}, line {mark.line + 1 if mark else 1}: {problem}.", hint)


def _malformed(name: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    what = f"malformed YAML: {error.problem or error.context}"
    if mark is not None:
        what += f" (column {mark.column + 1})"
    return _at(name, mark, what, "Indent with spaces, and put values that hold ': ', '#' or start with '{' in quotes.")


def _refuse_fancy(name: str, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _at(name, event.start_mark, f"alias *{event.anchor} is not supported", "Write the value out.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _at(name, event.start_mark, f"nested more than {_DEEPEST} levels deep", "Flatten the file.")


class _Builder:
    """Plain values from YAML nodes, noting the line of every key on the way."""

    def __init__(self, name: str, lines: dict[tuple[Key, ...], int]) -> None:
        self.name = name
        self.lines = lines
        self.scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: tuple[Key, ...]) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            raise _at(self.name, node.start_mark, f"tag {node.tag!r} is not supported", "Write plain lists and keys.")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, number)) for number, child in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: tuple[Key, ...]) -> dict[Key, Any]:
        built: dict[Key, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str | int):
                raise _at(self.name, key_node.start_mark, "a key must be text", "Put the key in quotes.")
            if key in built:
                raise _at(self.name, key_node.start_mark, f"key {key!r} appears twice", "Keep one of them.")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            built[key] = self.build(value_node, (*path, key))
        return built

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self.scalars.construct_object(node, deep=True)
        except yaml.MarkedYAMLError as error:
            raise _malformed(self.name, error) from error
        except ValueError as error:  # 2024-13-45 looks like a date and is none
            raise _at(self.name, node.start_mark, f"{error}", "Put the value in quotes.") from error


def _dotted(path: Sequence[Key]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _explain(document: YamlDocument, model: type[BaseModel], detail: ErrorDetails) -> tuple[str, str | None]:
    path = tuple(detail["loc"])
    kind, found = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        near = did_you_mean(str(path[-1]), known)
        problem = f"unknown key. {near + ' ' if near else ''}Known keys: {', '.join(known)}."
        return document.error(path, problem).message, None
    if kind == "missing":
        line_of = document.line(*path[:-1])
        return f"{document.name}, line {line_of}: {_dotted(path)}: required, but missing.", None
    if kind in _EXPECTED:
        problem = f"expected {_EXPECTED[kind]}, found {_shown(found)}."
        hint = _quote_hint(found) if kind == "string_type" else None
        return document.error(path, problem).message, hint
    if kind == "literal_error":
        problem = f"expected {detail['ctx']['expected']}, found {_shown(found)}."
        return document.error(path, problem).message, None
    message = str(detail["ctx"]["error"]) if kind == "value_error" else f"{detail['msg']}, found {_shown(found)}"
    return document.error(path, f"{message.rstrip('.')}.").message, None


def _quote_hint(found: object) -> str | None:
    if isinstance(found, list | dict) or found is None:
        return None
    return _QUOTES.format(value=_shown(found), kind=_KINDS.get(type(found), "a date"))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return _KINDS[type(value)]
    return repr(value) if isinstance(value, str) else str(value)


def _keys_at(model: type[BaseModel], path: Sequence[Key]) -> list[str]:
    """Names of the keys that the model at `path` knows."""
    here: type[BaseModel] | None = model
    for step in path:
        if here is None:
            break
        if isinstance(step, str) and (field := _field(here, step)) is not None:
            here = _model_in(field)
    return [] if here is None else [field.alias or name for name, field in here.model_fields.items()]


def _field(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return field.annotation
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
