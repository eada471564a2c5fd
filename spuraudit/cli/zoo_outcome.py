"""What a finished zoo run writes and prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spuraudit.cli.stdout import printing

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.cli.pages import Pages
    from spuraudit.record.scan import Measurement, ScanRecord
    from spuraudit.record.zoo import ZooModel, ZooRecord
    from spuraudit.record.zoo_file import Zoo
    from spuraudit.report.zoo_evidence import ZooEvidence

#: Notices that say how far the numbers of a model may be trusted.
_SERIOUS = ("SPA001", "SPA002", "SPA006")


def conclude(record: ZooRecord, folder: Path, pages: Pages, *, quiet: bool) -> None:
    """Write pages and tables, print the figures; the last line on stderr says how many and where the page is."""
    from spuraudit.record.folder import point_last, write_bytes
    from spuraudit.report.output import write
    from spuraudit.report.parts import Parts, write_page
    from spuraudit.report.zoo_csv import features_csv_text, zoo_csv_text
    from spuraudit.report.zoo_evidence import gather_zoo
    from spuraudit.report.zoo_page import render_zoo_evidence

    for model in record.models:  # first, since the zoo's page links to them
        if model.run is not None:
            write(folder / model.run, folder / model.run / "report.html", charts=False, edition=pages.edition)
    evidence = gather_zoo(folder)
    write_bytes(folder / "zoo.csv", zoo_csv_text(evidence).encode())
    write_bytes(folder / "features.csv", features_csv_text(evidence).encode())
    write_page(folder / "zoo.html", render_zoo_evidence(evidence, title=pages.title, edition=pages.edition), Parts())
    if folder.parent.name == "runs":
        point_last(folder)
    if not quiet:
        with printing():
            _print_models(evidence)
    failed = sum(model.status == "failed" for model in record.models)
    said = f"{len(record.models) - failed} of {len(record.models)} models evaluated"
    print(f"{said}{f', {failed} failed' if failed else ''}. Report: {folder / 'zoo.html'}", file=sys.stderr)


def _print_models(evidence: ZooEvidence) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spuraudit.cli.outcome import notices_lines

    scans = {model.entry.id: model.record for model in evidence.audited}
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("Model", "Group", "n", "Clean", "Core", "Spurious", "RCS", "95 % interval", "Published RCS"):
        table.add_column(title, justify="left" if title in ("Model", "Group") else "right")
    notices = []
    for model in evidence.zoo.models:
        scan = scans.get(model.id)
        if scan is None:
            table.add_row(Text(model.name), Text(model.group or ""), *["-"] * 5, "not evaluated", "")
            notices.append(f"{model.name}: {model.reason}")
            continue
        table.add_row(Text(model.name), Text(model.group or ""), *_cells(model, scan))
        notices += [f"{model.name}: {line}" for line in notices_lines(scan) if line.startswith(_SERIOUS)]
    console.print(table)
    for notice in notices:
        console.print(notice, markup=False, soft_wrap=True)


def _cells(model: ZooModel, scan: ScanRecord) -> list[str]:
    """n, accuracies, RCS with its interval, published RCS; of the smallest sigma."""
    found: dict[str, Measurement] = {}
    for measurement in scan.measurements:
        if not set(measurement.scope) - {"sigma"}:
            found.setdefault(measurement.metric, measurement)
    cells = [str(found["clean_accuracy"].n) if "clean_accuracy" in found else "-"]
    for metric in ("clean_accuracy", "core_accuracy", "spurious_accuracy"):
        value = found[metric].value if metric in found else None
        cells.append("-" if value is None else f"{100 * value:.1f} %")
    rcs = found.get("rcs")
    saturated = " saturated" if rcs is not None and "saturated" in rcs.flags else ""
    cells.append("-" if rcs is None or rcs.value is None else f"{rcs.value:+.3f}{saturated}")
    cells.append("-" if rcs is None or rcs.ci is None else f"{rcs.ci[0]:+.3f} to {rcs.ci[1]:+.3f}")
    printed = model.published.rcs if model.published is not None else None
    return [*cells, "" if printed is None else f"{printed:+.3f}"]


def print_zoo(found: Zoo) -> None:
    """`--list`: every entry and where it comes from."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("Id", "Model", "Group", "From", "Licence"):
        table.add_column(title)
    for entry in found.entries:
        origin = entry.shown_spec if entry.adapter is None else ", ".join(entry.adapter.files.values())
        table.add_row(entry.id, Text(entry.name), Text(entry.group or ""), Text(origin), Text(entry.licence or ""))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
