"""`spuraudit gate RUN`: judge a stored run. Needs the record and no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli.stdout import printing
from spuraudit.errors import EXIT_GATE_FAILED, EXIT_NOT_EVALUATED, EXIT_PASS, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from spuraudit.record.verdict import GateResult, Outcome, Rule, Verdict

EXIT_CODES: dict[Outcome, int] = {"pass": EXIT_PASS, "fail": EXIT_GATE_FAILED, "not evaluated": EXIT_NOT_EVALUATED}
_HEADLINES: dict[Outcome, str] = {"pass": "PASSED", "fail": "FAILED", "not evaluated": "NOT EVALUATED"}
_STYLES: dict[Outcome, str] = {"pass": "green", "fail": "bold red", "not evaluated": "bold yellow"}
_PIPE_WIDTH = 120  # rich assumes 80 columns where there is no terminal, and CI logs are wider


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
        typer.Option("--config", metavar="FILE", help="Default: .spuraudit.yaml, upwards to the repository root."),
    ] = None,
    min_n: Annotated[
        int | None,
        typer.Option("--min-n", min=1, help="Fewest images a number may rest on, for every gate. Default: 50."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last line.")] = False,
) -> None:
    """Judge a run against limits and write RUN/verdict.json.

    Exit codes: 0 every gate passed, 1 a gate failed, 2 a gate could not be evaluated.

    Example: spuraudit gate runs/last --rule 'ci_low(rcs) >= 0.2'
    """
    from spuraudit.gates import judge
    from spuraudit.record.folder import read_record, resolve_run, to_json, write_bytes

    rules = collect_rules(rule or [], config, min_n)
    if not rules:
        raise UsageError(
            "There are no gates to judge: no --rule, and none under `gates:` in a .spuraudit.yaml here or above.",
            "Write one: --rule 'rcs >= 0.2', or in the file: - {id: rcs-floor, metric: rcs, min: 0.2, bound: ci_low}",
        )
    verdict = judge(read_record(run), rules)
    file = resolve_run(run) / "verdict.json"
    write_bytes(file, to_json(verdict))
    with printing():
        if not quiet:
            print_verdict(verdict)
    print(f"{headline(verdict)} {file}", file=sys.stderr)
    raise typer.Exit(EXIT_CODES[verdict.outcome])


def collect_rules(texts: list[str], config: Path | None, min_n: int | None) -> list[Rule]:
    """The config's gates, then those of the command line; a rule given twice counts once. May be empty.

    Raises ConfigError for what cannot be understood.
    """
    from spuraudit.gates import check_rules, find_config, load_config, parse_rule

    file = config or find_config(Path.cwd())
    rules = [*(load_config(file).gates if file else ()), *map(parse_rule, texts)]
    if min_n is not None:
        rules = [one.model_copy(update={"min_n": min_n}) for one in rules]
    rules = [one for place, one in enumerate(rules) if one not in rules[:place]]
    check_rules(rules)
    return rules


def headline(verdict: Verdict) -> str:
    """`FAILED: 1 of 3 gates failed.`"""
    total = len(verdict.gates)
    failed, unknown = (sum(one.outcome == outcome for one in verdict.gates) for outcome in ("fail", "not evaluated"))
    parts = [f"{failed} of {total} gates failed"] if failed else []
    if unknown:
        parts.append(f"{unknown} of {total} gates could not be evaluated")
    said = ", ".join(parts) or f"{total} of {total} gates hold"
    return (
        f"{_HEADLINES[verdict.outcome]}: {said.replace('1 of 1 gates', 'the gate').replace('gate hold', 'gate holds')}."
    )


def print_verdict(verdict: Verdict) -> None:
    """The table of gates on stdout, and a sentence for each gate that did not pass or is in doubt."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(_table(verdict))
    for result in verdict.gates:
        if result.outcome != "pass" or "inconclusive" in result.text:
            console.print(Text(f"{result.rule.id}: {result.text}"), soft_wrap=True)


def _table(verdict: Verdict) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("Outcome", "Gate", "Value", "95 % interval", "Limit", "n"):
        table.add_column(title, justify="left" if title in ("Outcome", "Gate") else "right", no_wrap=title != "Gate")
    for result in verdict.gates:
        cells = [Text(cell) for cell in (result.rule.id, *_numbers(result))]
        table.add_row(Text(result.outcome, style=_STYLES[result.outcome]), *cells)
    return table


def _numbers(result: GateResult) -> tuple[str, str, str, str]:
    from spuraudit.gates import words
    from spuraudit.record.units import unit_of

    unit = unit_of(result.rule.metric)
    bound = "" if result.rule.bound == "point" else f"{result.rule.bound} "
    return (
        "-" if result.value is None else words.show(result.value, unit),
        "-" if result.ci is None else words.show_interval(result.ci, unit),
        f"{bound}{result.rule.op} {words.show_limit(result.rule.limit, unit)}",
        "-" if result.n is None else f"{result.n:,}",
    )
