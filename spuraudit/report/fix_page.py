"""The page of a fix: before, control and fixed side by side. Same fix.json, same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spuraudit.record.fix import read_fix
from spuraudit.record.folder import to_json
from spuraudit.report.downloads import Attached
from spuraudit.report.edition import Edition
from spuraudit.report.layout import compose_plain, notes_section
from spuraudit.report.parts import Parts
from spuraudit.report.templating import Page, Section
from spuraudit.report.views.fix_cost import cost_view
from spuraudit.report.views.fix_headline import fix_headline
from spuraudit.report.views.fix_method import (
    fix_command,
    fix_facts,
    lead,
    options,
    report_links,
    settings_title,
    training_settings,
)
from spuraudit.report.views.fix_numbers import numbers_view
from spuraudit.report.views.fix_shortcuts import shortcuts_view
from spuraudit.report.views.fix_training import training_view

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.fix import FixRecord


def render_fix(
    folder: Path,
    *,
    title: str | None = None,
    edition: Edition | None = None,
    parts: Parts | None = None,
    linked: bool = True,
) -> str:
    """The report of a finished fix as one HTML text. `title` replaces "METHOD on MODEL".

    `parts`: takes what lies beside the page; None: everything is inside. `linked`: whether the page lies in the fix's
    folder, from where links lead to the reports of its scans. Raises RunError where the folder holds no finished fix.
    """
    return render_fix_record(read_fix(folder), title=title, edition=edition, parts=parts, linked=linked)


def render_fix_record(
    record: FixRecord,
    *,
    title: str | None = None,
    edition: Edition | None = None,
    parts: Parts | None = None,
    linked: bool = True,
) -> str:
    """The page as a pure function of the record."""
    views, edition = _views(record, linked), edition or Edition()
    sections = [one for one in _sections(views, edition) if one.shown]
    page = Page(title or f"{record.method.name} on {record.model.name}", sections, label=views["head"].label)
    return compose_plain("fix.html.j2", page, views, edition=edition, parts=parts or Parts(), sheets=("fix",))


def _views(record: FixRecord, linked: bool) -> dict[str, Any]:
    shortcuts = shortcuts_view(record)
    return {
        "record": record,
        "head": fix_headline(record, shortcuts),
        "numbers": numbers_view(record),
        "shortcuts": shortcuts,
        "cost": cost_view(record),
        "training": training_view(record),
        "options": options(record),
        "settings": training_settings(record),
        "settings_title": settings_title(record),
        "lead": lead(record),
        "links": report_links(record) if linked else [],
        "facts": fix_facts(record),
        "command": fix_command(record),
        "notes": _notes(record),
        "downloads": [Attached("fix.json", "application/json", to_json(record), "The record of the fix.")],
    }


def _notes(record: FixRecord) -> list[str]:
    sides = record.comparisons
    compared = [note for one in (sides.credit, sides.fixed_before) if one is not None for note in one.notes]
    return list(dict.fromkeys([*record.notes, *compared]))


def _sections(views: dict[str, Any], edition: Edition) -> list[Section]:
    return [
        notes_section(edition),
        Section("shortcuts", "Shortcuts", "fix_shortcuts"),
        Section("numbers", "Key numbers", "fix_numbers", bool(views["numbers"].key)),
        Section("groups", "Groups", "fix_groups", bool(views["numbers"].groups)),
        Section("cost", "What it cost", "fix_cost"),
        Section("training", "Training", "fix_training", views["training"] is not None),
        Section("method", "What was done", "fix_method"),
        Section("provenance", "Provenance", "fix_provenance"),
        Section("record", "The record", "fix_record"),
    ]
