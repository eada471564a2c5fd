"""Which shortcuts got better or worse, which are new and which are gone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.limits import SUSPECT_Q
from spuraudit.record.units import unit_of
from spuraudit.report import bounds
from spuraudit.report.formats import count, listing, many, plain, pts
from spuraudit.report.views.change_words import EFFECTS, STATES, change_interval, change_of, shortcut_name
from spuraudit.report.views.compare_words import q_text
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.comparison import Comparison, Shortcut

TONES = {"worse": "fail", "new": "unknown", "reduced": "part", "repaired": "pass"}
"""State to the tone of its label; the others are open."""
_CLASSES = 3


@dataclass(frozen=True, slots=True)
class PairShortcut:
    """One shortcut as shown; an effect that its run suspects is marked."""

    state: str
    label: str
    tone: str
    name: str
    audit: str
    effects: tuple[str, str]
    suspected: tuple[bool, bool]
    change: str
    change_interval: str
    q: str
    n: str


@dataclass(frozen=True, slots=True)
class PairShortcuts:
    """`counts`: label, tone and number per state; `silent`: tested, suspected in neither run and not worse."""

    rows: list[PairShortcut]
    counts: list[tuple[str, str, int]]
    tested: int
    silent: int
    left_out: list[str]


def pair_shortcuts(comparison: Comparison) -> PairShortcuts:
    """Those that a run suspects or that got worse, worst first."""
    tested = comparison.shortcuts
    speaking = [one for one in tested if speaks(one)]
    speaking.sort(key=lambda one: list(STATES).index(one.state))
    states = Counter[str](one.state for one in speaking)
    counts = [(STATES[state], TONES.get(state, "open"), states[state]) for state in STATES if state in states]
    kept = speaking[: bounds.ROWS]
    more = len(speaking) - len(kept)
    return PairShortcuts(
        [shortcut_row(one) for one in kept],
        counts,
        len(tested),
        len(tested) - len(speaking),
        [f"{many(more, 'shortcut')}: see comparison.json."] if more else [],
    )


def surely_better(shortcuts: Iterable[Shortcut]) -> list[Shortcut]:
    """Repaired and reduced ones with q of at most 0.05, the largest fall first: the bar that `worse` has."""
    found = [one for one in shortcuts if one.state in ("repaired", "reduced") and one.q is not None]
    return sorted((one for one in found if (one.q or 0.0) <= SUSPECT_Q), key=lambda one: one.change or 0.0)


def surely_worse(shortcuts: Iterable[Shortcut]) -> list[Shortcut]:
    """Those that grew with q of at most 0.05, the largest growth first."""
    return sorted((one for one in shortcuts if one.state == "worse"), key=lambda one: -(one.change or 0.0))


def speaks(one: Shortcut) -> bool:
    """Whether a shortcut is suspected in a run, or got worse."""
    return any(one.suspected) or one.state == "worse"


def shortcut_row(one: Shortcut) -> PairShortcut:
    """A shortcut as a row of a table."""
    metric = EFFECTS[one.audit]
    return PairShortcut(
        state=one.state,
        label=STATES[one.state],
        tone=TONES.get(one.state, "open"),
        name=shortcut_name(one),
        audit=AUDITS[one.audit],
        effects=(effect_text(one.audit, one.before), effect_text(one.audit, one.after)),
        suspected=one.suspected,
        change=change_of(metric, one.change),
        change_interval=change_interval(metric, one.ci),
        q=q_text(one.q),
        n=count(one.n),
    )


def effect_text(audit: str, value: float | None) -> str:
    """An effect in the unit of its audit: points without the word, or certainty."""
    return pts(value) if unit_of(EFFECTS[audit]) == "difference" else plain(value)


def in_words(shortcuts: Iterable[Shortcut]) -> str:
    """'background of landbird and waterbird, and tag of 12 classes'."""
    classes: dict[str, dict[str, None]] = {}
    for one in shortcuts:
        classes.setdefault(one.feature, {})[one.class_name] = None
    return listing([_of_classes(feature, list(named)) for feature, named in classes.items()], 3)


def _of_classes(feature: str, named: list[str]) -> str:
    whose = listing(named) if len(named) <= _CLASSES else f"{count(len(named))} classes"
    return f"{feature} of {whose}"
