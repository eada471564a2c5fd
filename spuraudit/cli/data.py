"""`spuraudit data`: which datasets are known, and whether one is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli.progress import progress_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from spuraudit.data.check import CheckReport, FeatureCheck

app = typer.Typer(no_args_is_help=True, help="Datasets: which are known, and whether one is whole.")

_SHOWN = 20
_DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the photos and masks; overrides root: of a dataset.yaml, or says where a name lies."),
]


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="Folder with dataset.yaml, its path, or a registered name.")],
    data_dir: _DataDir = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only counts, warnings and problems.")] = False,
) -> None:
    """Read every photo and mask; print counts per class and feature. Exit code 2 if anything cannot be used."""
    from rich.console import Console

    from spuraudit.data.check import check as check_dataset
    from spuraudit.data.locate import open_dataset
    from spuraudit.errors import DataError
    from spuraudit.runs.progress import stage

    dataset = open_dataset(data, data_dir=data_dir, locations=_locations())
    progress = progress_for(quiet)
    with stage(progress, "Checking", len(dataset.images), "images"):
        report = check_dataset(dataset, lambda _done, _total: progress.advance(1))
    out, err = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    out.print(f"{report.name}: {report.images} images, {report.masks} masks ({report.layout})", markup=False)
    for table in _tables(report):
        out.print(table)
    if not quiet:
        for reason, count in report.left_out.items():
            err.print(f"left out: {count} {reason}", markup=False)
    for warning in report.warnings:
        err.print(f"warning: {warning}", markup=False)
    for problem in report.problems[:_SHOWN]:
        err.print(f"problem: {problem.message}", markup=False)
    if len(report.problems) > _SHOWN:
        err.print(f"... and {len(report.problems) - _SHOWN} more problems", markup=False)
    if report.problems:
        images = len({problem.image for problem in report.problems})
        raise DataError(
            f"{data}: {len(report.problems)} files of {images} images cannot be used (listed above).",
            report.problems[0].hint,
        )
    if not quiet:
        err.print("Every photo and mask can be read.")


@app.command("list")
def list_known(data_dir: _DataDir = None) -> None:
    """Print the registered datasets: what each needs on disk, and where it was looked for."""
    from rich.console import Console

    from spuraudit.data.layouts import LAYOUTS
    from spuraudit.data.locate import HOME, candidates

    out = Console(soft_wrap=True, highlight=False)
    locations = _locations()
    for layout in LAYOUTS.values():
        if not layout.named:
            continue
        out.print(f"{layout.name}  {layout.title}", style="bold", markup=False)
        for need in layout.needs:
            out.print(f"  needs   {need}", markup=False)
        out.print(f"  licence {layout.licence}", markup=False)
        folders = candidates(layout, data_dir, locations)
        found = [folder for folder in folders if folder.is_dir() and layout.recognises(folder)]
        if found:
            out.print(f"  found   {found[0]}", markup=False)
        else:
            looked = ", ".join(str(folder) for folder in folders) or f"{HOME} is not set"
            out.print(f"  not found ({looked})", markup=False)
    out.print("Any other folder of photos and masks: describe it in a dataset.yaml (docs/datasets.md).", markup=False)


def _locations() -> dict[str, Path]:
    """Folders of datasets by name, from the nearest .spuraudit.yaml."""
    from spuraudit.gates import find_config, load_config

    file = find_config(Path.cwd())
    return load_config(file).locations if file else {}


def _tables(report: CheckReport) -> Iterator[Table]:
    for title, counts in (
        ("class", report.per_class),
        ("split", report.per_split),
        ("group", report.per_group),
    ):
        if counts:
            yield _table((title, "images"), [(name, str(count)) for name, count in counts.items()])
    if report.features:
        rows = [_feature_row(feature) for feature in report.features]
        yield _table(("feature", "role", "masks", "coverage", "empty", "above 90 %"), rows)


def _feature_row(feature: FeatureCheck) -> tuple[str, ...]:
    coverage = "-" if feature.coverage is None else f"{feature.coverage:.1%}"
    return feature.name, feature.role, str(feature.masks), coverage, str(feature.empty), str(feature.nearly_full)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or column == "role" else "right", overflow="fold")
    for row in rows[:_SHOWN]:
        table.add_row(*(Text(cell) for cell in row))
    if len(rows) > _SHOWN:
        table.add_row(f"... and {len(rows) - _SHOWN} more", *([""] * (len(columns) - 1)))
    return table
