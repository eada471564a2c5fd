"""Which model is A and which is B, and everything known of both, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import NONE, listing
from spuraudit.report.views.compare_numbers import sign
from spuraudit.report.views.provenance import command_line, provenance

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import ScanRecord
    from spuraudit.report.views.compare_pair import Pair

_INNOCENT = {"Name", "File", "SHA-256", "Size", "Run", "Plan, SHA-256", "Started", "Duration", "Fingerprint", "Source"}
"""Facts that differ between any two runs, or that stand elsewhere on the page."""
_MOST = 6


@dataclass(frozen=True, slots=True)
class SideView:
    """One of the two runs in plain words."""

    letter: str
    role: str
    sign: Markup
    name: str
    arch: str
    sha: str
    run: str
    date: str
    command: str


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact of both; `b` is empty where it is the same."""

    name: str
    a: str
    b: str
    same: bool


def side_view(record: ScanRecord, letter: str, role: str, look: Markup) -> SideView:
    """A run as the top of a page tells it."""
    return SideView(
        letter=letter,
        role=role,
        sign=look,
        name=record.model.name,
        arch=record.model.arch,
        sha=record.model.sha256 or "",
        run=record.run.id,
        date=record.run.started[:10],
        command=command_line(record),
    )


def side_views(pair: Pair) -> list[SideView]:
    """A and B."""
    roles = ("Given first", f"Given second; changes are {pair.letters[1]} minus {pair.letters[0]}")
    return [
        side_view(record, letter, role, sign(place))
        for place, (record, letter, role) in enumerate(zip(pair.records, pair.letters, roles, strict=True))
    ]


def facts(pair: Pair) -> list[tuple[str, list[FactRow]]]:
    """Titled rows of provenance."""
    one, other = (dict(provenance(record)) for record in pair.records)
    return [(title, _rows(one.get(title, []), other.get(title, []))) for title in dict.fromkeys([*one, *other])]


def _rows(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> list[FactRow]:
    sides = [_joined(facts) for facts in (one, other)]
    rows = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(name, NONE) for side in sides)
        rows.append(FactRow(name, a, "" if a == b else b, a == b))
    return rows


def _joined(facts: list[tuple[str, str]]) -> dict[str, str]:
    """Facts of one name, such as notes, as one."""
    found: dict[str, str] = {}
    for name, value in facts:
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def differences(pair: Pair) -> str:
    """'Architecture, Mean and torch': what else differs between the two, beside their weights."""
    names = [row.name for _, rows in facts(pair) for row in rows if not row.same and row.name not in _INNOCENT]
    return listing(names, _MOST)
