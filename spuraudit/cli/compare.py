"""`spuraudit compare A B`: what changed from one finished run to another. Needs the run folders and no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli import options
from spuraudit.cli.stdout import printing
from spuraudit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from spuraudit.report.views.compare_conditions import Condition
    from spuraudit.report.views.compare_pair import Pair

_FORMATS = ("table", "json")
_SHOWN = 12
_STYLES = {"better": "green", "worse": "bold red"}


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Run folder of `spuraudit scan`: what B is compared with.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Run folder of the same images; changes are B minus A.")],
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", help="Where to write: .html, .md, .csv or .json by extension; may be repeated."),
    ] = None,
    title: options.Title = None,
    logo: options.Logo = None,
    notes: options.Notes = None,
    split: options.SplitPage = False,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Of stdout: table, or json for a pipe.")
    ] = "table",
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Exit 1 where B is worse: worse (all of it), accuracy, worst-group, rcs, swap-gap, worse-shortcut, "
            "new-shortcut. Repeatable.",
        ),
    ] = None,
    min_n: Annotated[
        int, typer.Option("--min-n", min=1, help="Fewest images that a number of --fail-on may rest on.")
    ] = 50,
    allow_same: Annotated[
        bool,
        typer.Option(help="Compare two scans of the same model, data and settings, to see whether they repeat."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table; only the last line.")] = False,
) -> None:
    """Compare two finished runs of the same images, image by image.

    Which shortcuts B relies on less or more than A, and what happened to accuracy, with paired intervals and tests.

    Exit codes: 0 compared, 1 something that --fail-on names got worse, 2 the runs cannot be compared, or what
    --fail-on names cannot be judged.

    Example: spuraudit compare runs/old runs/new -o changes.html --fail-on worse-shortcut --fail-on accuracy
    """
    from spuraudit.cli.pages import refuse_without_a_page
    from spuraudit.report.compare_page import comparison_content, write_comparison
    from spuraudit.report.edition import make_edition
    from spuraudit.report.output import check_suffix
    from spuraudit.report.views.compare_conditions import judge_conditions
    from spuraudit.report.views.compare_headline import statement
    from spuraudit.report.views.compare_pair import gather_pair

    files, wanted = output or [], fail_on or []
    _check(form, wanted)
    for file in files:
        check_suffix(file)
    if not any(file.suffix.lower() == ".html" for file in files):
        refuse_without_a_page({"--logo": logo, "--notes": notes, "--split": split or None})
    edition = make_edition(logo=logo, notes=notes)
    _refuse_same(a, b, allow_same)
    pair = gather_pair(a, b)
    conditions = judge_conditions(pair, wanted, min_n)
    for file in files:
        write_comparison(pair, file, title=title, edition=edition, split=split)
    with printing():
        if form == "json":
            print(comparison_content(pair, ".json").decode(), end="")
        elif not quiet:
            _print(pair)
    code = _conclude(conditions, quiet)
    where = f" Written: {', '.join(map(str, files))}" if files else ""
    print(f"{statement(pair)}{where}", file=sys.stderr)
    raise typer.Exit(code)


def _check(form: str, wanted: list[str]) -> None:
    """Raises UsageError for a word that nobody knows."""
    from spuraudit.report.views.compare_conditions import CONDITIONS

    if form not in _FORMATS:
        known = f"Known are {' and '.join(_FORMATS)}; files are written with -o."
        raise UsageError(f"There is no format {form!r}.", f"{did_you_mean(form, _FORMATS)} {known}".strip())
    for name in wanted:
        if name not in CONDITIONS:
            known = f"Known are {', '.join(CONDITIONS)}."
            raise UsageError(
                f"--fail-on {name}: there is no such condition.", f"{did_you_mean(name, CONDITIONS)} {known}".strip()
            )


def _refuse_same(a: Path, b: Path, allowed: bool) -> None:
    """A check that compares a model with itself can never fail: it is refused unless it is meant."""
    from spuraudit.record.folder import read_record
    from spuraudit.report.views.compare_pair import same_scan

    if not allowed and same_scan(one := read_record(a), read_record(b)):
        raise UsageError(
            f"{a} and {b} are the same scan (run {one.run.id}): model, data, settings and seed are equal, and every "
            "change would be 0.",
            "Give the runs of two models. To see whether a scan repeats itself, add --allow-same.",
        )


def _conclude(conditions: list[Condition], quiet: bool) -> int:
    """Say on stderr what each condition came to; the exit code."""
    from spuraudit.cli.gate import EXIT_CODES
    from spuraudit.report.views.compare_conditions import outcome_of

    for one in conditions:
        if not quiet or one.outcome != "pass":
            print(f"{one.outcome.upper()} --fail-on {one.name}: {one.text}", file=sys.stderr)
    return EXIT_CODES[outcome_of(conditions)]


def _print(pair: Pair) -> None:
    """Which is which, key numbers and shortcuts."""
    from rich.console import Console
    from rich.text import Text

    from spuraudit.report.views.compare_facts import side_views
    from spuraudit.report.views.compare_headline import compare_headline

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for side in side_views(pair):
        sha = side.sha[:12] or "unknown"
        console.print(Text(f"{side.letter}  {side.name}, sha256 {sha}, run {side.run}, {side.date}"), soft_wrap=True)
    console.print(_numbers(pair))
    _print_shortcuts(pair, console)
    for line in compare_headline(pair).cautions:
        console.print(Text(line), soft_wrap=True)


def _numbers(pair: Pair) -> Table:
    from rich.text import Text

    from spuraudit.report.views.compare_numbers import compare_numbers

    table = _table(("", *pair.letters, "Change", "95 % interval", "q", "n"), ("",))
    for row in compare_numbers(pair).key:
        values = (Text(cell.value) for cell in row.cells)
        change = Text(row.change, style=_STYLES.get(row.tone, ""))
        table.add_row(Text(row.name), *values, change, row.change_interval, row.q, row.n, Text(row.word))
    return table


def _print_shortcuts(pair: Pair, console: Console) -> None:
    from rich.text import Text

    from spuraudit.report.formats import many
    from spuraudit.report.views.compare_shortcuts import pair_shortcuts

    view = pair_shortcuts(pair.comparison)
    if not view.rows:
        return
    table = _table(("Shortcut", *pair.letters, "Change", "95 % interval", "q", "n"), ("",))
    for row in view.rows[:_SHOWN]:
        label = Text(row.label, style="bold red" if row.state == "worse" else "")
        name = Text(f"{row.name} ({row.audit.lower()})")
        table.add_row(name, *row.effects, row.change, row.change_interval, row.q, row.n, label)
    console.print(table)
    if len(view.rows) > _SHOWN:
        console.print(f"... and {many(len(view.rows) - _SHOWN, 'shortcut')} more: write them with -o.")


def _table(titles: tuple[str, ...], last: tuple[str, ...]) -> Table:
    """The first column and the last are words, those between numbers."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for place, name in enumerate((*titles, *last)):
        words = place == 0 or place >= len(titles)
        table.add_column(name, justify="left" if words else "right", no_wrap=not words)
    return table
