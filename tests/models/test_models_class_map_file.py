"""Class map files: every form, and one clear error for whatever is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from spuraudit.errors import ConfigError
from spuraudit.models.class_map import class_map
from spuraudit.models.class_map_file import read_class_map

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["monarch", "cabbage", "sulphur"]
#: A model of six outputs that has the classes in another order, among others.
OUTPUTS = ["ringlet", "sulphur", "lycaenid", "monarch", "admiral", "cabbage"]


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.yaml", "# nine of a thousand\nsulphur: 1\nmonarch: [323, 7]\ncabbage: [5]\n"),
        ("map.yml", '"sulphur": 1\nmonarch: \n  - 323\n  - 7\ncabbage: 5'),
        ("map.json", json.dumps({"cabbage": 5, "monarch": [323, 7], "sulphur": [1]}, indent="\t")),
        ("map.csv", "class,output\nmonarch,323;7\nsulphur,1\n\ncabbage, 5\n"),
        ("map.csv", '\ufeffclass,output\r\n"monarch",323 7\r\nsulphur,1\r\ncabbage,5\r\n'),
    ],
)
def test_outputs_in_the_order_of_the_dataset(tmp_path: Path, name: str, text: str) -> None:
    outputs = read_class_map(written(tmp_path, name, text), NAMES, 1000)
    assert outputs == [(323, 7), (5,), (1,)]
    assert class_map(outputs, NAMES, 1000, "mapped").outputs == tuple(outputs)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "\n".join(OUTPUTS)),
        ("names.txt", "\r\n".join(OUTPUTS) + "\r\n\r\n"),
        ("names.yaml", "names: [" + ", ".join(OUTPUTS) + "]"),
        ("names.json", json.dumps({"names": OUTPUTS})),
    ],
)
def test_names_of_the_model_are_matched(tmp_path: Path, name: str, text: str) -> None:
    assert read_class_map(written(tmp_path, name, text), NAMES, 6) == [(3,), (5,), (1,)]


def test_class_names_that_yaml_reads_as_numbers(tmp_path: Path) -> None:
    file = written(tmp_path, "map.yaml", "0: 1\n1: 0\n")
    assert read_class_map(file, ["0", "1"], 2) == [(1,), (0,)]


def test_a_class_called_names(tmp_path: Path) -> None:
    assert read_class_map(written(tmp_path, "map.yaml", "names: [1, 0]"), ["names"], 2) == [(1, 0)]


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("m.yaml", "monarch: 1\ncabage: 2\nsulphur: 3", "m.yaml, line 2: .*no class 'cabage'", "mean 'cabbage'"),
        ("m.yaml", "monarch: 1\nxyz: 2", "line 2: .*no class 'xyz'", "'monarch', 'cabbage', 'sulphur'"),
        ("m.yaml", "monarch: 1\ncabbage: 10\nsulphur: 3", r"line 2: .*output 10; the model has 10 \(0 to 9\)", "0"),
        ("m.yaml", "monarch: -1", r"line 1: .*output -1", "from 0"),
        ("m.yaml", "monarch: 1\ncabbage:\n- 2\n- 1", "line 4: the output 1 .* 'cabbage'.*'monarch' on line 1", "once"),
        ("m.yaml", "monarch: [1, 1]", "line 1: the output 1 is claimed by 'monarch'", "once"),
        ("m.yaml", "monarch: one", "line 1: monarch: expected the number of an output.*found 'one'", "monarch: 0"),
        ("m.yaml", "monarch: 1.5", "found 1.5", ""),
        ("m.yaml", "monarch: true", "found true", ""),
        ("m.yaml", "monarch:", "found nothing", ""),
        ("m.yaml", "monarch:\n- 1\n- {a: 2}", "line 3: .*found a mapping", ""),
        ("m.yaml", "monarch: []", "line 1: .*no output", "at least one"),
        ("m.yaml", "monarch: 1\nmonarch: 2", "line 2: key 'monarch' appears twice", ""),
        ("m.yaml", "no: 1", "line 1: YAML reads this key as false", "quotes"),
        ("m.yaml", "monarch: 1\n", "m.yaml: 2 of 3 classes .* not named: 'cabbage', 'sulphur'", "every class"),
        ("m.yaml", "- 1\n- 2", "line 1: expected a mapping .*found a list", "monarch: 0"),
        ("m.yaml", "", "found nothing", ""),
        ("m.yaml", "monarch: [1", "malformed YAML", ""),
        ("m.json", '{"monarch": 1,\n"cabbage": 1}', "m.json, line 2: the output 1 is claimed", ""),
        ("m.csv", "name,output\nmonarch,1", "m.csv, line 1: expected the header .*, found `name,output`", ""),
        ("m.csv", "class,output\nmonarch,1\nmonarch,2", r"line 3: .*named again \(first on line 2\)", "3;7"),
        ("m.csv", "class,output\nmonarch,x", "line 2: monarch: expected the number of an output, found 'x'", ""),
        ("m.csv", "class,output\nmonarch,\ncabbage,1", "line 2: .*found ''", ""),
        ("m.csv", "class,output\nmonarch, large,1", "line 2: expected 2 cells, found 3", "quotes"),
        ("m.csv", 'class,output\n"monarch,1', "malformed CSV", ""),
        ("m.csv", "", "line 1: expected the header", ""),
        ("m.txt", "a\nb", "m.txt, line 2: the list ends after 2 names; the model has 10 outputs", "in order"),
        ("m.txt", "a\n\nb", "line 2: an empty line", ""),
        ("m.yaml", "names:\n- a\n- 2.5", "line 3: names.*expected the name of an output, found 2.5", "quotes"),
        ("m.toml", "monarch = 1", "not '.toml'", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(tmp_path: Path, name: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_class_map(written(tmp_path, name, text), NAMES, 10)
    assert caught.value.hint
    assert hint in caught.value.hint


def test_unmatched_names_are_listed_with_the_nearest(tmp_path: Path) -> None:
    listed = ["ringlet", "Monarch", "sulphur", "Monarch", "x"]
    nearest = r"2 of 3 classes .* 'monarch': did you mean 'Monarch' \(line {}\)\? 'cabbage': nothing like it\."
    with pytest.raises(ConfigError, match=nearest.format(2)):
        read_class_map(written(tmp_path, "names.txt", "\n".join(listed)), NAMES, 5)
    with pytest.raises(ConfigError, match=nearest.format(3)):
        read_class_map(written(tmp_path, "names.yaml", "\n- ".join(["names:", *listed])), NAMES, 5)


def test_a_name_of_two_outputs_is_no_answer(tmp_path: Path) -> None:
    file = written(tmp_path, "names.txt", "\n".join(["monarch", "crane", "crane", "cabbage", "sulphur"]))
    assert read_class_map(file, NAMES, 5) == [(0,), (3,), (4,)]
    with pytest.raises(ConfigError, match=r"line 3: the name 'crane' stands for two outputs \(also on line 2\)"):
        read_class_map(file, ["crane"], 5)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        read_class_map(tmp_path / "gone.yaml", NAMES, 5)
    (tmp_path / "latin.csv").write_bytes("class,output\nCitronenfalter für,1".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.csv: not UTF-8"):
        read_class_map(tmp_path / "latin.csv", NAMES, 5)
