"""The page of a comparison: two runs, or several against the first. Same runs, same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spuraudit.record.folder import to_json
from spuraudit.report.downloads import download
from spuraudit.report.embed import policy
from spuraudit.report.templating import Page, Section, environment, source
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

    from spuraudit.report.downloads import Download


def render_comparison(a: Path, b: Path, *, title: str | None = None) -> str:
    """What changed from run A to run B as one self-contained HTML text. `title` replaces "MODEL B against MODEL A".

    Raises RunError where a folder holds no finished run or the two cannot be compared.
    """
    return render_pair(gather_pair(a, b), title=title)


def render_pair(pair: Pair, *, title: str | None = None) -> str:
    """The page as a pure function of both records and their comparison."""
    views = _views(pair)
    return _page("compare.html.j2", title or default_title(pair.records), _sections(views), views)


def render_many(runs: Sequence[Path], *, title: str | None = None) -> str:
    """Several runs on one page, each against the first: numbers with paired changes, and the shortcuts of each.

    A run that cannot be compared with the first is listed with the reason and shown with its own numbers only.
    Raises UsageError for fewer than two runs, RunError where a folder holds no finished run.
    """
    return render_many_runs(gather_many(runs), title=title)


def render_many_runs(many: ManyRuns, *, title: str | None = None) -> str:
    """The page of several runs as a pure function of their records and comparisons."""
    views = many_views(many)
    sections = [
        Section("numbers", "Key numbers", "compare_many_numbers", bool(views["numbers"])),
        Section("shortcuts", "Shortcuts", "compare_many_shortcuts", bool(views["compared"])),
        Section("limits", "Not comparable with A", "compare_many_limits", bool(views["apart"])),
        Section("provenance", "Provenance", "compare_many_provenance"),
        Section("record", "The records", "compare_record", bool(views["compared"])),
    ]
    return _page("compare_many.html.j2", title or views["title"], sections, views)


def comparison_content(pair: Pair, suffix: str, *, title: str | None = None) -> bytes:
    """The comparison in the form of a suffix: .html the page, .md the short form, .csv a row per change, .json all."""
    if suffix == ".json":
        return to_json(pair.comparison)
    if suffix == ".csv":
        return comparison_csv(pair.comparison).encode()
    if suffix == ".md":
        return comparison_markdown(pair, title=title).encode()
    return render_pair(pair, title=title).encode()


def _page(template: str, title: str, sections: list[Section], views: dict[str, Any]) -> str:
    made = environment()
    script = source("script/report.js")
    style = made.get_template("style/report.css.j2").render() + source("style/fix.css") + source("style/compare.css")
    return made.get_template(template).render(
        page=Page(title, [one for one in sections if one.shown]),
        csp=policy([script]),
        style=Markup(style),
        script=Markup(script),
        **views,
    )


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


def _downloads(pair: Pair) -> list[Download]:
    return [
        download("comparison.json", "application/json", to_json(pair.comparison), "The record of the comparison."),
        download(
            "changes.csv", "text/csv", comparison_csv(pair.comparison).encode(), "One row per change and shortcut."
        ),
    ]


def _sections(views: dict[str, Any]) -> list[Section]:
    return [
        Section("shortcuts", "Shortcuts", "compare_shortcuts"),
        Section("numbers", "Key numbers", "compare_numbers", bool(views["numbers"].key)),
        Section("groups", "Groups", "compare_groups", bool(views["numbers"].groups)),
        Section("classes", "Classes that changed most", "compare_classes", views["classes"] is not None),
        Section("patches", "Patch swap", "compare_patches", views["patches"] is not None),
        Section("limits", "What was not compared", "compare_limits", bool(views["limits"])),
        Section("provenance", "Provenance", "compare_provenance"),
        Section("record", "The record", "compare_record"),
    ]
