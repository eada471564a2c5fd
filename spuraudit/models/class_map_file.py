"""A file that says which outputs of a model are which class of the dataset (`--class-map`).

Four forms: YAML or JSON `class: output` (or a list of outputs); CSV with the columns `class,output`; YAML or JSON
`names: [...]`, the model's own names of its outputs in order; and a text file of such names, one per line.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from spuraudit.errors import ConfigError, did_you_mean
from spuraudit.record.text_file import read_text
from spuraudit.record.yaml_lines import YamlDocument, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_SHOWN = 5
_TOO_LARGE = (", which is no class map", "Check the path.")
_CSV_HEADER = ["class", "output"]


def read_class_map(path: Path, class_names: Sequence[str], num_outputs: int) -> list[tuple[int, ...]]:
    """Outputs (from 0) of each of the dataset's classes, in the order of `class_names`.

    Every class is named exactly once; outputs that no class claims belong to none. With the model's own names, a class
    gets the one output of exactly its name. Raises ConfigError naming file and line for an unknown or repeated class,
    an output that is no whole number, out of range or claimed twice; naming the file for classes that are missing.
    """
    name, text = str(path), read_text(path, str(path), too_large=_TOO_LARGE)
    kind = path.suffix.lower()
    if kind == ".txt":
        return _matched(name, _lines(name, text), class_names, num_outputs)
    if kind == ".csv":
        return _from_csv(name, text, _Claims(name, class_names, num_outputs))
    if kind not in (".yaml", ".yml", ".json"):
        raise ConfigError(
            f"{name}: a class map is a .yaml, .json, .csv or .txt file, not {kind or 'a file without ending'!r}.",
            "Write `class: output` on each line of a .yaml file.",
        )
    # A tab is never inside a JSON string, and YAML takes none as indentation.
    document = load(text.replace("\t", " ") if kind == ".json" else text, name)
    value = document.value
    if not isinstance(value, dict) or not value:
        found = "nothing" if not value else "a list" if isinstance(value, list) else "text or a number"
        raise document.error((), f"expected a mapping `class: output`, found {found}.", _hint(class_names))
    if set(value) == {"names"} and isinstance(value["names"], list) and any(isinstance(n, str) for n in value["names"]):
        return _matched(name, _listed(document), class_names, num_outputs)
    return _from_mapping(document, _Claims(name, class_names, num_outputs))


def _hint(class_names: Sequence[str]) -> str:
    return f"One entry for every class of the dataset, such as `{class_names[0]}: 0`."


@dataclass
class _Claims:
    """Which class claims which outputs, checked as they come."""

    name: str
    class_names: Sequence[str]
    num_outputs: int
    _outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _owners: dict[int, tuple[str, int]] = field(default_factory=dict)
    _lines: dict[str, int] = field(default_factory=dict)

    def add(self, class_name: str, outputs: Iterable[tuple[int, int]], line: int) -> None:
        """The class named on `line` claims outputs, each with its line."""
        if class_name not in self.class_names:
            near = did_you_mean(class_name, self.class_names)
            self.refuse(line, f"the dataset has no class {class_name!r}.", near or _listing(self.class_names))
        if class_name in self._lines:
            self.refuse(
                line, f"the class {class_name!r} is named again (first on line {self._lines[class_name]}).", _ONCE
            )
        self._lines[class_name] = line
        claimed = []
        for output, at in outputs:
            self._claim(class_name, output, at)
            claimed.append(output)
        if not claimed:
            self.refuse(line, f"the class {class_name!r} has no output.", "Name at least one.")
        self._outputs[class_name] = tuple(claimed)

    def _claim(self, class_name: str, output: int, line: int) -> None:
        if not 0 <= output < self.num_outputs:
            self.refuse(
                line,
                f"the class {class_name!r} names the output {output}; the model has {self.num_outputs} "
                f"(0 to {self.num_outputs - 1}).",
                "Outputs are counted from 0.",
            )
        if output in self._owners:
            owner, first = self._owners[output]
            self.refuse(
                line,
                f"the output {output} is claimed by {class_name!r}, and by {owner!r} on line {first}.",
                "An output may belong to one class only, and is named once.",
            )
        self._owners[output] = (class_name, line)

    def refuse(self, line: int, problem: str, hint: str) -> NoReturn:
        """Raise ConfigError for a line."""
        raise ConfigError(f"{self.name}, line {line}: {problem}", hint)

    def all(self) -> list[tuple[int, ...]]:
        """Outputs of every class. Raises ConfigError where a class was not named."""
        missing = [name for name in self.class_names if name not in self._outputs]
        if missing:
            raise ConfigError(
                f"{self.name}: {len(missing)} of {len(self.class_names)} classes of the dataset are not named: "
                f"{_listing(missing)}",
                "Name every class of the dataset; outputs of the model may be left out.",
            )
        return [self._outputs[name] for name in self.class_names]


_ONCE = "Name every class once, with all its outputs: [3, 7] in YAML and JSON, 3;7 in CSV."


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(map(repr, names[:_SHOWN]))}{more}."


def _from_mapping(document: YamlDocument, claims: _Claims) -> list[tuple[int, ...]]:
    for key, value in document.value.items():
        line = document.line(key)
        if isinstance(key, bool):
            claims.refuse(line, f"YAML reads this key as {str(key).lower()}.", "Put the name of the class in quotes.")
        given = value if isinstance(value, list) else [value]
        outputs = []
        for place, output in enumerate(given):
            at = document.line(key, place) if isinstance(value, list) else line
            if not isinstance(output, int) or isinstance(output, bool):
                claims.refuse(
                    at,
                    f"{key}: expected the number of an output, or a list of them, found {_kind(output)}.",
                    _hint(claims.class_names),
                )
            outputs.append((output, at))
        claims.add(str(key), outputs, line)
    return claims.all()


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _from_csv(name: str, text: str, claims: _Claims) -> list[tuple[int, ...]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if header != _CSV_HEADER:
            claims.refuse(
                1, f"expected the header `class,output`, found `{','.join(header)}`.", "Write it as the first line."
            )
        for row in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(_CSV_HEADER):
                hint = "Put a name that holds a comma in quotes; separate several outputs by ';'."
                claims.refuse(line, f"expected 2 cells, found {len(row)}.", hint)
            class_name, cell = (part.strip() for part in row)
            if not re.fullmatch(r"-?[0-9]+([ ;]+-?[0-9]+)*", cell):
                claims.refuse(line, f"{class_name}: expected the number of an output, found {cell!r}.", _ONCE)
            claims.add(class_name, [(int(number), line) for number in re.split(r"[ ;]+", cell)], line)
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num}: malformed CSV ({error}).", "Check the quotes.") from error
    return claims.all()


def _lines(name: str, text: str) -> list[tuple[str, int]]:
    """Names of a text file with their lines; the end of the file may be empty lines."""
    names = [(line.strip(), number) for number, line in enumerate(text.rstrip().split("\n"), start=1)]
    for word, number in names:
        if not word:
            raise ConfigError(
                f"{name}, line {number}: an empty line among the names of the outputs.",
                "One name per line, in the order of the model's outputs.",
            )
    return names


def _listed(document: YamlDocument) -> list[tuple[str, int]]:
    """Names under `names:` with their lines."""
    found = []
    for place, word in enumerate(document.value["names"]):
        if isinstance(word, bool) or not isinstance(word, str | int):
            hint = "Put the name in quotes."
            raise document.error(("names", place), f"expected the name of an output, found {_kind(word)}.", hint)
        found.append((str(word), document.line("names", place)))
    return found


def _nearest(own: str, lines: Mapping[str, int]) -> str:
    near = get_close_matches(own, lines, n=1)
    return f"did you mean {near[0]!r} (line {lines[near[0]]})?" if near else "nothing like it."


def _matched(
    name: str, names: Sequence[tuple[str, int]], class_names: Sequence[str], num_outputs: int
) -> list[tuple[int, ...]]:
    """Outputs of the classes by their names among the model's own."""
    if len(names) != num_outputs:
        raise ConfigError(
            f"{name}, line {names[-1][1]}: the list ends after {len(names)} names; the model has {num_outputs} "
            "outputs.",
            "Name every output of the model, in order; or map classes to numbers: `class: output`.",
        )
    places: dict[str, list[int]] = {}
    for output, (word, _) in enumerate(names):
        places.setdefault(word, []).append(output)
    unmatched = [own for own in class_names if own not in places]
    if unmatched:
        lines = dict(reversed(names))  # of a name given twice, the first
        near = [f"{own!r}: {_nearest(own, lines)}" for own in unmatched[:_SHOWN]]
        more = f" And {len(unmatched) - _SHOWN} more." if len(unmatched) > _SHOWN else ""
        raise ConfigError(
            f"{name}: {len(unmatched)} of {len(class_names)} classes of the dataset are not among the "
            f"{len(names)} names. {' '.join(near)}{more}",
            "Names must be equal to the letter; or map classes to numbers: `class: output`.",
        )
    for own in class_names:
        if len(places[own]) > 1:
            first, again = (names[output][1] for output in places[own][:2])
            raise ConfigError(
                f"{name}, line {again}: the name {own!r} stands for two outputs (also on line {first}).",
                f"Map classes to numbers instead, such as `{own}: {places[own][0]}`.",
            )
    return [(places[own][0],) for own in class_names]
