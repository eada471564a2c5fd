"""The comment of a pull request, read by a CommonMark parser with GitHub's tables."""

from __future__ import annotations

import re
from datetime import date
from html import unescape
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from outputs_verdicts import HOSTILE, accepted, finding, gate, hostile, ignored, mixed, scanned, verdict

from spuraudit.gates.outputs import comment, step_summary
from spuraudit.gates.outputs.facts import headline
from spuraudit.gates.outputs.markdown import MARKER, MOST
from spuraudit.record.markdown import safe
from spuraudit.record.verdict import GateResult, Verdict

_NO_WIDTH = "​"
_OWN_TAGS = {"h2", "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}


class Page(HTMLParser):
    """Tags, cells of every table row, and text of rendered Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.cell = False
        html = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table").render(text)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.cell:
            self.rows[-1][-1] += data


def test_line_one_is_the_marker_of_a_bots_own_comment() -> None:
    assert comment(mixed()).splitlines()[0] == MARKER == "<!-- spuraudit:verdict -->"
    assert comment(verdict(gate("a", "pass"))).splitlines()[0] == MARKER


def test_the_verdict_the_gates_and_what_was_waived() -> None:
    page = Page(comment(mixed()))
    assert "spuraudit: NOT EVALUATED" in page.words
    said = "1 of 6 gates could not be evaluated, 1 of 6 gates only warned; failures: 2 ignored, 1 known; accepted"
    assert said in page.words
    assert f"Model resnet50 (sha256 {'ab' * 6}), data birds, run 0123456789abcdef, baseline run fedcba" in page.words
    rows = {row[1].strip(): [cell.strip() for cell in row] for row in page.rows if len(row) == 7}
    assert rows["floor"] == ["FAIL", "floor", "70.0 %", "60.0 to 80.0 %", ">= 80 %", "1,234", "-"]
    assert rows["soft"][0] == "warning"
    assert rows["unknown"] == ["NOT EVALUATED", "unknown", "-", "-", ">= 80 %", "-", "-"]
    assert rows["waived"] == ["pass", "waived", "70.0 %", "60.0 to 80.0 %", ">= 80 %", "1,234", "2 ignored, 1 known"]
    assert rows["slipped"][2:5] == ["0.050", "0.030 to 0.070", "drop <= 0.02"]
    ignores = [[cell.strip() for cell in row] for row in page.rows if len(row) == 5][1:]
    assert ignores == [
        ["stale", "gate other", "no longer there", "-", "2"],
        ["expired", "rcs", "was to be mended", "2026-01-31", "2"],
        ["used", "[class=monarch] of gate waived", "TEAM-17: new photos", "-", "2"],
    ]
    for state, number in (("Known", 1), ("Fixed", 2), ("Stale", 3)):
        after = page.words.split(f"{state}: accepted findings")[1]
        assert re.search(r"species (\d)", after)[1] == str(number)  # type: ignore[index]
    assert "The baseline run saw 10 images more." in page.words


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([("a", "pass", "error")], "PASSED\n\n**the gate holds.**"),
        ([("a", "pass", "error"), ("b", "pass", "error")], "PASSED\n\n**2 of 2 gates hold.**"),
        ([("a", "fail", "error")], "FAILED\n\n**the gate failed.**"),
        (
            [("a", "fail", "warn"), ("b", "pass", "error")],
            "PASSED\n\n**1 of 2 gates hold, 1 of 2 gates only warned.",
        ),
        ([("a", "fail", "error"), ("b", "pass", "error")], "FAILED\n\n**1 of 2 gates failed.**"),
        ([("a", "not evaluated", "warn")], "NOT EVALUATED\n\n**the gate could not be evaluated.**"),
    ],
)
def test_the_headline_counts_what_happened(gates: list[tuple[str, str, str]], said: str) -> None:
    made = [gate(id, outcome, rule={"severity": severity}) for id, outcome, severity in gates]  # type: ignore[arg-type]
    assert f"## spuraudit: {said}" in comment(verdict(*made))


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([gate("a", "pass", matched=1, ignored=1)], "1 gate; its failure is ignored until 2026-12-31."),
        ([gate("a", "pass", matched=1, known=1)], "1 gate; its failure is known."),
        ([gate("a", "pass", matched=3, ignored=1, known=2)], "1 gate; its failures: 1 ignored, 2 known."),
        ([gate("a", "pass", matched=3, known=2)], "the gate holds; failures: 2 known."),
        (
            [gate("a", "pass", matched=1, ignored=1), gate("b", "pass")],
            "1 of 2 gates hold, 1 of 2 gates does not hold and passes by exception; failures: 1 ignored.",
        ),
        (
            [gate("a", "pass", matched=1, ignored=1), gate("b", "pass", matched=2, known=2)],
            "2 of 2 gates do not hold and pass by exception; failures: 1 ignored, 2 known.",
        ),
    ],
)
def test_a_gate_whose_every_number_is_beyond_the_limit_does_not_hold(gates: list[GateResult], said: str) -> None:
    of_ignore = [ignored("used", gate="a", reason="new photos", expires=date(2026, 12, 31), covered=1)]
    made = verdict(*gates, ignores=of_ignore)
    assert headline(made) == f"PASSED: {said}"
    text = comment(made)
    assert f"**{said}**" in text
    assert "new photos" in text
    assert "### Gates that hold" not in text


def test_an_inconclusive_gate_holds_and_is_said_in_words() -> None:
    text = comment(verdict(gate("sure", "pass", text="sure."), gate("near", "pass", text="near; inconclusive: ...")))
    words = text.split("### In words")[1].split("###")[0]
    assert "near: near; inconclusive" in words
    assert "sure" not in words
    assert text.count("| pass |") == 2


def test_sections_without_content_are_left_out() -> None:
    text = comment(verdict(gate("a", "pass")))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## spuraudit: PASSED",
        "### Gates that pass",
    ]


def test_a_hostile_class_name_is_text_and_nothing_else() -> None:
    for text in (comment(hostile()), step_summary(hostile(), scanned(finding(1, class_name=HOSTILE, feature=HOSTILE)))):
        page = Page(text)
        assert set(page.tags) == _OWN_TAGS
        assert page.words.count("<img src=x onerror=alert(1)>") >= 10
        assert {len(row) for row in page.rows} == {7, 5}
        assert page.words.count(f"@{_NO_WIDTH}octocat") >= 10
        # GitHub looks for these in the finished page
        for pattern in (r"@octocat", r"#1\b", r"GH-7", r"http://", r"www\.evil"):
            assert not re.search(pattern, page.words), pattern
        assert not [line for line in text.splitlines() if line.startswith("## top")]
        assert "-->" not in text.replace(MARKER, "")


@pytest.mark.parametrize(
    "name",
    ["1. x", "- x", "+ x", "# x", "> x", "a_b_c", "~~x~~", "\\|", "`", "``x", "$x$", "<b>", "&lt;", "x  y", "![x](y)"],
)
def test_a_name_reads_as_it_was_written(name: str) -> None:
    for text in (f"- {safe(name)}\n", f"| a |\n| --- |\n| {safe(name)} |\n"):
        page = Page(text)
        assert " ".join(page.words.replace(_NO_WIDTH, "").split()).removeprefix("a ") == " ".join(name.split())
        assert set(page.tags) <= {"ul", "li", "p", "table", "thead", "tbody", "tr", "th", "td"}
        assert page.tags.count("li") <= 1


def test_a_long_name_is_cut() -> None:
    assert len(unescape(safe("x" * 5000))) == 300


def test_a_comment_has_at_most_60_000_characters_and_keeps_what_failed() -> None:
    failed = [gate(f"failed {number}", text="short") for number in range(100)]
    held = [gate(f"held {number}", "pass") for number in range(1500)]
    known = [accepted("failed 1", "known", number) for number in range(1500)]
    text = comment(verdict(*failed, *held, accepted=known, notes=["Read me."]))
    assert len(text) <= MOST
    assert text.count("**FAIL**") == 100
    assert "Read me." in text
    assert "1,500 more gates in the report." in text
    rest = re.search(r"([\d,]+) more known findings in the report", text)
    assert rest is not None
    assert int(rest[1].replace(",", "")) + text.count("species ") == 1500


@pytest.mark.parametrize("hostile_too", [False, True])
def test_a_comment_about_nothing_but_failures_still_fits(hostile_too: bool) -> None:
    text = HOSTILE if hostile_too else "x" * 900
    failed = [gate(f"failed {number} {text}", text=text) for number in range(600)]
    ignores = [ignored("expired", gate=f"g{number}", reason=text) for number in range(500)]
    shown = comment(verdict(*failed, ignores=ignores, notes=[text] * 500))
    assert len(shown) <= MOST
    assert "600 of 600 gates failed." in shown
    assert "| **FAIL** | failed 0 " in shown


def test_the_same_verdict_gives_the_same_text() -> None:
    assert comment(mixed()) == comment(Verdict.model_validate_json(mixed().model_dump_json(by_alias=True)))
