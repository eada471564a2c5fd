"""SARIF against its JSON Schema, and against what GitHub asks beyond it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from gate_records import record
from jsonschema import Draft4Validator
from outputs_verdicts import HOSTILE, finding, gate, hostile, mixed, scanned, strict, verdict

from spuraudit.gates.outputs import sarif_json
from spuraudit.record.scan import ScanRecord
from spuraudit.record.verdict import Verdict

SCHEMA = Path(__file__).parent / "data" / "sarif-2.1.0-rtm.5.json"


@cache
def validator() -> Draft4Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft4Validator.check_schema(schema)
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def run_of(given: Verdict, scan: ScanRecord | None = None) -> dict[str, Any]:
    """The one run of the file, valid by the schema and by GitHub's rules for every result."""
    log = json.loads(sarif_json(given, scan or record()))
    assert [f"{list(error.path)}: {error.message}" for error in validator().iter_errors(log)] == []
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]  # without a file GitHub refuses the whole upload
        assert physical["artifactLocation"]["uri"]
        assert not physical["artifactLocation"]["uri"].startswith("/")
        assert physical["region"]["startLine"] >= 1
        assert result["message"]["text"]
        assert len(result["partialFingerprints"]["spurauditFinding/v1"]) == 64
    return run


def of(run: dict[str, Any], rule: str) -> list[dict[str, Any]]:
    return [result for result in run["results"] if result["ruleId"] == rule]


def test_the_schema_refuses_what_is_no_sarif() -> None:
    log = json.loads(sarif_json(mixed(), record()))
    for wrong in (
        log | {"version": "2.0"},
        log | {"surprise": 1},
        log | {"runs": [log["runs"][0] | {"results": [{"level": "error"}]}]},
        log | {"runs": [log["runs"][0] | {"invocations": [{}]}]},
    ):
        assert list(validator().iter_errors(wrong))


def test_failed_gates_regressions_and_suspected_findings_are_results_of_their_rules() -> None:
    run = run_of(mixed(), scanned(finding(1), finding(2, suspected=False)))
    found = [(result["ruleId"], result["level"]) for result in run["results"]]
    assert found == [
        ("SPU002", "error"),
        ("SPU004", "error"),
        ("SPU003", "error"),
        ("SPU002", "warning"),
        ("SPU001", "warning"),
    ]
    floor, soft = of(run, "SPU002")
    assert floor["message"]["text"] == "floor: core_accuracy of floor is 70.0 %, below the limit of 80 %."
    assert soft["message"]["text"].startswith("soft: ")
    text = of(run, "SPU001")[0]["message"]["text"]
    assert text == (
        '"species 1" depends on "background": region swap costs 40.0 points of accuracy '
        "(95 % interval 30.0 to 50.0 points, q = 0.0001, n = 60)."
    )


