"""Writing a report in the form that the file's name asks for, of whatever a folder holds: a scan, a zoo run, a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from spuraudit.errors import RunError, UsageError, did_you_mean
from spuraudit.record import fix_trials as trials
from spuraudit.record.folder import read_record, resolve_run, to_json, write_bytes
from spuraudit.report.parts import parts_of, write_page

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.report.edition import Edition
    from spuraudit.report.parts import Parts

Kind = Literal["scan", "zoo", "fix"]

SUFFIXES = (".html", ".json", ".csv", ".md")
_PAGES: dict[Kind, str] = {"scan": "report.html", "zoo": "zoo.html", "fix": "report.html"}
_FILES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("scan", ("scan.json",)),
    ("zoo", ("zoo.json", "zoo-plan.json")),
    ("fix", ("fix.json",)),
)


def check_suffix(output: Path) -> None:
    """Raises UsageError where no form of a report belongs to the file's name."""
    if output.suffix.lower() not in SUFFIXES:
        near = did_you_mean(output.suffix.lower(), SUFFIXES)
        raise UsageError(
            f"{output}: no report can be written as {output.suffix or 'a file without an extension'!r}.",
            near or f"Use one of {', '.join(SUFFIXES)}.",
        )


def found_in(path: Path) -> tuple[Kind, Path]:
    """What a path leads to, and its folder: a folder, a record in it, or a `last` pointer. A scan where nothing is.

    Raises RunError: a file that is none of these, or the folder of several fixes.
    """
    names = {name: kind for kind, files in _FILES for name in files}
    if path.name in names and path.is_file():
        return names[path.name], path.parent
    folder = resolve_run(path)
    if (folder / trials.RECORD).is_file():
        raise RunError(f"{folder}: several fixes, each with its page.", f"Give one of them, such as {folder}/swap.")
    return next((kind for kind, files in _FILES if any((folder / name).is_file() for name in files)), "scan"), folder


def page_of(path: Path) -> Path:
    """Where the page of a scan, a zoo run or a fix lies unless another place is asked for. Raises RunError."""
    kind, folder = found_in(path)
    return folder / _PAGES[kind]


def write(
    run: Path,
    output: Path,
    *,
    title: str | None = None,
    charts: bool = True,
    against: Path | None = None,
    edition: Edition | None = None,
    split: bool = False,
) -> Path:
    """Render a scan, a zoo run or a fix into `output`, whole or not at all; returns `output`.

    .html the page, .md the short form, .csv one row per measurement or model, .json the record itself. `against`:
    folder of a zoo run, among whose models the page of a scan places its own. Only a page has an edition. `split`: its
    style sheet and pictures lie beside it, in a folder named after it, and it has no scripts.
    Raises UsageError for another extension, a form that a zoo run or a fix does not have, or a page that cannot be as
    small as its edition asks, RunError where a run cannot be read or a file not be written.
    """
    check_suffix(output)
    kind, folder = found_in(run)
    suffix = output.suffix.lower()
    if suffix == ".html":
        parts, linked = parts_of(output, split=split), output.parent.resolve() == folder.resolve()
        write_page(output, _page(kind, folder, title, charts, against, edition, parts, linked), parts)
    else:
        write_bytes(output, _short(kind, folder, suffix, title).encode())
    return output


def _page(
    kind: Kind,
    folder: Path,
    title: str | None,
    charts: bool,
    against: Path | None,
    edition: Edition | None,
    parts: Parts,
    linked: bool,
) -> str:
    """linked: a page that stays in the folder may lead to its other files."""
    if kind == "zoo":
        from spuraudit.report.zoo_page import render_zoo

        return render_zoo(folder, title=title, edition=edition, parts=parts, linked=linked)
    if kind == "fix":
        from spuraudit.report.fix_page import render_fix

        return render_fix(folder, title=title, edition=edition, parts=parts, linked=linked)
    from spuraudit.report.page import render

    return render(folder, title=title, charts=charts, against=against, edition=edition, parts=parts)


def _short(kind: Kind, folder: Path, suffix: str, title: str | None) -> str:
    if kind == "zoo":
        return _of_zoo(folder, suffix)
    return _of_fix(folder, suffix, title) if kind == "fix" else _of_scan(folder, suffix, title)


def _of_scan(run: Path, suffix: str, title: str | None) -> str:
    if suffix == ".json":
        return to_json(read_record(run)).decode()
    if suffix == ".csv":
        from spuraudit.report.csv_table import csv_text

        return csv_text(read_record(run))
    from spuraudit.report.evidence import gather
    from spuraudit.report.markdown import markdown_text

    evidence = gather(run)
    return markdown_text(evidence.record, evidence.verdict, title=title)


def _of_zoo(folder: Path, suffix: str) -> str:
    from spuraudit.record.zoo_folder import read_zoo
    from spuraudit.report.zoo_csv import zoo_csv_text
    from spuraudit.report.zoo_evidence import gather_zoo

    if suffix == ".json":
        return to_json(read_zoo(folder)).decode()
    if suffix == ".csv":
        return zoo_csv_text(gather_zoo(folder))
    raise UsageError(f"{folder}: a zoo run has no Markdown form.", "Use .html, .csv or .json.")


def _of_fix(folder: Path, suffix: str, title: str | None) -> str:
    from spuraudit.record.fix import read_fix
    from spuraudit.report.views.fix_markdown import fix_markdown

    record = read_fix(folder)
    if suffix == ".json":
        return to_json(record).decode()
    if suffix == ".md":
        return fix_markdown(record, title=title)
    raise UsageError(
        f"{folder}: a fix has no CSV form.",
        "Use .html, .md or .json; the numbers of its scans: spuraudit report FIX/fixed -o numbers.csv.",
    )
