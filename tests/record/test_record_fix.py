"""The record of a fix: round trip, schema, refusals, and what its verdict rests on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import toy_fix
from jsonschema import Draft202012Validator

from spuraudit.errors import RunError
from spuraudit.record.fix import FixRecord, read_fix, verdict_of
from spuraudit.record.folder import to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fix")
    toy_fix.write_fix(root / "fix", toy_fix.draw(root / "data"))
    return root / "fix"


@pytest.fixture
def content(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "fix.json").read_bytes())
    return loaded


def written(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "fix.json").write_text(json.dumps(content))
    return folder


def test_a_record_comes_back_as_it_was(folder: Path) -> None:
    record = read_fix(folder)
    assert to_json(record) == (folder / "fix.json").read_bytes()
    assert read_fix(folder / "fix.json") == record


def test_its_schema_accepts_it_and_nothing_unknown(content: dict[str, Any]) -> None:
    schema = FixRecord.model_json_schema(by_alias=True)
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    check.validate(content)
    content["arms"]["fixed"]["colour"] = "red"
    assert not check.is_valid(content)


def test_the_comparisons_are_of_the_arms(folder: Path) -> None:
    record = read_fix(folder)
    sides = record.comparisons
    assert sides.fixed_before is not None
    assert sides.control_before is not None
    assert (sides.credit.before.model, sides.credit.after.model) == ("control", "fixed")
    assert (sides.fixed_before.before.model, sides.fixed_before.after.model) == ("before", "fixed")
    assert (sides.control_before.before.model, sides.control_before.after.model) == ("before", "control")
    assert record.arms.before is not None
    assert sides.credit.before.record_sha256 == record.arms.control.record_sha256
    assert sides.fixed_before.before.record_sha256 == record.arms.before.record_sha256


@pytest.mark.parametrize(
    ("metric", "scope", "outcome"),
    [
        ("worst_group_accuracy", {}, "gained"),
        ("swap_gap", {"feature": "background"}, "gained"),
        ("swap_gap", {"feature": "tag"}, "lost"),
        ("clean_accuracy", {"group": "red/red"}, "nothing"),
        ("spurious_accuracy", {"sigma": 0.25}, "unknown"),
        ("rcs", {"sigma": 0.5}, "unknown"),
    ],
)
def test_the_verdict_is_what_exceeds_the_control(
    folder: Path, metric: str, scope: dict[str, Any], outcome: str
) -> None:
    credit = read_fix(folder).comparisons.credit
    verdict = verdict_of(credit, metric, scope)
    assert verdict.outcome == outcome
    change = credit.of(metric, scope)
    if outcome == "unknown":
        assert verdict.reason
        assert verdict.gain is None
    else:
        assert change is not None
        assert (verdict.gain, verdict.ci, verdict.n) == (change.change, change.ci, change.n)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(schema="spuraudit/scan"), "not the record of a fix"),
        (lambda c: c.update(schema_version="2.0"), "record version 2.0; this spuraudit reads 1.x"),
        (lambda c: c.update(steps=-1), "not a valid record: steps"),
        (lambda c: c["arms"]["fixed"].update(run="../elsewhere"), "'../elsewhere' lies outside the fix's folder"),
        (lambda c: c["arms"]["before"].update(run="/etc"), "'/etc' lies outside"),
        (lambda c: c["arms"]["control"].update(checkpoint="../c.pt"), "'../c.pt' lies outside"),
    ],
)
def test_what_is_no_record_is_refused(
    tmp_path: Path, content: dict[str, Any], change: Callable[[dict[str, Any]], None], said: str
) -> None:
    change(content)
    with pytest.raises(RunError, match=said):
        read_fix(written(tmp_path, content))


def test_an_unfinished_fix(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished fix here") as caught:
        read_fix(tmp_path)
    assert "resumes" in (caught.value.hint or "")
