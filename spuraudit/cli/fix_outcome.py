"""What a finished fix prints, writes and returns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spuraudit.cli.stdout import printing
from spuraudit.errors import EXIT_PASS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.record.comparison import Comparison
    from spuraudit.record.fix import FixRecord, FixVerdict
    from spuraudit.record.fix_trials import FixTrials
    from spuraudit.record.verdict import Rule

_SHOWN = {
    "clean_accuracy": "Clean accuracy",
    "mean_group_accuracy": "Mean group",
    "worst_group_accuracy": "Worst group",
    "core_accuracy": "Core accuracy",
    "rcs": "RCS",
    "swap_gap": "Region-swap gap",
}


def conclude(record: FixRecord, folder: Path, output: Path | None, rules: Sequence[Rule], *, quiet: bool) -> int:
    """Write the checkpoint and the page, judge the fixed model, print; returns the exit code."""
    from spuraudit.cli.gate import EXIT_CODES, print_verdict
    from spuraudit.gates import judge
    from spuraudit.record.folder import point_last, read_record, to_json, write_bytes
    from spuraudit.report.views.fix_headline import no_better_than_before

    fixed = folder / record.arms.fixed.checkpoint
    if output is not None:
        write_bytes(output, _as(fixed, output.suffix.lower()))
    report = write_pages(folder)
    if folder.parent.name == "runs":
        point_last(folder)
    code, verdict = EXIT_PASS, None
    if rules:
        verdict = judge(read_record(folder / record.arms.fixed.run), rules)
        write_bytes(folder / "verdict.json", to_json(verdict))
        code = EXIT_CODES[verdict.outcome]
    with printing():
        print_numbers(record)
        if verdict is not None and not quiet:
            print_verdict(verdict)
    said = sentence(record.method.name, record.verdict)
    if record.verdict.outcome == "gained" and no_better_than_before(record):
        said += " But it is no better than the model was before: plain training made that worse."
    print(f"{said} Model: {output or fixed} Report: {report}", file=sys.stderr)
    return code


def write_pages(folder: Path) -> Path:
    """The page of a fix, which it returns, and the reports of its scans, which that page leads to."""
    from spuraudit.record.fix import read_fix
    from spuraudit.record.folder import write_bytes
    from spuraudit.report.fix_page import render_fix
    from spuraudit.report.output import write

    arms = read_fix(folder).arms
    for arm in (arms.before, arms.control, arms.fixed):
        if arm is not None:
            write(folder / arm.run, folder / arm.run / "report.html", charts=False)  # 5 MB less, three times
    report = folder / "report.html"
    write_bytes(report, render_fix(folder).encode())
    return report


def conclude_several(
    trials: FixTrials, folder: Path, output: Path | None, rules: Sequence[Rule], *, quiet: bool
) -> int:
    """The page of each fix, the recommended checkpoint, and a table of all methods; returns the exit code.

    The gates judge the recommended model. Without one nothing is written to `output`, and the code is 2.
    """
    from spuraudit.cli.gate import EXIT_CODES, print_verdict
    from spuraudit.errors import EXIT_NOT_EVALUATED
    from spuraudit.gates import judge
    from spuraudit.record.fix import read_fix
    from spuraudit.record.folder import point_last, read_record, to_json, write_bytes

    for trial in trials.trials:
        if trial.status == "done":
            write_pages(folder / trial.method)
    if folder.parent.name == "runs":
        point_last(folder)
    code, verdict = EXIT_PASS, None
    if trials.recommended is not None:
        best = folder / trials.recommended
        arms = read_fix(best).arms
        if output is not None:
            write_bytes(output, _as(best / arms.fixed.checkpoint, output.suffix.lower()))
        if rules:
            verdict = judge(read_record(best / arms.fixed.run), rules)
            write_bytes(best / "verdict.json", to_json(verdict))
            code = EXIT_CODES[verdict.outcome]
    elif output is not None or rules:
        code = EXIT_NOT_EVALUATED
    with printing():
        print_trials(trials)
        if verdict is not None and not quiet:
            print_verdict(verdict)
    where = f" Model: {output}" if output is not None and trials.recommended else ""
    print(f"{trials.reason}{where} Reports: {folder}/*/report.html", file=sys.stderr)
    return code


def print_trials(trials: FixTrials) -> None:
    """A row per method: accuracies, gain over the control, cost."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    measures = [s.metric for s in next((t.standings for t in trials.trials if t.standings), [])]
    for title in ("Method", *(_SHOWN.get(metric, metric) for metric in measures), "Gain over control", "Cost per step"):
        table.add_column(title, justify="left" if title == "Method" else "right")
    control = next((t.standings for t in trials.trials if t.standings), [])
    table.add_row("control", *(_shown(standing.control) for standing in control), "", "1.00")
    for trial in trials.trials:
        if trial.status != "done":
            table.add_row(trial.method, Text(f"{trial.status}: {trial.reason}"))
            continue
        gain = next((s.gain for s in trial.standings if s.metric == trials.measure), None)
        shown = "-"
        if gain is not None and gain.gain is not None and gain.ci is not None:
            shown = f"{100 * gain.gain:+.1f} ({100 * gain.ci[0]:+.1f} to {100 * gain.ci[1]:+.1f})"
        name = f"{trial.method} *" if trial.method == trials.recommended else trial.method
        cost = "-" if trial.cost is None else f"{trial.cost:.2f}"
        table.add_row(name, *(_shown(standing.fixed) for standing in trial.standings), shown, cost)
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _as(checkpoint: Path, suffix: str) -> bytes:
    """The checkpoint's bytes, in the form that the suffix asks for."""
    from spuraudit.fix.saving import converted

    return checkpoint.read_bytes() if suffix == ".safetensors" else converted(checkpoint)


def sentence(method: str, verdict: FixVerdict) -> str:
    """What the method gained beyond its control, in one sentence."""
    name = _SHOWN.get(verdict.metric, verdict.metric).lower()
    if verdict.gain is None or verdict.ci is None:
        return f"{method}: nothing can be said of its gain over the control ({verdict.reason})."
    low, high = verdict.ci
    size = f"{100 * verdict.gain:+.1f} points of {name} over the control (95 % {100 * low:+.1f} to {100 * high:+.1f})"
    words = {
        "gained": f"{method} gained {size}.",
        "nothing": f"{method} gained nothing that is sure: {size}.",
        "lost": f"{method} lost: {size}.",
        "unknown": f"{method}: {size}.",
    }
    return words[verdict.outcome]


def print_numbers(record: FixRecord) -> None:
    """Key numbers before, of the control and after, with the paired change from control to fixed."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("", "Before", "Control", record.method.name, "Gain over control", "n"):
        table.add_column(title, justify="left" if not title else "right", no_wrap=True)
    before = record.comparisons.fixed_before
    for change in record.comparisons.credit.changes:
        if change.metric not in _SHOWN or set(change.scope) - {"sigma", "feature"}:
            continue
        was = _value_before(before, change.metric, change.scope)
        gain = "-" if change.change is None else f"{100 * change.change:+.1f}"
        if change.ci is not None:
            gain += f" ({100 * change.ci[0]:+.1f} to {100 * change.ci[1]:+.1f})"
        feature = change.scope.get("feature")
        name = _SHOWN[change.metric] + (f" ({feature})" if feature else "")
        table.add_row(name, _shown(was), _shown(change.before), _shown(change.after), gain, str(change.n))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _value_before(comparison: Comparison | None, metric: str, scope: object) -> float | None:
    if comparison is None:
        return None
    return next((c.before for c in comparison.changes if c.metric == metric and c.scope == scope), None)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