def test_a_gate_points_at_its_line_of_the_config_and_names_class_and_feature() -> None:
    scope = {"class": "monarch", "feature": "reed belt"}
    (result,) = run_of(verdict(gate("a", scope=scope)))["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "ci/.spuraudit.yaml"
    assert location["physicalLocation"]["region"] == {"startLine": 7}
    assert [(one["kind"], one["name"]) for one in location["logicalLocations"]] == list(scope.items())


def test_a_gate_of_the_command_line_points_at_the_first_line_of_the_usual_file() -> None:
    (result,) = run_of(verdict(gate("a", rule={"line": None}), config=None))["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == (".spuraudit.yaml", 1)


def test_a_path_with_spaces_is_a_uri() -> None:
    (result,) = run_of(verdict(gate("a"), config="my project/#1/.spuraudit.yaml"))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "my%20project/%231/.spuraudit.yaml"


def fingerprints(given: Verdict, scan: ScanRecord) -> list[str]:
    return [one["partialFingerprints"]["spurauditFinding/v1"] for one in run_of(given, scan)["results"]]


def test_fingerprints_survive_retraining_and_moved_lines_and_nothing_else() -> None:
    first = fingerprints(verdict(gate("a")), scanned(finding(1)))
    retrained = verdict(
        gate("a", value=0.5, ci=(0.4, 0.6), n=99, rule={"line": 30}, text="Worse.", scope={"class": "other"}),
        model="resnet50 v2",
        model_sha256="cd" * 32,
    )
    again = scanned(finding(1, id="F009", effect=0.2, effect_ci=(0.1, 0.3), q=0.04))
    assert fingerprints(retrained, again) == first
    assert len(set(first)) == 2
    other_gate = fingerprints(verdict(gate("b")), scanned(finding(2)))
    assert not set(other_gate) & set(first)
    other_data = scanned(finding(1))
    other_data = other_data.model_copy(update={"data": other_data.data.model_copy(update={"name": "fish"})})
    assert fingerprints(verdict(gate("a")), other_data)[0] != first[0]


def test_fingerprints_of_one_file_are_distinct() -> None:
    found = fingerprints(mixed(), scanned(*map(finding, range(50))))
    assert len(set(found)) == len(found) == 54


def test_at_most_500_results_the_most_severe_ones_and_a_note_about_the_rest() -> None:
    gates = [gate(f"g{number}", rule={"severity": "warn"}) for number in range(300)] + [gate("last")]
    run = run_of(verdict(*gates), scanned(*map(finding, range(700))))
    assert len(run["results"]) == 501
    assert run["results"][0]["message"]["text"].startswith("last: ")
    assert [one["level"] for one in run["results"]] == ["error"] + ["warning"] * 499 + ["note"]
    assert run["results"][-1]["message"]["text"].startswith("501 more results")
    exact = run_of(verdict(gate("a")), scanned(*map(finding, range(499))))
    assert len(exact["results"]) == 500
    assert "note" not in {one["level"] for one in exact["results"]}


def test_a_strict_baseline_that_fails_alone_is_an_error_of_its_own() -> None:
    (result,) = run_of(strict())["results"]
    assert (result["ruleId"], result["level"]) == ("SPU002", "error")
    assert "core_accuracy[class=species 2] of gate a" in result["message"]["text"]


def test_what_was_not_evaluated_is_an_error_and_no_success() -> None:
    run = run_of(mixed())
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    first, note = invocation["toolExecutionNotifications"]
    assert (first["level"], first["message"]["text"]) == ("error", "unknown: not evaluated. The record has no 'zzz'.")
    assert first["locations"][0]["physicalLocation"]["region"]["startLine"] == 7
    assert (note["level"], note["message"]["text"]) == ("note", "The baseline run saw 10 images more.")
    (result,) = of(run, "SPU004")
    assert (result["level"], result["message"]["text"]) == ("error", "unknown: The record has no 'zzz'.")
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 7


def test_a_verdict_that_passed_or_failed_is_a_success_of_the_tool() -> None:
    for given in (verdict(gate("a")), verdict(gate("a", "pass"))):
        run = run_of(given)
        assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]
    assert run["results"] == []


def test_rules_carry_what_github_shows_and_few_tags() -> None:
    for rule in run_of(mixed())["tool"]["driver"]["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert len(rule["properties"]["tags"]) <= 10


def test_a_hostile_class_name_is_plain_text_without_links() -> None:
    run = run_of(hostile(), scanned(finding(1, class_name=HOSTILE, feature=HOSTILE)))
    texts = [result["message"]["text"] for result in run["results"]]
    texts += [one["message"]["text"] for one in run["invocations"][0]["toolExecutionNotifications"]]
    assert len(texts) == 6
    for text in texts:
        assert "](" not in text
        assert text.isprintable()


def test_the_same_verdict_gives_the_same_bytes() -> None:
    again = Verdict.model_validate_json(mixed().model_dump_json(by_alias=True))
    scan = scanned(finding(1))
    assert sarif_json(mixed(), scan) == sarif_json(again, ScanRecord.model_validate_json(scan.model_dump_json()))
    assert not {"guid", "startTimeUtc", "endTimeUtc"} & set(json.dumps(run_of(mixed(), scan)).split('"'))
