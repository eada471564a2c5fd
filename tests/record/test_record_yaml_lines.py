from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spuraudit.errors import ConfigError
from spuraudit.record.yaml_lines import load, parse

TEXT = """\
# a comment
name: birds

classes:
  - gull
  - name: tern
    outputs: [1,
              2]
limits: {low: 0.1, high: 0.9}
"""


class Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Entry(Keys):
    name: str
    outputs: list[int] = []


class Limits(Keys):
    low: float = 0.0
    high: float = 1.0


class Config(Keys):
    name: str
    classes: list[Annotated[Entry, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)]]
    limits: Limits | None = None
    mode: Literal["fast", "slow"] = "fast"
    number: int = Field(default=1, gt=0)


def test_values_and_lines() -> None:
    document = load(TEXT, "x.yaml")
    assert document.value["classes"] == ["gull", {"name": "tern", "outputs": [1, 2]}]
    assert document.line("name") == 2
    assert document.line("classes") == 4
    assert document.line("classes", 0) == 5
    assert document.line("classes", 1) == 6
    assert document.line("classes", 1, "outputs") == 7
    assert document.line("classes", 1, "outputs", 1) == 8
    assert document.line("limits", "high") == 9
    assert document.line("limits", "unknown") == 9, "the nearest known ancestor"
    assert document.line("nothing") == 1
    error = document.error(("classes", 1, "outputs"), "too many.")
    assert error.message == "x.yaml, line 7: classes[1].outputs: too many."
    assert parse(document, Config).limits == Limits(low=0.1, high=0.9)


def test_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: [birds")
    with pytest.raises(ConfigError, match=r"config\.yaml, line 1: malformed YAML: .*column") as caught:
        load(file)
    assert caught.value.hint
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match=r"config\.yaml: not UTF-8 text \(byte 6\)"):
        load(file)
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        load(tmp_path / "none.yaml")
    file.write_text("")
    assert load(file).value is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1\nc: 2\n", r"line 3: malformed YAML"),
        ("a: 1\n\tb: 2\n", r"line 2: malformed YAML"),
        ("a: {class}/{stem}.png\n", r"line 1: malformed YAML"),
        ("a: 1\na: 2\n", r"line 2: key 'a' appears twice"),
        ("a: &x [1]\nb: *x\n", r"line 2: alias \*x is not supported"),
        ("a: !!python/object/apply:os.system [ls]\n", r"line 1: tag .*os.system' is not supported"),
        ("a: !!set {x, y}\n", r"line 1: tag .*set' is not supported"),
        ("a: 1\nb: !!python/name:os.system\n", r"line 2: malformed YAML: could not determine a constructor"),
        ("? [1, 2]\n: x\n", r"line 1: a key must be text"),
        ("a: 1\n---\nb: 2\n", r"line 2: malformed YAML"),
        ("a:\n  b: 2024-13-45\n", r"line 2: month must be"),
        ("a: \x01\n", r"not readable as YAML"),
        ("[" * 5000 + "]" * 5000, r"line 1: nested more than 64 levels deep"),
        ("a:\n " + "[" * 100 + "]" * 100, r"line 2: nested more than 64 levels deep"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(text, "x.yaml")
    assert caught.value.message.startswith("x.yaml")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("classes: []\n", r"line 1: name: required, but missing", None),
        (
            "name: x\nclasses: []\nlimit: {}\n",
            r"line 3: limit: unknown key. Did you mean 'limits'\?.*Known keys: name",
            None,
        ),
        (
            "name: x\nclasses:\n- {name: a, output: [1]}\n",
            r"line 3: classes\[0\]\.output: .*Did you mean 'outputs'",
            None,
        ),
        ("name: x\nclasses: []\nlimits:\n  lo: 1\n", r"line 4: limits\.lo: unknown key.*Known keys: low, high", None),
        ("name: no\nclasses: []\n", r"line 1: name: expected text, found false", "put it in quotes"),
        ("name: 012\nclasses: []\n", r"line 1: name: expected text, found 10", "put it in quotes"),
        ("name: 2020-01-01\nclasses: []\n", r"line 1: name: expected text, found 2020-01-01", "a date"),
        ("name: x\nclasses: gull\n", r"line 2: classes: expected a list, found 'gull'", None),
        (
            "name: x\nclasses:\n- {name: a, outputs: [one]}\n",
            r"line 3: classes\[0\]\.outputs\[0\]: expected a whole n",
            None,
        ),
        ("name: x\nclasses:\n- [1]\n", r"line 3: classes\[0\]: expected a mapping \(key: value\), found a list", None),
        ("name: x\nclasses: []\nlimits: 3\n", r"line 3: limits: expected a mapping", None),
        ("name: x\nclasses: []\nmode: quick\n", r"line 3: mode: expected 'fast' or 'slow', found 'quick'", None),
        ("name: x\nclasses: []\nnumber: 0\n", r"line 3: number: Input should be greater than 0, found 0", None),
        ("name:\nclasses: []\n", r"line 1: name: expected text, found nothing", None),
        ("[1, 2]\n", r"line 1: expected a mapping \(key: value\), found a list", None),
    ],
)
def test_wrong_values_name_line_key_and_what_was_expected(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(load(text, "x.yaml"), Config)
    assert caught.value.message.startswith("x.yaml, line ")
    assert (hint or "") in (caught.value.hint or "")


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(load("name: 1\nclasses: 2\nextra: 3\n" + "".join(f"x{n}: 1\n" for n in range(9)), "x.yaml"), Config)
    lines = caught.value.message.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "... and 7 more problems."


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    message = "x.yaml"
    try:
        load(text, "x.yaml")
    except ConfigError as error:
        message = error.message
    assert message.startswith("x.yaml")
