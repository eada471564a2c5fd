"""What may lie beyond a limit without failing: warnings, shares, ignores. Missing evidence never may."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from gate_records import measured, record

from spuraudit.errors import ConfigError, UsageError
from spuraudit.gates import judge, parse_rule
from spuraudit.gates.ignores import describe
from spuraudit.record.folder import to_json
from spuraudit.record.verdict import GateResult, Ignore, IgnoreResult, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.scan import ScanRecord

TODAY = date(2026, 11, 27)
#: Ten classes, c0 to c9, of which c0, c1 and c2 lie below 0.5.
VALUES = (0.2, 0.3, 0.4, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
CLASSES = record(*[measured("core_accuracy", value, scope={"class": f"c{n}"}) for n, value in enumerate(VALUES)])
UNJUDGED = record(*CLASSES.measurements, measured("core_accuracy", None, reason="no mask", scope={"class": "c10"}))


def rule(text: str = "core_accuracy[class=*] >= 0.5", **terms: Any) -> Rule:
    return parse_rule(text).model_copy(update=terms)


def verdict(rules: Sequence[Rule], *ignores: Ignore, of: ScanRecord = CLASSES, today: date | None = TODAY) -> Verdict:
    return judge(of, rules, ignores=ignores, today=today)


def gate(rules: Rule, *ignores: Ignore, of: ScanRecord = CLASSES) -> GateResult:
    return verdict([rules], *ignores, of=of).gates[0]


def test_a_warning_is_shown_and_does_not_fail() -> None:
    warned = verdict([rule(severity="warn"), rule("core_accuracy[class=c9] >= 0.9", id="nine")])
    assert [one.outcome for one in warned.gates] == ["fail", "pass"]
    assert warned.outcome == "pass"
    both = verdict([rule(severity="warn"), rule(id="again")])
    assert both.outcome == "fail"


@pytest.mark.parametrize("terms", [{"severity": "warn"}, {"allow_fraction": 0.9}])
def test_what_cannot_be_judged_is_never_excused(terms: dict[str, Any]) -> None:
    everything = Ignore(metric="core_accuracy", reason="x")
    judged = verdict([rule(**terms)], everything, of=UNJUDGED)
    assert (judged.outcome, judged.gates[0].outcome) == ("not evaluated", "not evaluated")
    assert "no mask" in judged.gates[0].text
    nothing = verdict([rule("zzz[class=*] >= 0.5", **terms)], Ignore(metric="zzz", reason="x"))
    assert nothing.outcome == "not evaluated"


@pytest.mark.parametrize(("share", "outcome"), [(0.0, "fail"), (0.2, "fail"), (0.29, "fail"), (0.3, "pass")])
def test_a_share_of_what_the_wildcard_matches_may_fail(share: float, outcome: str) -> None:
    result = gate(rule(allow_fraction=share))
    assert (result.outcome, result.failed, result.matched) == (outcome, 3, 10)
    assert result.scope == {"class": "c0"}
    allowed = f", which allow_fraction {share} allows" if outcome == "pass" else ""
    assert result.text.startswith(f"3 of 10 fail{allowed}; the worst: core_accuracy[class=c0] is 20.0 %")


def test_a_share_needs_a_wildcard() -> None:
    with pytest.raises(ConfigError, match="the scope has none"):
        gate(rule("core_accuracy[class=c9] >= 0.5", allow_fraction=0.5))


@pytest.mark.parametrize(
    ("ignores", "failed", "ignored", "start"),
    [
        ([{"scope": {"class": "c0"}}], 2, 1, "2 of 10 fail, 1 is ignored; the worst: core_accuracy[class=c1]"),
        ([{"scope": {"class": "c9"}}], 3, 0, "3 of 10 fail; the worst"),
        ([{"scope": {"class": "c0"}}, {"scope": {"class": "c1"}}], 1, 2, "1 of 10 fail, 2 are ignored; the worst"),
        ([{"scope": {"class": "*"}}], 0, 3, "7 of 10 hold, 3 are ignored; the nearest to the limit: core_accuracy[c"),
        ([{"gate": "floor"}], 0, 3, "7 of 10 hold"),
        ([{"gate": "flor"}], 3, 0, "3 of 10 fail"),
        ([{"gate": "floor", "metric": "rcs"}], 3, 0, "3 of 10 fail"),
        ([{"metric": "core_accuracy"}], 0, 3, "7 of 10 hold"),
        ([{"scope": {"class": "c0", "feature": "*"}}], 3, 0, "3 of 10 fail"),
    ],
)
def test_an_ignore_covers_what_it_names(ignores: list[dict[str, Any]], failed: int, ignored: int, start: str) -> None:
    result = gate(rule(id="floor"), *(Ignore(reason="x", **one) for one in ignores))
    assert (result.failed, result.ignored, result.outcome) == (failed, ignored, "fail" if failed else "pass")
    assert result.text.startswith(start)


def test_a_gate_whose_only_measurement_is_ignored_says_so() -> None:
    result = gate(rule("core_accuracy[class=c0] >= 0.5"), Ignore(scope={"class": "c0"}, reason="x"))
    assert (result.outcome, result.value) == ("pass", 0.2)
    assert result.text.startswith("Ignored: core_accuracy[class=c0] is 20.0 %")
    two = rule("core_accuracy[class=*] >= 1")
    assert gate(two, Ignore(metric="core_accuracy", reason="x")).text.startswith("None of 10 holds, 10 are ignored;")


def test_ignored_ones_are_not_counted_against_the_share() -> None:
    terms = rule(allow_fraction=0.2)
    assert gate(terms).outcome == "fail"
    assert gate(terms, Ignore(scope={"class": "c0"}, reason="x")).outcome == "pass"


def test_what_became_of_each_ignore() -> None:
    ignores = [
        Ignore(gate="floor", scope={"class": "c0"}, reason="TEAM-1", line=4),
        Ignore(scope={"class": "c9"}, reason="holds by now"),
        Ignore(metric="core_accuracy", reason="too late", expires=date(2026, 11, 26), line=6),
        Ignore(scope={"class": "c1"}, reason="in time", expires=TODAY),
        Ignore(gate="flor", reason="misspelt", line=8),
    ]
    judged = verdict([rule(id="floor")], *ignores)
    assert [(one.state, one.covered) for one in judged.ignores] == [
        ("used", 1),
        ("stale", 0),
        ("expired", 3),
        ("used", 1),
        ("stale", 0),
    ]
    assert (judged.gates[0].failed, judged.gates[0].ignored) == (1, 2)
    assert [describe(one) for one in judged.ignores] == [
        "The ignore in line 4 (floor [class=c0]) covers 1 failure: TEAM-1",
        "The ignore ([class=c9]) covers nothing and can be removed: holds by now",
        "The ignore in line 6 (core_accuracy) expired on 2026-11-26 and covers nothing any more (3 failures would be "
        "covered): too late",
        "The ignore ([class=c1]) covers 1 failure, until 2026-11-27: in time",
        "The ignore in line 8 (flor) covers nothing and can be removed: misspelt",
    ]
    assert judged.notes == [
        "The ignore in line 8 (flor) names the gate 'flor', which is not judged. Did you mean 'floor'?"
    ]


def test_the_day_is_an_argument_and_not_the_clock() -> None:
    dated = Ignore(metric="core_accuracy", reason="x", expires=date(2026, 11, 27))
    assert verdict([rule()], dated, today=date(2026, 11, 27)).outcome == "pass"
    assert verdict([rule()], dated, today=date(2026, 11, 28)).outcome == "fail"
    with pytest.raises(UsageError, match="no day was given"):
        verdict([rule()], dated, today=None)
    timeless = Ignore(metric="core_accuracy", reason="x")
    days = {to_json(verdict([rule()], timeless, today=day)) for day in (None, TODAY, date(2030, 1, 1))}
    assert len(days) == 1
    assert Verdict.model_validate_json(days.pop()).ignores == [
        IgnoreResult(ignore=timeless, state="used", covered=3, gates=["core_accuracy[class=*] >= 0.5"])
    ]
