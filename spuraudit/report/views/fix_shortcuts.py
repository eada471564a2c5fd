"""What became of the shortcuts: worse ones first, and what the control did to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.units import unit_of
from spuraudit.report import bounds
from spuraudit.report.formats import NONE, count, many, plain, pts
from spuraudit.report.views.change_words import EFFECTS, STATES, change_interval, change_of, metric_name, shortcut_name
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from spuraudit.record.comparison import Comparison, Shortcut
    from spuraudit.record.fix import FixRecord

_Key = tuple[str, str, str | None, str]

_TONES = {"worse": "fail", "behind": "unknown", "new": "unknown", "reduced": "part", "repaired": "pass"}
_FELL = ("reduced", "repaired")


@dataclass(frozen=True, slots=True)
class ShortcutRow:
    """One shortcut. `credited`, `less`: fell further, or less, than under the control, its interval without 0."""

    state: str
    label: str
    tone: str
    name: str
    audit: str
    effects: list[str]
    change: str
    change_interval: str
    beyond: str
    beyond_interval: str
    credit: str
    credited: bool
    less: bool
    q: str
    n: str


@dataclass(frozen=True, slots=True)
class ShortcutsView:
    """`counts`: state to number; `silent`: tested, never suspected and not worse.

    `withheld`: why no repair is credited, although effects may have fallen; empty where repairs are.
    """

    rows: list[ShortcutRow]
    counts: dict[str, int]
    credited: int
    silent: int
    against: str
    left_out: list[str]
    withheld: str

    @property
    def less(self) -> list[ShortcutRow]:
        """Those that the control depends on less, whatever became of them since the delivered model."""
        return [row for row in self.rows if row.less]

    def of(self, state: str) -> list[ShortcutRow]:
        """The rows of a state; those that are `worse` are to be shouted about."""
        return [row for row in self.rows if row.state == state]


def shortcuts_view(record: FixRecord) -> ShortcutsView:
    """Against the delivered model where there is one, else against the control."""
    credit = record.comparisons.credit
    earlier = record.comparisons.fixed_before
    beyond = {_key(one): one for one in credit.shortcuts}
    withheld = why_withheld(record)
    shown = (earlier or credit).shortcuts
    rows = [
        _row(one, beyond.get(_key(one)), has_before=earlier is not None, withheld=bool(withheld))
        for one in shown
        if _speaks(one, beyond)
    ]
    rows.sort(key=lambda row: list(STATES).index(row.state))
    counts = {state: number for state in STATES if (number := sum(row.state == state for row in rows))}
    kept = rows[: bounds.ROWS]
    left_out = [f"{many(len(rows) - len(kept), 'shortcut')}: see fix.json."] if len(rows) > len(kept) else []
    credited = sum(row.credited for row in rows if row.state in _FELL)
    against = "the delivered model" if earlier is not None else "the control"
    return ShortcutsView(kept, counts, credited, len(shown) - len(rows), against, left_out, withheld)


def why_withheld(record: FixRecord) -> str:
    """Why a smaller effect is no repair; empty where it may be one.

    Effects fall with accuracy: a model that always answers the same depends on nothing.
    """
    verdict, comparisons = record.verdict, record.comparisons
    for side, whose in ((comparisons.credit, "with the control"), (comparisons.fixed_before, "in the delivered model")):
        for metric, scope in (("clean_accuracy", {}), (verdict.metric, verdict.scope)):
            change = side.of(metric, scope) if side is not None else None
            if change is not None and change.direction == "worse":
                return f"{metric_name(metric, scope)} is lower than {whose}"
    if verdict.outcome == "lost":
        return f"{metric_name(verdict.metric, verdict.scope)} is lower than with the control"
    if verdict.outcome == "unknown":
        reason = verdict.reason or "no verdict could be given"
        return f"{reason[:1].lower()}{reason[1:].rstrip('.')}"
    return ""


def _key(one: Shortcut) -> _Key:
    return one.audit, one.class_name, one.target_class, one.feature


def _speaks(one: Shortcut, beyond: dict[_Key, Shortcut]) -> bool:
    """Whether a shortcut was ever suspected, or got worse."""
    other = beyond.get(_key(one))
    return any(one.suspected) or one.state == "worse" or (other is not None and other.state == "worse")


def _row(one: Shortcut, beyond: Shortcut | None, *, has_before: bool, withheld: bool) -> ShortcutRow:
    less = has_before and one.state != "worse" and beyond is not None and beyond.state == "worse"
    state = "behind" if less and one.state not in _FELL else one.state
    fell = state in _FELL
    metric = EFFECTS[one.audit]
    credited = beyond is not None and beyond.ci is not None and beyond.ci[1] < 0 and not withheld
    effects = [one.before] if has_before else []
    effects += [beyond.before if beyond is not None else None, one.after]
    return ShortcutRow(
        state=state,
        label="Smaller effect" if fell and withheld else STATES[state],
        tone="open" if fell and withheld else _TONES.get(state, "open"),
        name=shortcut_name(one),
        audit=AUDITS[one.audit],
        effects=[_effect(metric, value) for value in effects],
        change=change_of(metric, one.change),
        change_interval=change_interval(metric, one.ci),
        beyond=change_of(metric, beyond.change if beyond is not None else None),
        beyond_interval=change_interval(metric, beyond.ci if beyond is not None else None),
        credit=_credit(state, beyond, credited=credited, withheld=withheld),
        credited=credited,
        less=less,
        q=NONE if one.q is None else "< 0.001" if one.q < 0.001 else f"{one.q:.3f}",
        n=count(one.n),
    )


def _effect(metric: str, value: float | None) -> str:
    return pts(value) if unit_of(metric) == "difference" else plain(value)


def _credit(state: str, beyond: Shortcut | None, *, credited: bool, withheld: bool) -> str:
    """Who did it: the method, or any further training."""
    if beyond is None or beyond.ci is None:
        return "not compared with the control"
    if state in (*_FELL, "gone"):
        if withheld:
            return "no repair: effects fall with accuracy"
        if beyond.state == "worse":
            return "surely less than under the control"
        return "further than under the control" if credited else "no further than under the control"
    if state in ("worse", "new"):
        return "more than under the control" if beyond.ci[0] > 0 else "no more than under the control"
    return "the control depends on it surely less" if state == "behind" else ""


def suspected_before(comparison: Comparison) -> int:
    """Shortcuts that the model before was suspected of."""
    return sum(one.suspected[0] for one in comparison.shortcuts)
