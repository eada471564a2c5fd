"""`spuraudit report RUN...`: render stored runs again, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spuraudit.cli import options
from spuraudit.errors import UsageError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, as printed by `spuraudit scan`.")],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to write: .html, .md, .csv or .json by extension; may be repeated. Default: RUN/report.html. "
            "Several runs on one .html page are set against the first.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page instead of “MODEL on DATA”.")] = None,
    against: options.Against = None,
    charts: Annotated[
        bool, typer.Option(help="Charts that answer to the pointer (5 MB more); drawn charts are always there.")
    ] = True,
    redact_images: Annotated[
        bool,
        typer.Option("--redact-images", help="No picture of the data on the page; descriptions and numbers stay."),
    ] = False,
    logo: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Shown beside the title: PNG, JPEG, WebP or SVG, up to 200 kB.")
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your notes for the readers: Markdown, or plain text as .txt."),
    ] = None,
    max_report_mb: Annotated[
        float | None,
        typer.Option(
            help="Largest page; pictures shrink, then go, to stay within it, and the page says so. Default: 10."
        ),
    ] = None,
) -> None:
    """Render the report of finished runs: HTML, Markdown, CSV or JSON. Needs neither model nor data.

    Example: spuraudit report runs/resnet50 -o report.html -o numbers.csv
    Example: spuraudit report runs/resnet50 -o shared.html --redact-images --notes notes.md --logo logo.svg
    Example: spuraudit report runs/resnet50 runs/vit runs/clip -o three.html

    Exit codes: 0 written, 2 a run could not be read or a file not be written.
    """
    from spuraudit.cli.scan_options import zoo_folder
    from spuraudit.record.folder import resolve_run
    from spuraudit.report.edition import make_edition
    from spuraudit.report.output import check_suffix, write

    outputs, others = output or [], zoo_folder(against)
    for file in outputs:
        check_suffix(file)
    of_a_page = {"--logo": logo, "--notes": notes, "--max-report-mb": max_report_mb}
    if len(runs) > 1 and outputs:
        idle = {"--against": against, "--redact-images": redact_images or None, **of_a_page}
        _together(runs, outputs, title, [name for name, value in idle.items() if value is not None])
        return
    if outputs and not any(file.suffix.lower() == ".html" for file in outputs):
        for name in (name for name, value in of_a_page.items() if value is not None):
            raise UsageError(f"{name} has no effect: no HTML page is written.", "Leave it out, or add -o report.html.")
    most = {} if max_report_mb is None else {"most_mb": max_report_mb}
    edition = make_edition(logo=logo, notes=notes, redact=redact_images, **most)
    for run in runs:
        for file in outputs or [resolve_run(run) / "report.html"]:
            typer.echo(write(run, file, title=title, charts=charts, against=others, edition=edition))


def _together(runs: list[Path], outputs: list[Path], title: str | None, idle: list[str]) -> None:
    """Several runs on one page. Raises UsageError for what has no effect there."""
    from spuraudit.record.folder import write_bytes
    from spuraudit.report.compare_page import render_many

    if idle:
        raise UsageError(
            f"{idle[0]} has no effect on the page of several runs, which holds numbers and no pictures.",
            "Leave it out, or render the runs one at a time.",
        )
    if other := next((file for file in outputs if file.suffix.lower() != ".html"), None):
        raise UsageError(
            f"{other}: several runs go on one HTML page.",
            "Two runs as Markdown, CSV or JSON: spuraudit compare A B -o FILE. Else render them one at a time.",
        )
    page = render_many(runs, title=title).encode()
    for file in outputs:
        write_bytes(file, page)
        typer.echo(file)
