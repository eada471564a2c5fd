"""The record of several methods: round trip, schema, refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import toys
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from spuraudit.errors import RunError
from spuraudit.record.fix import FixVerdict
from spuraudit.record.fix_trials import FixTrials, Standing, Trial, read_trials
from spuraudit.record.folder import to_json, write_bytes
from spuraudit.record.scan import ToolRecord

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trials() -> FixTrials:
    gain = FixVerdict(metric="worst_group_accuracy", outcome="gained", gain=0.5, ci=(0.2, 0.8), n=20)
    unknown = FixVerdict(metric="clean_accuracy", outcome="unknown", reason="The scans did not measure it.")
    standings = [
        Standing(metric="worst_group_accuracy", before=0.25, control=0.25, fixed=0.75, gain=gain),
        Standing(metric="clean_accuracy", before=None, control=None, fixed=None, gain=unknown),
    ]
    return FixTrials(
        tool=ToolRecord(version="0.1.0"),
        argv=["fix", "model.pt", "--method", "auto"],
        started="2026-01-02T03:04:05Z",
        model=toys.as_model(toys.Constant()).record,
        data="toy",
        seed=0,
        budget="2h",
        trials=[
            Trial(
                method="swap",
                title="region swap in training",
                status="done",
                standings=standings,
                seconds=61.5,
                cost=1.25,
            ),
            Trial(method="jtt", title="just train twice", status="failed", reason="No errors."),
            Trial(method="crayon", title="pruning, then attention", status="skipped", reason="No answers."),
        ],
        measure="worst_group_accuracy",
        recommended="swap",
        reason="swap: +50.0 points.",
    )


def written(folder: Path, content: dict[str, Any] | str) -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "trials.json").write_text(text, encoding="utf-8")
    return folder


def test_a_record_comes_back_as_it_was(trials: FixTrials, tmp_path: Path) -> None:
    write_bytes(tmp_path / "trials.json", to_json(trials))
    assert read_trials(tmp_path) == trials
    assert to_json(read_trials(tmp_path)) == (tmp_path / "trials.json").read_bytes()


def test_its_schema_accepts_it_and_nothing_unknown(trials: FixTrials) -> None:
    schema = FixTrials.model_json_schema(by_alias=True)
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    content = json.loads(to_json(trials))
    check.validate(content)
    assert content["schema"] == "spuraudit/fix-trials"
    content["trials"][0]["colour"] = "red"
    assert not check.is_valid(content)


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no finished trials here \(no trials.json\)") as caught:
        read_trials(tmp_path)
    assert "--method auto" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "spuraudit/fix"}, "not the record of trials"),
        ({"schema_version": "2.0"}, "record version 2.0; this spuraudit reads 1.x"),
        ({"trials": [{"method": "swap", "title": "t", "status": "perhaps"}]}, "not a valid record: trials.0.status"),
        ({"colour": "red"}, "not a valid record: colour"),
    ],
)
def test_records_of_others(trials: FixTrials, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {**json.loads(to_json(trials)), **change}
    with pytest.raises(RunError, match=message):
        read_trials(written(tmp_path / "them", content))


def test_no_json(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not readable as JSON"):
        read_trials(written(tmp_path / "them", "{"))


@pytest.mark.parametrize("change", [{"seconds": -1.0}, {"status": "begun"}, {"cost": "much"}])
def test_values_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Trial.model_validate({"method": "swap", "title": "t", "status": "done", **change})
