"""The verdict on a fix in plain sentences: what the method gained beyond its control, and what got worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import count, many, value_of
from spuraudit.report.views.change_words import change_interval, change_of, metric_name
from spuraudit.report.views.fix_shortcuts import suspected_before

if TYPE_CHECKING:
    from spuraudit.record.fix import FixRecord
    from spuraudit.report.views.fix_shortcuts import ShortcutsView

_LABELS = {"gained": "Gained", "nothing": "Gained nothing", "lost": "Lost", "unknown": "Nothing can be said"}
_TONES = {"gained": "pass", "nothing": "open", "lost": "fail", "unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class FixHeadline:
    """`tone`: pass, open, fail or unknown, as everywhere."""

    tone: str
    label: str
    statement: str
    shortcuts: str
    worse: list[str]


def fix_headline(record: FixRecord, shortcuts: ShortcutsView) -> FixHeadline:
    """What stands at the top of page and short form. A gain beside a loss, of any kind, is no clean pass."""
    outcome = record.verdict.outcome
    worse = shortcuts.worse
    tone, label = _TONES[outcome], _LABELS[outcome]
    if worse:
        label += f", and {'a shortcut' if len(worse) == 1 else f'{len(worse)} shortcuts'} got worse"
        tone = "unknown" if tone == "pass" else "fail"
    if outcome == "gained" and no_better_than_before(record):
        label += ", but no better than before"
        tone = "unknown"
    clean = record.comparisons.credit.of("clean_accuracy", {})
    if clean is not None and clean.direction == "worse":
        label += ", and clean accuracy was lost"
        tone = "unknown" if tone == "pass" else tone
    lines = [
        f"{row.name} ({row.audit.lower()}): the effect is {row.effects[-1]} instead of {row.effects[0]}, {row.change} "
        f"against {shortcuts.against} (95 % interval {row.change_interval}), {row.credit}."
        for row in worse
    ]
    return FixHeadline(tone, label, statement(record), _repaired(record, shortcuts), lines)


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
        return f"Method {method} gains nothing beyond its control: {name} {images} changes by {size} ({ends}{sides})."
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
    counts = shortcuts.counts
    done = [
        f"{counts[state]} {'was' if counts[state] == 1 else 'were'} {state}"
        for state in ("repaired", "reduced")
        if state in counts
    ]
    if not done:
        return (
            f"Of {suspects} suspected shortcuts of {whose} none was repaired or reduced."
            if suspects > 1
            else (f"The one suspected shortcut of {whose} was neither repaired nor reduced.")
        )
    helped = sum(counts.get(state, 0) for state in ("repaired", "reduced"))
    of_them = "all" if shortcuts.credited == helped else "none" if not shortcuts.credited else str(shortcuts.credited)
    credit = f", {of_them} of them further than plain training did" if record.comparisons.fixed_before else ""
    return f"Of {many(suspects, 'suspected shortcut')} of {whose}, {' and '.join(done)}{credit}."
