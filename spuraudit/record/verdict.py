"""The verdict of gates over a record: `verdict.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from spuraudit.record.base import Part
from spuraudit.record.scan import Scope

Outcome = Literal["pass", "fail", "not evaluated"]


class Rule(Part):
    """A limit on measurements. `scope` selects; '*' as a value means: every one of them must hold."""

    id: str
    metric: str
    scope: Scope = Field(default_factory=dict)
    op: Literal[">=", "<="]
    limit: float
    bound: Literal["point", "ci_low", "ci_high"] = "point"
    min_n: int = Field(default=50, ge=1)


class GateResult(Part):
    """What one rule came to, with the measurement that decided it (the worst one, where several matched)."""

    rule: Rule
    outcome: Outcome
    text: str = Field(description="One sentence with value, interval, limit and n; why, where not evaluated.")
    matched: int = Field(description="Measurements the rule matched.")
    value: float | None = None
    ci: tuple[float, float] | None = None
    n: int | None = None
    scope: Scope = Field(default_factory=dict)


class Verdict(Part):
    """All gates of a run. Not evaluated outranks failed outranks passed; without rules there is nothing to pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/verdict"] = Field(default="spuraudit/verdict", alias="schema")
    schema_version: str = "1.0"
    run_id: str
    outcome: Outcome
    gates: list[GateResult]
