"""`spuraudit report RUN...`: render stored runs again, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spuraudit.cli import options


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, as printed by `spuraudit scan`.")],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to write: .html, .md, .csv or .json by extension; may be repeated. Default: RUN/report.html.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page instead of “MODEL on DATA”.")] = None,
    against: options.Against = None,
    charts: Annotated[
        bool, typer.Option(help="Charts that answer to the pointer (5 MB more); drawn charts are always there.")
    ] = True,
) -> None:
    """Render the report of finished runs: HTML, Markdown, CSV or JSON. Needs neither model nor data.

    Example: spuraudit report runs/resnet50 -o report.html -o numbers.csv

    Exit codes: 0 written, 2 a run could not be read or a file not be written.
    """
    from spuraudit.cli.scan_options import zoo_folder
    from spuraudit.errors import UsageError
    from spuraudit.record.folder import resolve_run
    from spuraudit.report.output import check_suffix, write

    outputs, others = output or [], zoo_folder(against)
    if len(runs) > 1 and outputs:
        raise UsageError(
            f"-o names one file, but {len(runs)} runs were given.",
            "Render them one at a time, or leave -o out: each run folder gets its own report.html.",
        )
    for file in outputs:
        check_suffix(file)
    for run in runs:
        for file in outputs or [resolve_run(run) / "report.html"]:
            typer.echo(write(run, file, title=title, charts=charts, against=others))
