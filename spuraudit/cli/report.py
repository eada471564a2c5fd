"""`spuraudit report RUN...`: render stored runs again, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli import options
from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.report.edition import Edition


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of `spuraudit scan`, `zoo` or `fix`, as printed by these commands."
        ),
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to write: .html, .md, .csv or .json by extension; may be repeated. Default: the page in the "
            "folder. Several scans on one .html page are set against the first.",
        ),
    ] = None,
    title: options.Title = None,
    against: options.Against = None,
    charts: Annotated[
        bool,
        typer.Option(
            help="On the page of a scan, charts that answer to the pointer (5 MB more); drawn charts are always there."
        ),
    ] = True,
    redact_images: options.RedactImages = False,
    logo: options.Logo = None,
    notes: options.Notes = None,
    max_report_mb: options.MaxReportMb = None,
    split: options.SplitPage = False,
) -> None:
    """Render the report of finished runs: HTML, Markdown, CSV or JSON. Needs neither model nor data.

    Example: spuraudit report runs/resnet50 -o report.html -o numbers.csv
    Example: spuraudit report runs/resnet50 -o shared.html --redact-images --notes notes.md --logo logo.svg
    Example: spuraudit report runs/resnet50 runs/vit runs/clip -o three.html

    Exit codes: 0 written, 2 a run could not be read or a file not be written.
    """
    from spuraudit.cli.pages import refuse_without_a_page
    from spuraudit.cli.scan_options import zoo_folder
    from spuraudit.report.edition import make_edition
    from spuraudit.report.output import check_suffix, page_of, write

    outputs, others = output or [], zoo_folder(against)
    for file in outputs:
        check_suffix(file)
    together = len(runs) > 1 and bool(outputs)
    if against is not None:
        _refuse_against(runs, together=together)
    of_a_page = {"--logo": logo, "--notes": notes, "--max-report-mb": max_report_mb, "--split": split or None}
    if outputs and not any(file.suffix.lower() == ".html" for file in outputs):
        refuse_without_a_page(of_a_page)
    edition = make_edition(logo=logo, notes=notes, redact=redact_images, most_mb=max_report_mb)
    if together:
        _together(runs, outputs, title, edition, split=split)
        return
    for run in runs:
        for file in outputs or [page_of(run)]:
            written = write(run, file, title=title, charts=charts, against=others, edition=edition, split=split)
            typer.echo(written)


def _refuse_against(runs: Sequence[Path], *, together: bool) -> None:
    """Raises UsageError: only the page of one scan places a model among others."""
    from spuraudit.report.output import found_in

    kinds = {"zoo": "a zoo run", "fix": "a fix"}
    found = (kinds.get(found_in(run)[0]) for run in runs)
    other = "several runs" if together else next((name for name in found if name is not None), None)
    if other is not None:
        raise UsageError(
            f"--against has no effect on the page of {other}.", "Leave it out, or render scans one at a time."
        )


def _together(runs: list[Path], outputs: list[Path], title: str | None, edition: Edition, *, split: bool) -> None:
    """Several runs on one page. Raises UsageError for what it cannot be."""
    from spuraudit.report.compare_page import render_many
    from spuraudit.report.parts import parts_of, write_page

    if other := next((file for file in outputs if file.suffix.lower() != ".html"), None):
        raise UsageError(
            f"{other}: several runs go on one HTML page.",
            "Two runs as Markdown, CSV or JSON: spuraudit compare A B -o FILE. Else render them one at a time.",
        )
    for file in outputs:
        parts = parts_of(file, split=split)
        write_page(file, render_many(runs, title=title, edition=edition, parts=parts), parts)
        typer.echo(file)
