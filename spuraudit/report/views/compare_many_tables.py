"""Tables of several runs: a column per run, the change against the first under each number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.record.folder import to_json
from spuraudit.report import bounds
from spuraudit.report.downloads import Attached
from spuraudit.report.formats import NONE, count, many
from spuraudit.report.numbers import Numbers
from spuraudit.report.views.arms import ArmCell
from spuraudit.report.views.change_words import EFFECTS, STATES, change_interval, change_of, shortcut_name
from spuraudit.report.views.compare_facts import SideView, side_view
from spuraudit.report.views.compare_headline import CompareHeadline, compare_headline
from spuraudit.report.views.compare_numbers import (
    change_row,
    explains,
    key_scopes,
    row_name,
    sides,
    sign,
)
from spuraudit.report.views.compare_shortcuts import TONES, effect_text, speaks
from spuraudit.report.views.key_numbers import key_groups
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from spuraudit.record.comparison import Shortcut
    from spuraudit.record.scan import ScanRecord
    from spuraudit.report.views.compare_many import ManyRuns, OtherRun
    from spuraudit.report.views.key_numbers import KeyRow

_Key = tuple[str, str, str | None, str]


@dataclass(frozen=True, slots=True)
class ManyCell:
    """A run's number; the change against the first is empty for the first itself."""

    own: ArmCell
    change: str
    change_interval: str
    tone: str
    word: str


@dataclass(frozen=True, slots=True)
class ManyRow:
    """One number of all runs that can be compared."""

    name: str
    explains: str
    n: str
    cells: list[ManyCell]


@dataclass(frozen=True, slots=True)
class ManyEffect:
    """How much a run depends on a shortcut; `label` is what became of it since the first run."""

    effect: str
    suspected: bool
    label: str
    tone: str
    change: str
    change_interval: str


@dataclass(frozen=True, slots=True)
class ManyShortcut:
    """A shortcut that one of the runs is suspected of, or that got worse in one."""

    name: str
    audit: str
    suspected: int
    effects: list[ManyEffect]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one run came to, against the first."""

    side: SideView
    head: CompareHeadline


@dataclass(frozen=True, slots=True)
class Apart:
    """A run that cannot be compared: why, and its own numbers."""

    side: SideView
    reason: str
    rows: list[KeyRow]


def many_views(runs: ManyRuns) -> dict[str, Any]:
    """Everything that the page of several runs is made of."""
    first = runs.first
    shortcuts, left_out = _shortcuts(runs)
    return {
        "title": f"{many(len(runs.others) + 1, 'run')} on {first.data.name}",
        "first": side_view(first, "A", "the reference", sign(0)),
        "tool": first.tool.version,
        "data": first.data,
        "compared": [Verdict(_side(one), compare_headline(pair)) for one, pair in runs.compared],
        "apart": [Apart(_side(one), one.reason, _own(one.record)) for one in runs.apart],
        "numbers": _numbers(runs),
        "shortcuts": shortcuts,
        "shortcuts_left_out": left_out,
        "facts": _facts(runs),
        "downloads": [
            Attached(
                f"comparison-{one.letter}.json",
                "application/json",
                to_json(pair.comparison),
                f"{one.letter} against {pair.letters[0]}.",
            )
            for one, pair in runs.compared
        ],
        "schema_version": runs.compared[0][1].comparison.schema_version if runs.compared else "",
    }


def _side(one: OtherRun) -> SideView:
    return side_view(one.record, one.letter, "", sign(1))


def _own(record: ScanRecord) -> list[KeyRow]:
    return [row for group in key_groups(Numbers(record.measurements)) for row in group.rows]


def _numbers(runs: ManyRuns) -> list[ManyRow]:
    """Rows of the first comparison that has them: definitions are the same in all that can be compared."""
    pairs = [pair for _, pair in runs.compared]
    wanted = {(metric, tuple(scope.items())): scope for pair in pairs for metric, scope in key_scopes(pair.changes)}
    rows = []
    for (metric, _), scope in wanted.items():
        found = [pair.changes.get(metric, scope) for pair in pairs]
        known = next((change for change in found if change is not None), None)
        if known is None:
            continue
        cells = [ManyCell(sides(known)[0], "", "", "", "")]
        for change, pair in zip(found, pairs, strict=True):
            if change is None:
                cells.append(ManyCell(ArmCell(NONE, ""), "", "", "", "not measured"))
                continue
            row = change_row(change, pair.letters)
            cells.append(ManyCell(row.cells[1], row.change, row.change_interval, row.tone, row.word))
        rows.append(ManyRow(row_name(metric, scope), explains(metric, scope), count(known.n), cells))
    return rows


def _shortcuts(runs: ManyRuns) -> tuple[list[ManyShortcut], list[str]]:
    """Those of most runs first."""
    pairs = [pair for _, pair in runs.compared]
    tested = [{_key(one): one for one in pair.comparison.shortcuts} for pair in pairs]
    keys = dict.fromkeys(key for side in tested for key, one in side.items() if speaks(one))
    rows = [_row([side.get(key) for side in tested]) for key in keys]
    rows.sort(key=lambda row: -row.suspected)
    more = len(rows) - bounds.ROWS
    return rows[: bounds.ROWS], [f"{many(more, 'shortcut')}: see the records."] if more > 0 else []


def _key(one: Shortcut) -> _Key:
    return one.audit, one.class_name, one.target_class, one.feature


def _row(found: list[Shortcut | None]) -> ManyShortcut:
    known = [one for one in found if one is not None]
    first = known[0]
    suspected = any(one.suspected[0] for one in known)
    effects = [ManyEffect(effect_text(first.audit, first.before), suspected, "", "", "", "")]
    effects += [_effect(one) for one in found]
    return ManyShortcut(shortcut_name(first), AUDITS[first.audit], sum(effect.suspected for effect in effects), effects)


def _effect(one: Shortcut | None) -> ManyEffect:
    if one is None:
        return ManyEffect(NONE, False, "Not tested", "open", "", "")
    metric = EFFECTS[one.audit]
    return ManyEffect(
        effect=effect_text(one.audit, one.after),
        suspected=one.suspected[1],
        label=STATES[one.state],
        tone=TONES.get(one.state, "open"),
        change=change_of(metric, one.change, unit=False),
        change_interval="" if one.ci is None else change_interval(metric, one.ci),
    )


def _facts(runs: ManyRuns) -> list[tuple[SideView, str]]:
    """Every run with its command."""
    first = side_view(runs.first, "A", "the reference", sign(0))
    return [(first, first.command), *((side, side.command) for one in runs.others for side in [_side(one)])]
