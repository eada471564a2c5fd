"""`spuraudit gate RUN`: judge a stored run. Needs the record and no torch."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli import gate_outputs, older_page
from spuraudit.cli.stdout import printing
from spuraudit.errors import EXIT_GATE_FAILED, EXIT_NOT_EVALUATED, EXIT_PASS, SpurauditError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from spuraudit.cli.gating import Asked
    from spuraudit.record.verdict import Outcome, Verdict

EXIT_CODES: dict[Outcome, int] = {"pass": EXIT_PASS, "fail": EXIT_GATE_FAILED, "not evaluated": EXIT_NOT_EVALUATED}
_STYLES = {"pass": "green", "fail": "bold red", "not evaluated": "bold yellow", "warn": "yellow"}
_PIPE_WIDTH = 120  # rich assumes 80 columns where there is no terminal, and CI logs are wider
_LINE = 2000  # characters of a sentence, whatever names are in it


def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `spuraudit scan`.")],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", metavar="RULE", help="A limit, such as 'rcs >= 0.2'. Repeatable; joins the config's gates."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Default: .spuraudit.yaml, upwards to the repository root; else a pyproject.toml "
            r"with \[tool.spuraudit].",
        ),
    ] = None,
    min_n: Annotated[
        int | None,
        typer.Option("--min-n", min=1, help="Fewest images a number may rest on, for every gate. Default: 50."),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            "--baseline",
            metavar="PATH",
            help="A run folder to measure drops from, or a file of accepted findings. Once for each; in place of the "
            "config's.",
        ),
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline",
            metavar="FILE",
            help="Accept what fails now; --baseline FILE then fails on new failures only. An older FILE is rewritten.",
        ),
    ] = None,
    strict_baseline: Annotated[
        bool, typer.Option("--strict-baseline", help="Fail where an accepted finding holds now, or is not measured.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FILE", help="The run must be of this file (sha256). Default: the config's, if a file."
        ),
    ] = None,
    junit: gate_outputs.Junit = None,
    sarif: gate_outputs.Sarif = None,
    markdown: gate_outputs.Markdown = None,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit with 0 where a gate failed; never where one was not evaluated.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last line.")] = False,
) -> None:
    """Judge a run against limits and write RUN/verdict.json; an older verdict is removed first.

    Exit codes: 0 every gate passed, 1 a gate failed, 2 a gate could not be evaluated.

    Example: spuraudit gate runs/last --rule 'ci_low(rcs) >= 0.2'
    """
    from spuraudit.cli.gating import add_baselines, collect_gates, judge_run, write_findings
    from spuraudit.record.folder import read_record, resolve_run, write_verdict

    outputs = gate_outputs.Outputs(junit, sarif, markdown)
    gate_outputs.check_outputs(outputs, _inputs(run, [config, model, write_baseline, *(baseline or [])]))
    with gate_outputs.judging(outputs), _judged_again(folder := resolve_run(run)):
        asked = collect_gates(rule or [], config, min_n, quiet=quiet)
        if not asked.rules:
            raise UsageError(
                "There are no gates to judge: no --rule, and none in a .spuraudit.yaml or [tool.spuraudit] here or "
                "above.",
                "Write one: --rule 'rcs >= 0.2', or in the file: - {id: rcs-floor, metric: rcs, min: 0.2, bound: "
                "ci_low}",
            )
        asked = add_baselines(asked, baseline or [])
        if model is not None:
            asked = replace(asked, model_file=model, model_optional=False)
        record = read_record(run)
        if write_baseline is not None:
            _refuse_beside_writing(baseline or [], asked, strict_baseline)
            write_findings(run, record, asked, write_baseline)
            asked = replace(asked, accepted=write_baseline)
        verdict = judge_run(run, record, asked, strict=strict_baseline)
        write_verdict(folder / "verdict.json", verdict, folder)
        gate_outputs.write_outputs(verdict, record, outputs)
    older_page.compare(folder, verdict.outcome, headline(verdict), quiet=quiet)
    with printing():
        if not quiet:
            print_verdict(verdict)
    spared = exit_zero and verdict.outcome == "fail"
    said = f"{headline(verdict)} {folder / 'verdict.json'}"
    print(f"{said}{' (exit code 0: --exit-zero)' if spared else ''}", file=sys.stderr)
    raise typer.Exit(EXIT_PASS if spared else EXIT_CODES[verdict.outcome])


def _inputs(run: Path, given: Sequence[Path | None]) -> list[Path]:
    """The files that no output may replace: of the run, of the command line, and the config that is found."""
    from spuraudit.gates import find_config

    found = []
    with suppress(SpurauditError):  # is said where the config is read
        found = [file for file in (find_config(Path.cwd()),) if file is not None]
    own = [run / name for name in ("plan.json", "scan.json", "verdict.json", "report.html")]
    return [*own, run, *found, *(file for file in given if file is not None)]


@contextmanager
def _judged_again(folder: Path) -> Iterator[None]:
    """Inside, a run has no verdict of an earlier call; where it ends with an error there is none, and its page says so.

    The verdict of a fix stays: it is of a run in another folder.
    """
    if any((folder / name).is_file() for name in ("fix.json", "trials.json")):
        yield
        return
    file = folder / "verdict.json"
    file.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        older_page.compare(folder, None, "NOT EVALUATED: the run could not be judged.")
        raise


def _refuse_beside_writing(given: list[Path], asked: Asked, strict: bool) -> None:
    """Raises UsageError for what has no effect while a baseline is written."""
    if asked.accepted in given:
        raise UsageError(
            f"--baseline {asked.accepted} has no effect beside --write-baseline, which accepts all that fails now.",
            "Leave one of them out.",
        )
    if strict:
        raise UsageError("--strict-baseline has no effect beside --write-baseline.", "Leave one of them out.")


def headline(verdict: Verdict) -> str:
    """`FAILED: 1 of 3 gates failed.`"""
    from spuraudit.gates.outputs import facts

    return facts.headline(verdict)


def print_verdict(verdict: Verdict) -> None:
    """The table of gates on stdout, and a sentence for whatever else is to be known.

    That is: each gate that did not pass or is in doubt, each ignore, the accepted findings, and the notes.
    """
    from rich.console import Console
    from rich.text import Text

    from spuraudit.gates import baseline, ignores
    from spuraudit.record.markdown import one_line

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(_table(verdict))
    lines = [
        f"{one.rule.id}: {one.text}"
        for one in verdict.gates
        if one.outcome != "pass" or one.failed or one.ignored or one.known or "inconclusive" in one.text
    ]
    lines += [ignores.describe(one) for one in verdict.ignores]
    lines += [*baseline.describe(verdict.accepted), *verdict.notes]
    for line in lines:
        # on one line: in GitHub's log a class name that begins a line may be a command
        console.print(Text(one_line(line, _LINE)), soft_wrap=True)


def _table(verdict: Verdict) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from spuraudit.gates.outputs import facts

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("Outcome", "Gate", "Value", "95 % interval", "Limit", "n"):
        table.add_column(title, justify="left" if title in ("Outcome", "Gate") else "right", no_wrap=title != "Gate")
    for result in verdict.gates:
        said = facts.standing(result)
        numbers = facts.value(result), facts.interval(result), facts.limit(result), facts.count(result)
        table.add_row(Text(said, style=_STYLES[said]), *(Text(cell) for cell in (_name(result.rule.id), *numbers)))
    return table


def _name(gate: str) -> str:
    """The id of a gate for a cell, where it may be broken into lines: in GitHub's log, `::` would begin a command."""
    from spuraudit.record.markdown import one_line

    return one_line(gate, _LINE).replace("::", ": :")
