"""A card's section and model-index entry put into a README that exists; every other byte stays as it is.

The front matter is not written anew: its text is cut where YAML says that a node begins and ends.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from spuraudit.errors import UsageError
from spuraudit.report.card import TASK, key, markers, model_name, result, section, yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spuraudit.record.scan import ScanRecord

#: As the Hub and huggingface_hub find the front matter.
_FRONT = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$))")
_INDEX = "model-index"
_BOM = "\ufeff"
_MEND = "Correct the file, or write the card to a new one with -o."


def merge(text: str, record: ScanRecord, name: str = "README.md") -> str:
    """`text` with the run's entry in its model-index and the run's section between its markers.

    An entry and a section of the same dataset and split are replaced, others stay; a section that is not there yet is
    put at the end. Merging twice gives the same text. name: what messages call the file. Raises UsageError where the
    front matter is not YAML, its model-index is none, or the markers do not stand once each and in order.
    """
    mark, body = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    newline = "\r\n" if "\r\n" in body else "\n"
    found = _FRONT.match(body)
    if found is None:
        front = yaml_text({_INDEX: [{"name": model_name(record), "results": [result(record)]}]})
        head, rest = f"---{newline}{_lines(front, newline)}---{newline}{newline}", body
    else:
        front = _with_entry(found[2], record, newline, name)
        head, rest = f"{found[1]}{front}{found[3]}", body[found.end() :]
    return f"{mark}{head}{_with_section(rest, record, newline, name)}"


def _lines(text: str, newline: str) -> str:
    return text.replace("\n", newline)


def _with_section(text: str, record: ScanRecord, newline: str, name: str) -> str:
    begin, end = markers(key(record))
    written = _lines(section(record), newline)
    counts = text.count(begin), text.count(end)
    if counts == (0, 0):
        gap = (
            "" if not text.strip() or text.endswith(newline * 2) else newline if text.endswith(newline) else newline * 2
        )
        return f"{text}{gap}{written}"
    start, stop = text.find(begin), text.find(end)
    if counts != (1, 1) or stop < start:
        raise UsageError(f"{name}: {begin} and {end} must stand once each, in this order.", _MEND)
    return text[:start] + written.rstrip("\r\n") + text[stop + len(end) :]


def _with_entry(front: str, record: ScanRecord, newline: str, name: str) -> str:
    """The front matter, without the lines around it, with the run's entry."""
    root, data = _read(front, name)
    if _INDEX not in data:
        first = yaml_text({_INDEX: [{"name": model_name(record), "results": [result(record)]}]})
        kept = front if not front or front.endswith(("\n", "\r")) else front + newline
        return f"{kept}{_lines(first.rstrip(), newline)}"
    models = data[_INDEX] or []
    if not isinstance(models, list) or not all(isinstance(one, dict) for one in models):
        raise UsageError(f"{name}: its model-index is no list of models.", _MEND)
    node = next(value for key_node, value in root.value if key_node.value == _INDEX)
    model = _place_of_model(models, record)
    entries = (models[model].get("results") if model is not None else None) or []
    if not isinstance(entries, list):
        raise UsageError(f"{name}: the results of its model-index are no list.", _MEND)
    entry = next((place for place, one in enumerate(entries) if _ours(one, record)), None)
    if entries and model is not None:
        spliced = _spliced(
            front, _child(node.value[model], "results"), entry, (node, node.value[model]), record, newline
        )
        if spliced is not None:
            return spliced
    changed = _changed(models, model, entries, entry, record)
    start = next(key_node.start_mark.index for key_node, value in root.value if value is node)
    text = _lines(yaml_text({_INDEX: changed}).rstrip(), newline)
    return f"{front[:start]}{text}{front[_end_of_line(front, _last(node)) :]}"


def _read(front: str, name: str) -> tuple[Any, dict[str, Any]]:
    """The YAML as nodes, which know their places, and as plain values."""
    try:
        root, data = yaml.compose(front, Loader=yaml.SafeLoader), yaml.safe_load(front)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{name}: its front matter is not readable as YAML ({_first(error)}).", _MEND) from error
    if data is not None and not isinstance(data, dict):
        raise UsageError(f"{name}: its front matter is no mapping (key: value).", _MEND)
    return root, data or {}


def _first(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 2}: " if mark is not None else ""
    return where + str(getattr(error, "problem", None) or error).splitlines()[0]


def _place_of_model(models: Sequence[Mapping[str, Any]], record: ScanRecord) -> int | None:
    """The model of the run's name, else the only one: a card is about one model, however the run called its file."""
    named = [place for place, one in enumerate(models) if one.get("name") == model_name(record)]
    return named[0] if named else 0 if len(models) == 1 else None


def _ours(entry: Any, record: ScanRecord) -> bool:
    """Whether an entry of results came from this program and is about the run's dataset and split."""
    try:
        task, dataset, metrics = entry["task"]["type"], entry["dataset"], entry["metrics"]
        made_here = all("definition" in metric["args"] for metric in metrics)
        mine = result(record)["dataset"]
        return task == TASK and made_here and all(dataset.get(name) == mine.get(name) for name in ("type", "split"))
    except (KeyError, TypeError, AttributeError):  # somebody else's
        return False


def _spliced(
    front: str, results: Any, entry: int | None, around: Sequence[Any], record: ScanRecord, newline: str
) -> str | None:
    """The text with the run's entry in the place of its older one, else behind the last one.

    None where text cannot be put in: lists and mappings in brackets, or a dash on a line of its own.
    """
    if any(node.flow_style for node in (*around, results)):
        return None
    item = yaml_text([result(record)]).rstrip()
    written = _lines(textwrap.indent(item, " " * results.start_mark.column), newline)
    if entry is None:
        end = _end_of_line(front, _last(results))
        return f"{front[:end]}{newline}{written}{front[end:]}"
    old = results.value[entry]
    start = front.rfind("\n", 0, old.start_mark.index) + 1
    if not re.fullmatch(r" *- +", front[start : old.start_mark.index]):
        return None
    return f"{front[:start]}{written}{front[_end_of_line(front, _last(old)) :]}"


def _child(mapping: Any, name: str) -> Any:
    return next(value for key_node, value in mapping.value if key_node.value == name)


def _last(node: Any) -> int:
    """Where the text of a node ends: the end mark of a block lies behind the blank lines and comments after it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _last(last[1] if isinstance(last, tuple) else last)


def _end_of_line(text: str, position: int) -> int:
    """The end of the line in which `position` lies, before its line break."""
    if position > 0 and text[position - 1] == "\n":  # a block scalar ends behind its last line break
        position -= 1
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    return end - 1 if end > 0 and text[end - 1] == "\r" else end


def _changed(
    models: list[dict[str, Any]], model: int | None, entries: list[Any], entry: int | None, record: ScanRecord
) -> list[dict[str, Any]]:
    """The model-index as values, with the run's entry."""
    new = result(record)
    if model is None:
        return [*models, {"name": model_name(record), "results": [new]}]
    kept = [*entries, new] if entry is None else [*entries[:entry], new, *entries[entry + 1 :]]
    return [{**one, "results": kept} if place == model else one for place, one in enumerate(models)]
