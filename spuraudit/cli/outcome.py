"""What a finished scan prints, writes and returns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spuraudit.cli.stdout import printing
from spuraudit.errors import EXIT_PASS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from spuraudit.cli.gating import Asked
    from spuraudit.cli.pages import Pages
    from spuraudit.record.scan import Finding, Measurement, ModelRecord, ScanRecord

_KEY_METRICS = (
    ("clean_accuracy", "Clean accuracy"),
    ("worst_group_accuracy", "Worst group"),
    ("core_accuracy", "Core accuracy"),
    ("spurious_accuracy", "Spurious accuracy"),
    ("rcs", "RCS"),
    ("swap_gap", "Region-swap gap"),
    ("mean_label_recall", "Label recall"),
    ("core_mean_label_recall", "Core label recall"),
    ("spurious_mean_label_recall", "Spurious label recall"),
    ("mean_label_false_alarm", "Label false alarm"),
    ("core_mean_label_false_alarm", "Core label false alarm"),
    ("spurious_mean_label_false_alarm", "Spurious label false alarm"),
)
_SHOWN_FINDINGS = 8


def describe_model(model: ModelRecord) -> list[str]:
    """What was understood of the model: architecture and preprocessing with where each value came from."""
    geometry, preprocess = model.preprocess.geometry, model.preprocess
    kwargs = "".join(f" {key}={value}" for key, value in model.kwargs.items())
    origin = preprocess.origin

    def of(name: str) -> str:
        return f" ({origin[name]})" if name in origin else ""

    def triple(values: Sequence[float]) -> str:
        return ",".join(f"{value:g}" for value in values)

    return [
        f"Model  {model.name}: {model.arch}{kwargs} ({model.arch_origin}), {_large(model.parameters)} parameters, "
        f"{model.num_classes} outputs, sha256 {(model.sha256 or '-')[:12]}",
        f"Input  {geometry.width}x{geometry.height}{of('img_size')}, {geometry.interpolation}{of('interpolation')}, "
        f"crop {geometry.crop_pct:g} {geometry.crop_mode}{of('crop_pct')}, mean {triple(preprocess.mean)}{of('mean')}, "
        f"std {triple(preprocess.std)}{of('std')}",
        *_head(model),
        *(f"Note   {note}" for note in model.notes),
    ]


def _head(model: ModelRecord) -> list[str]:
    """What is unusual about how outputs become answers."""
    lines = []
    if model.head != "softmax":
        lines.append(f"Head   {model.head}: every output is a label of its own, given at a probability of 0.5 or more")
    if model.text_head is not None:
        text = model.text_head
        lines.append(
            f"Text   class names: {text.class_names}; templates: {text.templates}, {text.prompts} per class; "
            f"sha256 {text.sha256[:12]}"
        )
    return lines


def _large(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number:,}"


def conclude(
    record: ScanRecord,
    run: Path,
    gates: Asked,
    files: Sequence[Path],
    *,
    against: Path | None = None,
    pages: Pages | None = None,
) -> int:
    """Judge, render, print; returns the exit code. The last line on stderr is the verdict and where the report is."""
    from spuraudit.cli.gate import EXIT_CODES, headline, print_verdict
    from spuraudit.cli.gating import judge_run
    from spuraudit.record.folder import point_last, write_verdict
    from spuraudit.report.output import write

    title, edition = (pages.title, pages.edition) if pages is not None else (None, None)
    code, verdict = EXIT_PASS, None
    (run / "verdict.json").unlink(missing_ok=True)
    pages_and_tables = (report := run / "report.html", *files)
    if gates.rules:
        try:
            verdict = judge_run(run, record, gates)
        except Exception:  # of a baseline that this run cannot be compared with: the numbers stand all the same
            for file in pages_and_tables:  # none of them keeps the verdict of an earlier run
                write(run, file, title=title, against=against, edition=edition)
            raise
        code = EXIT_CODES[verdict.outcome]
        write_verdict(run / "verdict.json", verdict, run)
    for file in pages_and_tables:
        write(run, file, title=title, against=against, edition=edition)
    if run.parent.name == "runs":  # elsewhere a link that nobody asked for would be a surprise
        point_last(run)
    with printing():
        print_summary(record)
        if verdict is not None:
            print_verdict(verdict)
    said = headline(verdict) if verdict else _suspects_line(record)
    print(f"{said} Report: {report}", file=sys.stderr)
    return code


def print_summary(record: ScanRecord) -> None:
    """Key numbers with intervals, then the suspected spurious features, on stdout."""
    console = _console()
    console.print(_numbers_table(record))
    suspects = [finding for finding in record.findings if finding.suspected]
    if suspects:
        console.print(_findings_table(suspects))
        if len(suspects) > _SHOWN_FINDINGS:
            console.print(f"... and {len(suspects) - _SHOWN_FINDINGS} more in the report.")
    for line in notices_lines(record):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def notices_lines(record: ScanRecord) -> list[str]:
    """The notices of a scan, 'SPA006 With --mean ...', each a line."""
    return [f"{notice.code} {notice.text}" for notice in record.warnings]


def _suspects_line(record: ScanRecord) -> str:
    count = sum(finding.suspected for finding in record.findings)
    tested = len(record.findings)
    if not tested:
        return "Scanned; no gate was set."
    return f"Scanned: {count} of {tested} tested features and regions are suspected; no gate was set."


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def _numbers_table(record: ScanRecord) -> object:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for title, justify in (("", "left"), ("Value", "right"), ("95 % interval", "right"), ("n", "right"), ("", "left")):
        table.add_column(title, justify="left" if justify == "left" else "right", no_wrap=True)
    table.columns[-1].no_wrap = False  # the reason of an undefined number must be readable in full
    for metric, name in _KEY_METRICS:
        for measurement in record.measurements:
            if measurement.metric == metric and not set(measurement.scope) - {"sigma", "feature"}:
                table.add_row(Text(_titled(name, measurement)), *_cells(measurement))
    return table


def _titled(name: str, measurement: Measurement) -> str:
    feature, sigma = measurement.scope.get("feature"), measurement.scope.get("sigma")
    return name + (f" ({feature})" if feature else "") + (f" (sigma {sigma:g})" if sigma is not None else "")


def _cells(measurement: Measurement) -> tuple[str, str, str, str]:
    def shown(value: float) -> str:
        return f"{value:+.3f}" if measurement.metric == "rcs" else f"{100 * value:.1f} %"

    if measurement.value is None:
        return "undefined", "-", str(measurement.n), measurement.reason or ""
    low, high = measurement.ci or (measurement.value, measurement.value)
    note = f"saturated: {measurement.value:+.0f} by arithmetic" if "saturated" in measurement.flags else ""
    return shown(measurement.value), f"{shown(low)} to {shown(high)}", str(measurement.n), note


def _findings_table(findings: Sequence[Finding]) -> object:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False, title="Suspected spurious features", title_justify="left")
    for title in ("", "Audit", "Class", "Feature", "Effect", "95 % interval", "q", "n"):
        table.add_column(title, justify="right" if title in ("Effect", "95 % interval", "q", "n") else "left")
    for finding in findings[:_SHOWN_FINDINGS]:
        low, high = finding.effect_ci
        table.add_row(
            finding.id,
            finding.audit.replace("_", " "),
            Text(finding.class_name),
            Text(finding.feature),
            f"{100 * finding.effect:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{finding.q:.2g}",
            str(finding.n),
        )
    return table
