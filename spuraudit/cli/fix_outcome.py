"""What a finished fix prints, writes and returns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spuraudit.cli.stdout import printing
from spuraudit.errors import EXIT_PASS

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.cli.gating import Asked
    from spuraudit.cli.pages import Pages
    from spuraudit.record.comparison import Interval
    from spuraudit.record.fix import FixRecord
    from spuraudit.record.fix_trials import FixTrials

_SHOWN = (
    "clean_accuracy",
    "mean_group_accuracy",
    "worst_group_accuracy",
    "core_accuracy",
    "rcs",
    "swap_gap",
)


def conclude(record: FixRecord, folder: Path, output: Path | None, gates: Asked, pages: Pages) -> int:
    """Write the checkpoint and the page, judge the fixed model, print; returns the exit code."""
    from spuraudit.cli.gate import EXIT_CODES, print_verdict
    from spuraudit.cli.gating import judge_run
    from spuraudit.record.folder import point_last, read_record, write_bytes, write_verdict
    from spuraudit.report.views.fix_headline import fix_headline
    from spuraudit.report.views.fix_shortcuts import shortcuts_view

    (folder / "verdict.json").unlink(missing_ok=True)  # judging may end with an error
    fixed = folder / record.arms.fixed.checkpoint
    if output is not None:
        write_bytes(output, _as(fixed, output.suffix.lower()))
    report = write_pages(folder, pages)
    if folder.parent.name == "runs":
        point_last(folder)
    code, verdict = EXIT_PASS, None
    if gates.rules:
        run = folder / record.arms.fixed.run
        verdict = judge_run(run, read_record(run), gates)
        write_verdict(folder / "verdict.json", verdict, run)
        code = EXIT_CODES[verdict.outcome]
    with printing():
        print_numbers(record)
        if verdict is not None:
            print_verdict(verdict)
    head = fix_headline(record, shortcuts_view(record))
    said = " ".join((f"{head.label}.", head.statement, *head.others))
    print(f"{said} Model: {output or fixed} Report: {report}", file=sys.stderr)
    return code


def write_pages(folder: Path, pages: Pages) -> Path:
    """The page of a fix, which it returns, and the reports of its scans, which that page leads to."""
    from spuraudit.record.fix import read_fix
    from spuraudit.report.output import write

    arms = read_fix(folder).arms
    for arm in (arms.before, arms.control, arms.fixed):
        if arm is not None:
            # 5 MB less, three times
            write(folder / arm.run, folder / arm.run / "report.html", charts=False, edition=pages.edition)
    return write(folder, folder / "report.html", title=pages.title, edition=pages.edition)


def conclude_several(trials: FixTrials, folder: Path, output: Path | None, gates: Asked, pages: Pages) -> int:
    """The page of each fix, the recommended checkpoint, and a table of all methods; returns the exit code.

    The gates judge the recommended model. Without one nothing is written to `output`, and the code is 2.
    """
    from spuraudit.cli.gate import EXIT_CODES, print_verdict
    from spuraudit.cli.gating import judge_run
    from spuraudit.errors import EXIT_NOT_EVALUATED
    from spuraudit.record.fix import read_fix
    from spuraudit.record.folder import point_last, read_record, write_bytes, write_verdict

    written: list[Path] = []
    for trial in trials.trials:
        (folder / trial.method / "verdict.json").unlink(missing_ok=True)
        if trial.status == "done":
            written.append(write_pages(folder / trial.method, pages))
    if folder.parent.name == "runs":
        point_last(folder)
    code, verdict = EXIT_PASS, None
    if trials.recommended is not None:
        best = folder / trials.recommended
        arms = read_fix(best).arms
        if output is not None:
            write_bytes(output, _as(best / arms.fixed.checkpoint, output.suffix.lower()))
        if gates.rules:
            run = best / arms.fixed.run
            verdict = judge_run(run, read_record(run), gates)
            write_verdict(best / "verdict.json", verdict, run)
            code = EXIT_CODES[verdict.outcome]
    elif output is not None or gates.rules:
        code = EXIT_NOT_EVALUATED
    with printing():
        print_trials(trials)
        if verdict is not None:
            print_verdict(verdict)
    said = _of_the_recommended(trials.recommended, output, gates)
    print(f"{trials.reason}{said} Reports: {', '.join(map(str, written))}", file=sys.stderr)
    return code


def _of_the_recommended(method: str | None, output: Path | None, gates: Asked) -> str:
    """Where it is; where there is none, what did not happen to it, which is why the exit code is 2."""
    if method is not None:
        return f" Model: {output}" if output is not None else ""
    undone = [f"-o {output} was not written"] if output is not None else []
    undone += ["no gate was judged"] if gates.rules else []
    return f" No method is recommended, so {' and '.join(undone)} (exit code 2)." if undone else ""


def print_trials(trials: FixTrials) -> None:
    """A row per method: accuracies, gain over the control, cost."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spuraudit.report.formats import value_of
    from spuraudit.report.views.change_words import capital, metric_name

    done = [trial for trial in trials.trials if trial.status == "done"]
    control = done[0].standings
    table = Table(box=SIMPLE, pad_edge=False)
    names = [capital(metric_name(standing.metric, {})) for standing in control]
    for title in ("Method", *names, "Gain over control", "Cost per step"):
        table.add_column(title, justify="left" if title == "Method" else "right", no_wrap=title.startswith("Gain"))
    table.add_row("control", *(value_of(one.metric, one.control) for one in control), "", "1.00")
    for trial in done:
        gain = next((one.gain for one in trial.standings if one.metric == trials.measure), None)
        table.add_row(
            f"{trial.method} *" if trial.method == trials.recommended else trial.method,
            *(value_of(one.metric, one.fixed) for one in trial.standings),
            "-" if gain is None else _gain(gain.metric, gain.gain, gain.ci),
            "-" if trial.cost is None else f"{trial.cost:.2f}",
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for trial in trials.trials:
        if trial.status != "done":
            console.print(Text(f"{trial.method} {trial.status}: {trial.reason}"), soft_wrap=True)


def _as(checkpoint: Path, suffix: str) -> bytes:
    """The checkpoint's bytes, in the form that the suffix asks for."""
    from spuraudit.fix.saving import converted

    return checkpoint.read_bytes() if suffix == ".safetensors" else converted(checkpoint)


def print_numbers(record: FixRecord) -> None:
    """Key numbers before, of the control and after, with the paired change from control to fixed."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spuraudit.report.formats import value_of
    from spuraudit.report.views.change_words import capital, metric_name

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("", "Before", "Control", record.method.name, "Gain over control", "n"):
        table.add_column(title, justify="left" if not title else "right", no_wrap=True)
    before = record.comparisons.fixed_before
    for change in record.comparisons.credit.changes:
        if change.metric not in _SHOWN or set(change.scope) - {"sigma", "feature"}:
            continue
        earlier = None if before is None else before.of(change.metric, change.scope)
        was = None if earlier is None else earlier.before
        values = (value_of(change.metric, value) for value in (was, change.before, change.after))
        name = Text(capital(metric_name(change.metric, change.scope)))
        table.add_row(name, *values, _gain(change.metric, change.change, change.ci), str(change.n))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _gain(metric: str, gain: float | None, ci: Interval | None) -> str:
    """'+31.2 points (24.0 to 38.1)'."""
    from spuraudit.report.views.change_words import change_interval, change_of

    return change_of(metric, gain) + (f" ({change_interval(metric, ci)})" if ci is not None else "")
