"""Annotations as GitHub's runner reads them, and the summary of a step."""

from __future__ import annotations

import re
from datetime import date

import pytest
from gate_records import record
from outputs_verdicts import HOSTILE, accepted, finding, gate, hostile, ignored, mixed, scanned, strict, verdict

from spuraudit.gates.outputs import annotation_lines, step_summary
from spuraudit.gates.outputs.github import MOST_SUMMARY
from spuraudit.record.verdict import Verdict

_COMMAND = re.compile(r"::(error|warning) ([^:]*(?:%3A[^:]*)*)::(.*)")


def read(line: str) -> tuple[str, dict[str, str], str]:
    """Level, properties and message, unescaped in the order of the runner (actions/toolkit#301)."""
    match = _COMMAND.fullmatch(line)
    assert match is not None, line
    properties = dict(one.split("=", 1) for one in match[2].split(","))

    def plain(text: str) -> str:
        for token, written in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C"), ("%", "%25")):
            text = text.replace(written, token)
        return text

    return match[1], {name: plain(value) for name, value in properties.items()}, plain(match[3])


def test_errors_then_warnings_at_the_line_of_their_gate() -> None:
    found = [read(line) for line in annotation_lines(mixed())]
    assert [(level, one["file"], one["line"], one["title"]) for level, one, _ in found] == [
        ("error", "ci/.spuraudit.yaml", "7", "spuraudit floor"),
        ("error", "ci/.spuraudit.yaml", "7", "spuraudit unknown"),
        ("error", "ci/.spuraudit.yaml", "1", "spuraudit slipped"),
        ("warning", "ci/.spuraudit.yaml", "9", "spuraudit soft"),
        ("warning", "ci/.spuraudit.yaml", "12", "spuraudit expired ignore"),
    ]
    assert found[0][2] == "core_accuracy of floor is 70.0 %, below the limit of 80 %."
    assert found[4][2] == (
        "The ignore in line 12 (rcs) expired on 2026-01-31 and covers nothing any more (2 failures would be covered): "
        "was to be mended"
    )


def test_a_strict_baseline_that_fails_alone_is_an_error_of_its_own() -> None:
    (line,) = annotation_lines(strict())
    level, properties, message = read(line)
    assert (level, properties["title"]) == ("error", "spuraudit accepted findings")
    assert "core_accuracy[class=species 2] of gate a" in message


def test_a_passed_verdict_says_nothing() -> None:
    assert annotation_lines(verdict(gate("a", "pass"), ignores=[ignored("used", gate="a", reason="known")])) == []


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (9, 9), (10, 10), (11, 10), (500, 10)])
@pytest.mark.parametrize("level", ["error", "warning"])
def test_a_level_has_at_most_ten_lines_and_the_last_counts_the_rest(level: str, count: int, lines: int) -> None:
    rule = {"severity": "error" if level == "error" else "warn"}
    found = annotation_lines(verdict(*(gate(f"g{number}", rule=rule) for number in range(count))))
    assert len(found) == lines
    assert all(read(line)[0] == level for line in found)
    if count > lines:
        assert read(found[-1])[2] == f"{count - 9:,} more in the report."


def test_a_hostile_name_stays_inside_its_one_line() -> None:
    lines = annotation_lines(hostile())
    assert len(lines) == 4
    for line in lines:
        assert len(line.splitlines()) == 1
        assert line.isprintable()
        _, properties, _ = read(line)
        assert set(properties) == {"file", "line", "title"}
        assert properties["file"] == "ci/.spuraudit.yaml"
    assert "<img src=x onerror=alert(1)> ## top ::error::injected" in read(lines[0])[2]


def test_signs_of_the_command_syntax_are_escaped_and_come_back() -> None:
    odd = verdict(gate("a,b:c%2C=100 %", text="50 % :: a,b %0A c"), config="a,b:c%.yaml")
    (line,) = annotation_lines(odd)
    assert line == (
        "::error file=a%2Cb%3Ac%25.yaml,line=7,title=spuraudit a%2Cb%3Ac%252C=100 %25::50 %25 :: a,b %250A c"
    )
    _, properties, message = read(line)
    assert (properties["file"], message) == ("a,b:c%.yaml", "50 % :: a,b %0A c")


def test_the_summary_has_gates_findings_and_notes() -> None:
    text = step_summary(mixed(), scanned(finding(1), finding(2, suspected=False)))
    assert text.startswith("## spuraudit: NOT EVALUATED\n\n**2 of 6 gates failed, 1 of 6 gates could not be ")
    headings = [line for line in text.splitlines() if line.startswith("### ")]
    assert headings == [
        "### Gates to look at",
        "### Notes",
        "### In words",
        "### Ignored",
        "### Stale: accepted findings that nothing matches",
        "### Fixed: accepted findings that hold now",
        "### Known: accepted findings that are still there",
        "### Gates that pass",
        "### Suspected spurious features",
    ]
    assert "| F001 | species 1 | background | region swap | 40.0 points (30.0 to 50.0 points) | 0.0001 | 60 |" in text
    assert "species 2 | background" not in text


def huge() -> Verdict:
    failed = [gate(f"failed {number}", text=f"{number} {'x' * 700}") for number in range(1000)]
    held = [gate(f"held {number} {'y' * 200}", "pass") for number in range(1000)]
    known = [accepted("failed 1", "known", number) for number in range(1000)]
    return verdict(*failed, *held, accepted=known, notes=[f"note {number}" for number in range(50)])


def test_the_summary_sheds_from_the_end_and_never_the_verdict() -> None:
    findings = scanned(*map(finding, range(1000)))
    text = step_summary(huge(), findings)
    assert len(text.encode()) <= MOST_SUMMARY
    assert text.startswith("## spuraudit: FAILED\n\n**1000 of 2000 gates failed.**")
    assert "1,000 more suspected features in the report." in text
    assert "| F000 |" not in text
    assert "| **FAIL** | failed 999 |" in text
    assert "- note 49" in text


@pytest.mark.parametrize("most", [900_000, 300_000, 30_000, 3_000, 1_200])
def test_a_summary_fits_whatever_room_is_left(most: int) -> None:
    text = step_summary(huge(), scanned(*map(finding, range(1000))), most)
    assert len(text.encode()) <= most
    assert "**1000 of 2000 gates failed.**" in text
    for label in ("| **FAIL**", "| pass"):
        shown = sum(line.startswith(label) for line in text.splitlines())
        assert shown == 1000 or f"{1000 - shown:,} more gates in the report." in text


def test_without_any_room_the_verdict_is_still_there() -> None:
    text = step_summary(huge(), record(), -5)
    assert "**1000 of 2000 gates failed.**" in text
    assert len(text) < 1_500


def test_wide_characters_count_as_bytes() -> None:
    wide = verdict(*(gate(f"{number} {'鳥' * 200}", "pass") for number in range(3000)))
    assert len(step_summary(wide, record()).encode()) <= MOST_SUMMARY


def test_the_same_verdict_gives_the_same_text() -> None:
    again = Verdict.model_validate_json(mixed().model_dump_json(by_alias=True))
    assert annotation_lines(mixed()) == annotation_lines(again)
    assert step_summary(mixed(), record()) == step_summary(again, record())
    assert str(date.today()) not in step_summary(mixed(), record())
    assert HOSTILE not in step_summary(hostile(), record())
