"""A paired change put into words of the record: two measurements, the change between them, and its direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.comparison import Change

if TYPE_CHECKING:
    from spuraudit.record.comparison import Direction
    from spuraudit.record.scan import Measurement
    from spuraudit.stats.intervals import Estimate


def described(
    one: Measurement,
    other: Measurement,
    change: Estimate | None,
    *,
    p: float | None = None,
    direction: Direction | None = None,
    reason: str | None = None,
) -> Change:
    """A change between two measurements of the same metric and scope."""
    return Change(
        metric=one.metric,
        scope=one.scope,
        definition=one.definition,
        before=one.value,
        after=other.value,
        before_ci=one.ci,
        after_ci=other.ci,
        change=None if change is None else change.value,
        ci=None if change is None else (change.low, change.high),
        ci_method=None if change is None else change.method,
        reason=reason,
        p=p,
        n=min(one.n, other.n),
        direction=direction,
    )


def direction(change: Estimate, good_low: bool, judged: bool = True) -> Direction | None:
    """Better or worse where the interval excludes 0; None where the metric is not judged."""
    if not judged:
        return None
    if change.low > 0:
        return "worse" if good_low else "better"
    if change.high < 0:
        return "better" if good_low else "worse"
    return "unclear"
