"""Writing a report in the form that the file's name asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.errors import UsageError, did_you_mean
from spuraudit.record.folder import read_record, to_json, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.report.edition import Edition

SUFFIXES = (".html", ".json", ".csv", ".md")


def check_suffix(output: Path) -> None:
    """Raises UsageError where no form of a report belongs to the file's name."""
    if output.suffix.lower() not in SUFFIXES:
        near = did_you_mean(output.suffix.lower(), SUFFIXES)
        raise UsageError(
            f"{output}: no report can be written as {output.suffix or 'a file without an extension'!r}.",
            near or f"Use one of {', '.join(SUFFIXES)}.",
        )


def write(
    run: Path,
    output: Path,
    *,
    title: str | None = None,
    charts: bool = True,
    against: Path | None = None,
    edition: Edition | None = None,
) -> Path:
    """Render `run` into `output`, whole or not at all; returns `output`.

    .html the page, .md the short form, .csv one row per measurement, .json the record itself. `against`: folder of a
    zoo run, among whose models the page places this one. Only the page has an edition and says where a model stands.
    Raises UsageError for another extension or a page that cannot be as small as its edition asks, RunError where a run
    cannot be read or the file not be written.
    """
    check_suffix(output)
    suffix = output.suffix.lower()
    content = _page(run, title, charts, against, edition) if suffix == ".html" else _short(run, suffix, title)
    write_bytes(output, content.encode())
    return output


def _page(run: Path, title: str | None, charts: bool, against: Path | None, edition: Edition | None) -> str:
    from spuraudit.report.page import render

    return render(run, title=title, charts=charts, against=against, edition=edition)


def _short(run: Path, suffix: str, title: str | None) -> str:
    if suffix == ".json":
        return to_json(read_record(run)).decode()
    if suffix == ".csv":
        from spuraudit.report.csv_table import csv_text

        return csv_text(read_record(run))
    from spuraudit.report.evidence import gather
    from spuraudit.report.markdown import markdown_text

    evidence = gather(run)
    return markdown_text(evidence.record, evidence.verdict, title=title)
