"""One measurement under one rule, and all that a rule matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Measurement, Scope
    from spuraudit.record.verdict import Outcome, Rule

# 0.8 - 0.7 is 0.10000000000000009 in binary: ten points must pass a limit of ten points.
ROUNDING = 1e-9


class Judged(NamedTuple):
    """One measurement under one rule; `margin` is how far it lies on the right side of the limit.

    `number` and its interval `ci` are what was held against the limit; `change` is where they come from in a limit on a
    drop.
    """

    measurement: Measurement
    outcome: Outcome
    text: str
    margin: float
    number: float | None
    ci: tuple[float, float] | None
    n: int
    change: Change | None = None


class Evidence(NamedTuple):
    """All that a rule matches; `problem`: why nothing can be judged. `left_out`: measurements that have no drop.

    `missing`: members of '*' that the data holds and that were not measured.
    """

    judged: list[Judged]
    problem: str | None = None
    left_out: int = 0
    missing: tuple[Scope, ...] = ()


def margin_of(rule: Rule, number: float) -> float:
    """How far a number lies on the right side of the limit."""
    return number - rule.limit if rule.op == ">=" else rule.limit - number
