"""The `report:` section of a config: what it says, what is refused, and what `spuraudit schema config` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from spuraudit.errors import ConfigError
from spuraudit.gates import load_config
from spuraudit.gates.config import Report
from spuraudit.gates.config_file import config_schema

WHOLE = "report: {title: Nightly, logo: ci/logo.svg, notes: /ci/notes.md, redact_images: true, max_report_mb: 5}\n"


def write(folder: Path, text: str, name: str = ".spuraudit.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    said = load_config(write(tmp_path, WHOLE)).report
    assert said == Report("Nightly", tmp_path / "ci/logo.svg", Path("/ci/notes.md"), True, 5.0)
    assert load_config(write(tmp_path, "report: {max_report_mb: 0.5}")).report == Report(max_report_mb=0.5)
    assert load_config(write(tmp_path, "seed: 1")).report is None


def test_pyproject_says_the_same(tmp_path: Path) -> None:
    text = '[tool.spuraudit.report]\nredact_images = true\nlogo = "a.png"\n'
    said = load_config(write(tmp_path, text, "pyproject.toml")).report
    assert said == Report(logo=tmp_path / "a.png", redact_images=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "seed: 1\nreport:\n  redact_image: true\n",
            "line 3: report.redact_image: unknown key. Did you mean 'redact_images'?",
        ),
        ("report: {redact_images: 1}", "report.redact_images: expected true or false, found 1"),
        ("report: {max_report_mb: 0}", "report.max_report_mb"),
        ("report: {max_report_mb: big}", "report.max_report_mb: expected a number, found 'big'"),
        ("report: {title: 2026}", "report.title: expected text, found 2026"),
        ("report: [logo.svg]", "report: expected a mapping"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_reader_and_schema(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert says in caught.value.message
    assert list(Draft202012Validator(config_schema()).iter_errors(yaml.safe_load(text))) != []


def test_the_published_schema_accepts_the_section() -> None:
    assert list(Draft202012Validator(config_schema()).iter_errors(yaml.safe_load(WHOLE))) == []
