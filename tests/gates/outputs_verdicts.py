"""Verdicts for the tests of their outputs: one of every kind, a hostile one, and large ones."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from gate_records import record

from spuraudit.record.scan import Finding
from spuraudit.record.verdict import Accepted, AcceptedResult, GateResult, Ignore, IgnoreResult, Rule, Verdict

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Outcome

#: What a class may be called by somebody who wishes no good.
HOSTILE = (
    "a|b`c`<img src=x onerror=alert(1)>\n\n## top\r\n::error::injected\n- @octocat #1 GH-7 [link](http://evil.example) "
    "www.evil.example --> ]]> &amp; $x$ \x00\x1b[31m\ufffe\u202e * _ ~ end"
)


def gate(
    id: str,
    outcome: Outcome = "fail",
    *,
    metric: str = "core_accuracy",
    text: str | None = None,
    rule: dict[str, Any] | None = None,
    **fields: Any,
) -> GateResult:
    """A gate with the numbers that tests look for; `rule` and `fields` override."""
    numbers = {"value": 0.7, "ci": (0.6, 0.8), "n": 1234, "matched": 3}
    return GateResult(
        rule=Rule(**{"id": id, "metric": metric, "op": ">=", "limit": 0.8, "line": 7, **(rule or {})}),
        outcome=outcome,
        text=text or f"{metric} of {id} is 70.0 %, below the limit of 80 %.",
        **({} if outcome == "not evaluated" else numbers) | {"matched": 3} | fields,
    )


def verdict(*gates: GateResult, **fields: Any) -> Verdict:
    """As `judge` concludes: not evaluated, then failed (those that only warn do not count), then passed."""
    outcomes = {one.outcome for one in gates if one.outcome != "fail" or one.rule.severity == "error"}
    outcome = next((kind for kind in ("not evaluated", "fail") if kind in outcomes), "pass")
    known: dict[str, Any] = {
        "model": "resnet50",
        "model_sha256": "ab" * 32,
        "data": "birds",
        "config": "ci/.spuraudit.yaml",
    }
    return Verdict(run_id="0123456789abcdef", outcome=outcome, gates=list(gates), **known | fields)


def mixed() -> Verdict:
    """One gate of every standing, with ignores, accepted findings and notes."""
    return verdict(
        gate("holds", "pass", text="All 3 hold."),
        gate("floor", failed=2),
        gate("soft", rule={"severity": "warn", "line": 9}),
        gate("unknown", "not evaluated", text="The record has no 'zzz'."),
        gate("waived", "pass", text="Ignored and known ones aside, it holds.", ignored=2, known=1),
        gate(
            "slipped",
            metric="rcs",
            rule={"op": "<=", "limit": 0.02, "of": "drop", "line": None},
            value=0.05,
            ci=(0.03, 0.07),
            baseline=0.4,
            current=0.35,
            p=0.0004,
        ),
        baseline="fedcba9876543210",
        ignores=[
            ignored("used", gate="waived", scope={"class": "monarch"}, reason="TEAM-17: new photos"),
            ignored("stale", gate="other", reason="no longer there"),
            ignored("expired", metric="rcs", reason="was to be mended", expires=date(2026, 1, 31), line=12),
        ],
        accepted=[accepted("waived", "known", 1), accepted("waived", "fixed", 2), accepted("gone", "stale", 3)],
        notes=["The baseline run saw 10 images more."],
    )


def strict() -> Verdict:
    """Every gate holds, and an accepted finding that is fixed fails a strict baseline."""
    known = [accepted("a", "known", 1), accepted("a", "fixed", 2)]
    return verdict(gate("a", "pass", known=1), accepted=known).model_copy(update={"outcome": "fail"})


def ignored(state: Any, *, covered: int = 2, **fields: Any) -> IgnoreResult:
    """An ignore and what became of it."""
    gates = [fields["gate"]] if "gate" in fields else []
    return IgnoreResult(ignore=Ignore(**fields), state=state, covered=covered, gates=gates)


def accepted(gate: str, state: Any, number: int) -> AcceptedResult:
    """An accepted finding of class `species NUMBER`."""
    scope = {"class": f"species {number}"}
    finding = Accepted(gate=gate, metric="core_accuracy", scope=scope, definition="core_accuracy/1", value=0.5)
    return AcceptedResult(accepted=finding, state=state)


def hostile() -> Verdict:
    """Every text that a stranger's data can bring is `HOSTILE`."""
    return verdict(
        gate(f"floor {HOSTILE}", text=f"core_accuracy[class={HOSTILE}] is low.", scope={"class": HOSTILE}),
        gate("unknown", "not evaluated", text=HOSTILE),
        gate("soft", rule={"severity": "warn"}, text=HOSTILE),
        gate("waived", "pass", text=HOSTILE, ignored=1, known=1),
        model=HOSTILE,
        data=HOSTILE,
        ignores=[
            ignored("used", gate="waived", scope={"class": HOSTILE}, reason=HOSTILE),
            ignored("expired", gate="waived", scope={"class": HOSTILE}, reason=HOSTILE),
        ],
        accepted=[
            AcceptedResult(
                accepted=Accepted(
                    gate="waived", metric="core_accuracy", scope={"class": HOSTILE}, definition="d", value=0.5
                ),
                state="known",
            )
        ],
        notes=[HOSTILE],
    )


def finding(number: int, *, suspected: bool = True, **fields: Any) -> Finding:
    """A finding of the region swap, or with other `fields`."""
    numbers = {"clean": 0.9, "same": 0.9, "other": 0.5, "gap": 0.4, "pull": 0.3}
    known: dict[str, Any] = {
        "id": f"F{number:03d}",
        "fingerprint": f"{number:064x}",
        "audit": "region_swap",
        "suspected": suspected,
        "class_name": f"species {number}",
        "feature": "background",
        "role": "background",
        "effect": 0.4,
        "effect_ci": (0.3, 0.5),
        "n": 60,
        "p": 1e-5,
        "q": 1e-4,
        "numbers": numbers,
    }
    return Finding(**known | fields)


def scanned(*findings: Finding) -> ScanRecord:
    """A record with these findings."""
    return record().model_copy(update={"findings": list(findings)})
