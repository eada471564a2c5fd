"""JUnit XML as junitparser and an XML parser read it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite
from outputs_verdicts import HOSTILE, accepted, gate, hostile, mixed, strict, verdict

from spuraudit.gates.outputs import junit_xml
from spuraudit.record.verdict import Verdict


def opened(given: Verdict) -> TestSuite:
    """The one suite of the file."""
    xml = JUnitXml.fromstring(junit_xml(given))
    (suite,) = list(xml)
    assert isinstance(suite, TestSuite)
    return suite


def cases(given: Verdict) -> dict[str, TestCase]:
    return {case.name: case for case in opened(given)}


def test_counts_and_outcomes_are_those_of_the_verdict() -> None:
    suite = opened(mixed())
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("resnet50", 6, 2, 1, 0)
    found = {name: [type(result) for result in case.result] for name, case in cases(mixed()).items()}
    assert found == {
        "holds": [],
        "floor": [Failure],
        "soft": [],
        "unknown": [Error],
        "waived": [],
        "slipped": [Failure],
    }
    assert {case.classname for case in suite} == {"spuraudit.core_accuracy", "spuraudit.rcs"}


def test_the_counts_agree_with_what_the_parser_counts_itself() -> None:
    suite = opened(mixed())
    stated = (suite.tests, suite.failures, suite.errors, suite.skipped)
    suite.update_statistics()
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == stated


def test_a_failure_says_value_interval_limit_and_n() -> None:
    case = cases(mixed())["floor"]
    assert case.result[0].message == "core_accuracy of floor is 70.0 %, below the limit of 80 %."
    assert "core_accuracy >= 0.8" in case.result[0].text
    said = case.system_out
    for line in ("value: 70.0 %", "95 % interval: 60.0 to 80.0 %", "limit: >= 80 %", "n: 1,234", "beyond the limit: 2"):
        assert line in said.splitlines()


def test_a_limit_on_a_drop_names_both_numbers_in_their_units() -> None:
    said = cases(mixed())["slipped"].system_out.splitlines()
    for line in ("value: 0.050", "limit: drop <= 0.02", "baseline: 0.400", "current: 0.350", "p: 0.0004"):
        assert line in said
    of_accuracy = gate("a", rule={"op": "<=", "limit": 0.02, "of": "drop", "bound": "ci_low"}, value=0.05, baseline=0.9)
    said = cases(verdict(of_accuracy))["a"].system_out.splitlines()
    for line in ("value: 5.0 points", "limit: ci_low drop <= 2 points", "baseline: 90.0 %"):
        assert line in said


def test_a_gate_that_only_warns_is_a_passed_case_that_says_so() -> None:
    case = cases(mixed())["soft"]
    assert case.is_passed
    assert case.system_out.startswith("WARNING: core_accuracy of soft is 70.0 %")


def test_what_was_ignored_and_known_is_named_in_the_case_it_belongs_to() -> None:
    said = cases(mixed())["waived"].system_out.splitlines()
    assert "The ignore (waived [class=monarch]) covers 2 failures: TEAM-17: new photos" in said
    assert "known: core_accuracy[class=species 1] of gate waived" in said
    assert not any("species 2" in line or "no longer there" in line for line in said)
    assert "ignore" not in cases(mixed())["floor"].system_out


def test_a_strict_baseline_that_fails_alone_is_a_failure_of_its_own() -> None:
    suite = opened(strict())
    assert (suite.tests, suite.failures) == (2, 1)
    case = cases(strict())["accepted findings"]
    assert "core_accuracy[class=species 2] of gate a" in case.result[0].message
    assert "species 1" not in case.result[0].message


def test_a_thousand_known_findings_are_listed_in_part_and_counted() -> None:
    many = verdict(
        gate("waived", "pass", known=1000), accepted=[accepted("waived", "known", number) for number in range(1000)]
    )
    said = cases(many)["waived"].system_out.splitlines()
    assert sum(line.startswith("known: core_accuracy") for line in said) == 20
    assert "known: 980 more" in said


def test_a_hostile_class_name_is_text_and_legal_xml() -> None:
    content = junit_xml(hostile())
    root = ET.fromstring(content)  # the parser itself refuses what XML 1.0 cannot hold
    assert [element.tag for element in root.iter("testcase")] == ["testcase"] * 4
    assert not any(element.tag == "img" for element in root.iter())
    shown = "".join(root.itertext()) + "".join(value for element in root.iter() for value in element.attrib.values())
    assert "<img src=x onerror=alert(1)>" in shown
    assert not set("\x00\x1b\ufffe") & set(shown)
    assert all("\n" not in value for element in root.iter() for value in element.attrib.values())


@pytest.mark.parametrize("ids", [("a b", "a\nb", "a b\x00"), ("a", "a (2)", "a\x00"), ("\x00", "\x01", "gate")])
def test_names_that_differ_in_what_xml_cannot_hold_stay_unique(ids: tuple[str, ...]) -> None:
    names = [case.name for case in opened(verdict(*map(gate, ids)))]
    assert len(set(names)) == len(ids)
    assert all(name.strip() for name in names)


def test_what_was_judged_stands_in_the_properties() -> None:
    properties = {one.name: one.value for one in opened(mixed()).properties()}
    assert properties == {
        "run_id": "0123456789abcdef",
        "model_sha256": "ab" * 32,
        "data": "birds",
        "config": "ci/.spuraudit.yaml",
        "baseline": "fedcba9876543210",
    }


def test_a_verdict_without_a_model_is_named_after_its_run() -> None:
    assert opened(verdict(gate("a"), model=None)).name == "0123456789abcdef"


def test_the_same_verdict_gives_the_same_bytes_and_no_time() -> None:
    again = Verdict.model_validate_json(mixed().model_dump_json(by_alias=True))
    assert junit_xml(mixed()) == junit_xml(again)
    assert b"time" not in junit_xml(verdict(gate("a")))
    assert HOSTILE not in junit_xml(hostile()).decode()
