"""The page of a comparison: two runs, or several against the first. Same runs, same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spuraudit.record.folder import to_json, write_bytes
from spuraudit.report.downloads import Attached
from spuraudit.report.edition import Edition
from spuraudit.report.layout import compose_plain, notes_section
from spuraudit.report.parts import Parts, parts_of, write_page
from spuraudit.report.templating import Page, Section
from spuraudit.report.views.compare_classes import class_changes
from spuraudit.report.views.compare_csv import comparison_csv
from spuraudit.report.views.compare_facts import differences, facts, side_views
from spuraudit.report.views.compare_headline import compare_headline
from spuraudit.report.views.compare_limits import limits
from spuraudit.report.views.compare_many import ManyRuns, gather_many
from spuraudit.report.views.compare_many_tables import many_views
from spuraudit.report.views.compare_markdown import comparison_markdown
from spuraudit.report.views.compare_numbers import compare_numbers
from spuraudit.report.views.compare_pair import Pair, gather_pair
from spuraudit.report.views.compare_patches import pair_patches
from spuraudit.report.views.compare_shortcuts import pair_shortcuts
from spuraudit.report.views.compare_words import default_title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHEETS = ("fix", "compare")


def render_comparison(
    a: Path, b: Path, *, title: str | None = None, edition: Edition | None = None, parts: Parts | None = None
) -> str:
    """What changed from run A to run B as one HTML text. `title` replaces "MODEL B against MODEL A".

    `parts`: takes what lies beside the page; None: everything is inside.
    Raises RunError where a folder holds no finished run or the two cannot be compared.
    """
    return render_pair(gather_pair(a, b), title=title, edition=edition, parts=parts)


def render_pair(
    pair: Pair, *, title: str | None = None, edition: Edition | None = None, parts: Parts | None = None
) -> str:
    """The page as a pure function of both records and their comparison."""
    views, edition = _views(pair), edition or Edition()
    sections = [one for one in _sections(views, edition) if one.shown]
    page = Page(title or default_title(pair.records), sections, label=views["head"].label)
    return compose_plain("compare.html.j2", page, views, edition=edition, parts=parts or Parts(), sheets=_SHEETS)


def render_many(
    runs: Sequence[Path],
    *,
    title: str | None = None,
    edition: Edition | None = None,
    parts: Parts | None = None,
) -> str:
    """Several runs on one page, each against the first: numbers with paired changes, and the shortcuts of each.

    A run that cannot be compared with the first is listed with the reason and shown with its own numbers only.
    Raises UsageError for fewer than two runs, RunError where a folder holds no finished run.
    """
    return render_many_runs(gather_many(runs), title=title, edition=edition, parts=parts)


def render_many_runs(
    many: ManyRuns, *, title: str | None = None, edition: Edition | None = None, parts: Parts | None = None
) -> str:
    """The page of several runs as a pure function of their records and comparisons."""
    views, edition = many_views(many), edition or Edition()
    sections = [
        notes_section(edition),
        Section("numbers", "Key numbers", "compare_many_numbers", bool(views["numbers"])),
        Section("shortcuts", "Shortcuts", "compare_many_shortcuts", bool(views["compared"])),
        Section("limits", "Not comparable with A", "compare_many_limits", bool(views["apart"])),
        Section("provenance", "Provenance", "compare_many_provenance"),
        Section("record", "The records", "compare_record", bool(views["compared"])),
    ]
    page = Page(title or views["title"], [one for one in sections if one.shown])
    return compose_plain("compare_many.html.j2", page, views, edition=edition, parts=parts or Parts(), sheets=_SHEETS)


def write_comparison(
    pair: Pair, output: Path, *, title: str | None = None, edition: Edition | None = None, split: bool = False
) -> None:
    """Write the page (.html, alone or split), or another form by the file's extension. Raises RunError, UsageError."""
    if output.suffix.lower() == ".html":
        parts = parts_of(output, split=split)
        write_page(output, render_pair(pair, title=title, edition=edition, parts=parts), parts)
    else:
        write_bytes(output, comparison_content(pair, output.suffix.lower(), title=title))


def comparison_content(pair: Pair, suffix: str, *, title: str | None = None) -> bytes:
    """The comparison in the form of a suffix: .md the short form, .csv a row per change, .json all."""
    if suffix == ".json":
        return to_json(pair.comparison)
    if suffix == ".csv":
        return comparison_csv(pair.comparison).encode()
    return comparison_markdown(pair, title=title).encode()


def _views(pair: Pair) -> dict[str, Any]:
    return {
        "comparison": pair.comparison,
        "letters": pair.letters,
        "tool": pair.records[1].tool.version,
        "classes_total": len(pair.records[0].data.classes),
        "sides": side_views(pair),
        "differences": differences(pair),
        "head": compare_headline(pair),
        "shortcuts": pair_shortcuts(pair.comparison),
        "numbers": compare_numbers(pair),
        "classes": class_changes(pair),
        "patches": pair_patches(pair),
        "limits": limits(pair),
        "facts": facts(pair),
        "downloads": _downloads(pair),
        "schema_version": pair.comparison.schema_version,
    }


def _downloads(pair: Pair) -> list[Attached]:
    return [
        Attached("comparison.json", "application/json", to_json(pair.comparison), "The record of the comparison."),
        Attached(
            "changes.csv", "text/csv", comparison_csv(pair.comparison).encode(), "One row per change and shortcut."
        ),
    ]


def _sections(views: dict[str, Any], edition: Edition) -> list[Section]:
    return [
        notes_section(edition),
        Section("shortcuts", "Shortcuts", "compare_shortcuts"),
        Section("numbers", "Key numbers", "compare_numbers", bool(views["numbers"].key)),
        Section("groups", "Groups", "compare_groups", bool(views["numbers"].groups)),
        Section("classes", "Classes that changed most", "compare_classes", views["classes"] is not None),
        Section("patches", "Patch swap", "compare_patches", views["patches"] is not None),
        Section("limits", "What was not compared", "compare_limits", bool(views["limits"])),
        Section("provenance", "Provenance", "compare_provenance"),
        Section("record", "The record", "compare_record"),
    ]
