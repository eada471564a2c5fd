"""The verdict on a fix in plain sentences: what the method gained beyond its control, and what got worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import count, many, value_of
from spuraudit.report.views.change_words import change_interval, change_of, metric_name
from spuraudit.report.views.fix_shortcuts import suspected_before
from spuraudit.report.views.fix_sure import sure_changes

if TYPE_CHECKING:
    from spuraudit.record.fix import FixRecord
    from spuraudit.report.views.fix_shortcuts import ShortcutRow, ShortcutsView
    from spuraudit.report.views.fix_sure import SureChanges

_LABELS = {"gained": "Gained", "nothing": "No sure gain", "lost": "Lost", "unknown": "Nothing can be said"}
_TONES = {"gained": "pass", "nothing": "open", "lost": "fail", "unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class FixHeadline:
    """`tone`: pass, open, fail or unknown, as everywhere. `others`: sentences on other measures, losses first.

    `worse`, `less`: a sentence per shortcut that got worse; that the control depends on less.
    """

    tone: str
    label: str
    statement: str
    others: list[str]
    shortcuts: str
    worse: list[str]
    less: list[str]


def fix_headline(record: FixRecord, shortcuts: ShortcutsView) -> FixHeadline:
    """What stands at the top of page and short form. A gain beside a loss, of any kind, is no clean pass."""
    worse, less = shortcuts.of("worse"), shortcuts.less
    sure = sure_changes(record, ruined=bool(shortcuts.withheld))
    return FixHeadline(
        _tone(record, sure, bool(worse or less)),
        _label(record, sure, len(worse), len(less)),
        statement(record),
        [*sure.sentences(), *_beyond(record)],
        _repaired(record, shortcuts),
        [_grown(row, shortcuts.against) for row in worse],
        [_left(row) for row in less],
    )


def _tone(record: FixRecord, sure: SureChanges, shortcuts_lost: bool) -> str:
    tone = _TONES[record.verdict.outcome]
    if tone != "pass":
        return "fail" if sure.outweigh or shortcuts_lost else tone
    spoilt = shortcuts_lost or bool(sure.labels()) or no_better_than_before(record)
    return "unknown" if spoilt else tone


def _label(record: FixRecord, sure: SureChanges, worse: int, less: int) -> str:
    outcome = record.verdict.outcome
    asides = sure.labels()
    if outcome == "gained" and no_better_than_before(record):
        asides.insert(0, "it is no better than before")
    if worse:
        asides.append(f"{_shortcuts(worse)} got worse")
    if less:
        asides.append(f"the control depends less on {_shortcuts(less)}")
    link = "but" if outcome == "gained" else "and"
    return f"{_LABELS[outcome]}, {link} {', and '.join(asides)}" if asides else _LABELS[outcome]


def _beyond(record: FixRecord) -> list[str]:
    """A gain may come from what the control never saw."""
    return [f"Unlike its control, {record.method.name} also learned from {record.beyond}."] if record.beyond else []


def _shortcuts(number: int) -> str:
    return "a shortcut" if number == 1 else f"{number} shortcuts"


def _grown(row: ShortcutRow, against: str) -> str:
    return (
        f"{row.name} ({row.audit.lower()}): the effect is {row.effects[-1]} instead of {row.effects[0]}, {row.change} "
        f"against {against} (95 % interval {row.change_interval}), {row.credit}."
    )


def _left(row: ShortcutRow) -> str:
    before, control, fixed = row.effects
    return (
        f"{row.name} ({row.audit.lower()}): the effect is {fixed}; it was {before} in the delivered model and is "
        f"{control} in the control, a difference of {row.beyond} (95 % interval {row.beyond_interval})."
    )


def no_better_than_before(record: FixRecord) -> bool:
    """Whether a gain is over a control that plain training made worse, and not over the delivered model."""
    before, verdict = record.comparisons.fixed_before, record.verdict
    change = before.of(verdict.metric, verdict.scope) if before is not None else None
    return change is not None and change.change is not None and change.change <= 0


def statement(record: FixRecord) -> str:
    """What the method gained beyond its control, with interval and n."""
    verdict, method = record.verdict, record.method.name
    name = metric_name(verdict.metric, verdict.scope)
    if verdict.outcome == "unknown" or verdict.gain is None:
        return f"What {method} gains beyond its control cannot be said: {verdict.reason or 'nothing was measured.'}"
    change = record.comparisons.credit.of(verdict.metric, verdict.scope)
    ends = f"95 % interval {change_interval(verdict.metric, verdict.ci)}"
    sides = ""
    if change is not None:
        control, fixed = (value_of(verdict.metric, value) for value in (change.before, change.after))
        sides = f"; {control} with the control, {fixed} fixed"
    size = change_of(verdict.metric, verdict.gain)
    images = f"on {count(verdict.n)} held-out images"
    if verdict.outcome == "nothing":
        return f"Method {method} shows no sure gain in {name} beyond its control: {size} {images} ({ends}{sides})."
    verb = "improves" if verdict.outcome == "gained" else "worsens"
    said = f"Method {method} {verb} {name} beyond its control: {size} {images} ({ends}{sides})."
    if verdict.outcome == "gained" and no_better_than_before(record):
        said += " It is no better than the delivered model: plain training made that worse."
    return said


def _repaired(record: FixRecord, shortcuts: ShortcutsView) -> str:
    comparison = record.comparisons.fixed_before or record.comparisons.credit
    whose = "the delivered model" if record.comparisons.fixed_before is not None else "the control"
    suspects = suspected_before(comparison)
    if not suspects:
        return f"No shortcut of {whose} was suspected."
    counts = {state: shortcuts.counts[state] for state in ("repaired", "reduced") if state in shortcuts.counts}
    helped = sum(counts.values())
    if not helped:
        return (
            f"Of {suspects} suspected shortcuts of {whose} none was repaired or reduced."
            if suspects > 1
            else f"The one suspected shortcut of {whose} was neither repaired nor reduced."
        )
    if shortcuts.withheld:
        return (
            f"Of {many(suspects, 'suspected shortcut')} of {whose}, {helped} {'has' if helped == 1 else 'have'} a "
            f"smaller effect. No repair is credited: {shortcuts.withheld}, and effects fall with a model's accuracy."
        )
    done = [f"{number} {'was' if number == 1 else 'were'} {state}" for state, number in counts.items()]
    of_them = "all" if shortcuts.credited == helped else "none" if not shortcuts.credited else str(shortcuts.credited)
    credit = f", {of_them} of them further than plain training did" if record.comparisons.fixed_before else ""
    return f"Of {many(suspects, 'suspected shortcut')} of {whose}, {' and '.join(done)}{credit}."
