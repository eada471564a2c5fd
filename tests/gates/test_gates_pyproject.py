"""`[tool.spuraudit]` in pyproject.toml: the keys of `.spuraudit.yaml`, with lines."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from spuraudit.errors import ConfigError
from spuraudit.gates import find_config, load_config, parse_rule

WHOLE = """\
[project]
name = "mine"

[tool.spuraudit]
model = "models/resnet50.pt"
data = "salient1m"
audits = ["noise"]
baseline = "accepted.json"

[[tool.spuraudit.gates]]
id = "floor"
metric = "rcs"
min = 0.2

[[tool.spuraudit.gates]]
rule = "core_accuracy[class=*] >= 0.7"
severity = "warn"

[[tool.spuraudit.ignores]]
gate = "floor"
reason = "TEAM-17"
expires = 2027-01-31

[tool.other]
gates = ["not ours"]
"""
LIST = """\
[tool.spuraudit]
gates = [
  "rcs >= 0.2",  # the floor
  {metric = "core_accuracy", min = 0.7},
]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_same_keys_as_in_yaml(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, WHOLE))
    assert (config.model, config.data) == (str(tmp_path / "models/resnet50.pt"), "salient1m")
    assert config.baseline == (tmp_path / "accepted.json",)
    assert config.audits == {"noise": {}}
    assert [(rule.id, rule.limit, rule.severity, rule.line) for rule in config.gates] == [
        ("floor", 0.2, "error", 10),
        ("core_accuracy[class=*] >= 0.7", 0.7, "warn", 15),
    ]
    (ignore,) = config.ignores
    assert (ignore.gate, ignore.reason, ignore.expires, ignore.line) == ("floor", "TEAM-17", date(2027, 1, 31), 19)


def test_items_of_a_list_have_lines_where_each_begins_one(tmp_path: Path) -> None:
    assert [rule.line for rule in load_config(write(tmp_path, LIST)).gates] == [3, 4]
    crowded = '[tool.spuraudit]\ngates = ["rcs >= 0.2", "rcs <= 0.9"]\n'
    assert [rule.line for rule in load_config(write(tmp_path, crowded)).gates] == [2, 2]
    inline = '[tool]\n\nspuraudit = {gates = ["rcs >= 0.2"]}\n'
    assert load_config(write(tmp_path, inline)).gates[0].model_copy(update={"line": None}) == parse_rule("rcs >= 0.2")


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        (WHOLE.replace("min = 0.2", "mn = 0.2"), "line 13: gates[0].mn", "Did you mean 'min"),
        (WHOLE.replace("audits =", "audit ="), "line 7: audit", "Did you mean 'audits'"),
        (WHOLE.replace("0.7", "70"), "line 15: gates[1]", "did you mean 0.7?"),
        (WHOLE.replace('reason = "TEAM-17"', "x = 1"), "line 21: ignores[0].x", "unknown key"),
        (LIST.replace("min", "max_dorp"), "line 4: gates[1].max_dorp", "Did you mean 'max_drop'"),
        (LIST.replace("gates =", "gate ="), "line 2: gate", "Did you mean 'gates'"),
        ("[tool.spuraudit]\nversion = 2\n", "line 2: version", "expected 1, found 2"),
    ],
)
def test_every_mistake_names_file_key_and_line(tmp_path: Path, text: str, where: str, problem: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert f"{file} [tool.spuraudit], {where}" in caught.value.message
    assert problem in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for text, said in (
        ("[tool.spuraudit\n", "malformed TOML"),
        ("[project]\nname = 'x'\n", r"there is no \[tool.spuraudit\]"),
        ("tool = 3\n", r"there is no \[tool.spuraudit\]"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(write(tmp_path, text))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none" / "pyproject.toml")
    (tmp_path / "pyproject.toml").write_bytes(b"[tool.spuraudit]\n# \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "pyproject.toml")


def test_it_is_found_where_there_is_no_yaml_upwards(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    deep = root / "a" / "b"
    deep.mkdir(parents=True)
    (root / ".git").mkdir()
    assert find_config(deep) is None
    outer = write(root, LIST)
    write(root / "a", "[project]\nname = 'without our table'\ndependencies = ['spuraudit']\n")
    assert find_config(deep) == outer
    inner = write(deep, LIST)
    assert find_config(deep) == inner
    (root / ".spuraudit.yaml").write_text("gates: []\n")
    assert find_config(deep) == root / ".spuraudit.yaml"


def test_a_broken_one_that_may_hold_our_table_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "[tool.spuraudit\n")
    with pytest.raises(ConfigError, match="malformed TOML"):
        find_config(tmp_path)
    write(tmp_path, "[tool.another\n")
    assert find_config(tmp_path) is None
