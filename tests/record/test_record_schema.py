"""The JSON Schema against records that real scans write, and against what they never may hold."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import toys
from jsonschema import Draft202012Validator

from spuraudit.gates import judge, parse_rule
from spuraudit.record.folder import to_json
from spuraudit.record.scan import SCHEMA_VERSION, ScanRecord
from spuraudit.record.schema import SCHEMAS, json_schema
from spuraudit.record.settings import ScanSettings

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """Every audit, with numbers that are undefined, saturated, flagged and left out."""
    folder = tmp_path_factory.mktemp("finished")
    data = toys.draw(folder / "data", toys.Toy(test=4, train=2, tag=True, odd_every=2, unmasked=1))
    audits = ("noise", "feature_drop", "region_swap", "patch_swap")
    settings = {
        "trials": 2,
        "swap_trials": 2,
        "passes": 4,
        "patch_targets": 2,
        "patch_sources": 2,
        "target_classes": 1,
        "limit": 11,
    }
    return toys.scan(toys.Reader(toys.OBJECT, guess=0), data, folder / "run", audits=audits, **settings)


@pytest.fixture
def content(finished: toys.Scanned) -> dict[str, Any]:
    """Its scan.json."""
    loaded: dict[str, Any] = json.loads((finished.folder / "scan.json").read_bytes())
    return loaded


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schema_is_a_valid_schema(name: str) -> None:
    schema = json_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    json.dumps(schema, allow_nan=False)


def test_a_real_record_is_valid(content: dict[str, Any]) -> None:
    Draft202012Validator(json_schema("scan")).validate(content)
    assert content["schema"] == "spuraudit/scan"
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["exclusions"]
    assert content["warnings"]
    assert any(m["value"] is None for m in content["measurements"])
    assert any("saturated" in m["flags"] for m in content["measurements"])
    assert any(f["cell"] for f in content["findings"])
    assert any(f["exhibits"] for f in content["findings"])


def test_a_real_verdict_is_valid(finished: toys.Scanned) -> None:
    rules = [parse_rule(text, min_n=1) for text in ("rcs >= 0.2", "nothing >= 0.1", "swap_gap[feature=*] <= 0.1")]
    verdict = json.loads(to_json(judge(finished.record, rules)))
    Draft202012Validator(json_schema("verdict")).validate(verdict)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a field that is not known": lambda c: c.update(extra=1),
    "a field of a part that is not known": lambda c: c["measurements"][0].update(extra=1),
    "no measurements": lambda c: c.pop("measurements"),
    "text for a number": lambda c: c["measurements"][0].update(value="much"),
    "a negative n": lambda c: c["measurements"][0].update(n=-1),
    "half an interval": lambda c: c["measurements"][0].update(ci=[0.1]),
    "an audit that does not exist": lambda c: c["audits"][0].update(name="taste"),
    "another schema": lambda c: c.update(schema="somebody/else"),
    "a role that does not exist": lambda c: c["findings"][0].update(role="guilty"),
    "a warning without a code": lambda c: c["warnings"][0].update(code="W1"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_schema_and_model_refuse_the_same(content: dict[str, Any], what: str) -> None:
    changed = copy.deepcopy(content)
    CHANGES[what](changed)
    assert not Draft202012Validator(json_schema("scan")).is_valid(changed)
    with pytest.raises(ValueError, match="validation error"):
        ScanRecord.model_validate(changed)


def test_a_record_is_the_same_bytes_after_reading(finished: toys.Scanned) -> None:
    content = (finished.folder / "scan.json").read_bytes()
    assert to_json(ScanRecord.model_validate_json(content)) == content


def test_every_measurement_and_finding_is_explained(finished: toys.Scanned) -> None:
    record = finished.record
    assert {m.definition for m in record.measurements} == set(record.definitions)
    known = {"class", "feature", "group", "donor_class", "target_class", "sigma", "cell", "row", "column", "rows"}
    assert {key for m in record.measurements for key in m.scope} == known | {"columns"}
    for measurement in record.measurements:
        assert (measurement.value is None) == (measurement.reason is not None)
        assert (measurement.value is None) == (measurement.ci is None)
    for finding in record.findings:
        assert finding.effect_ci[0] <= finding.effect <= finding.effect_ci[1]
        assert 0 < finding.p <= finding.q <= 1 or finding.q == pytest.approx(finding.p)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"sigmas": ()}, "sigmas"),
        ({"sigmas": (0.25, -0.1)}, "sigmas"),
        ({"sigmas": (float("inf"),)}, "sigmas"),
        ({"trials": 0}, "trials"),
        ({"passes": 1}, "passes"),
        ({"dropout_rate": 1.0}, "dropout_rate"),
        ({"limit": 0}, "limit"),
        ({"audits": ("taste",)}, "audits"),
        ({"sigma": 0.25}, "sigma"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        ScanSettings(**values)


def test_sigmas_are_sorted_and_single() -> None:
    assert ScanSettings(sigmas=(0.5, 0.25, 0.5)).sigmas == (0.25, 0.5)
