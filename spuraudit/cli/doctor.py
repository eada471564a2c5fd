"""`spuraudit doctor`: what this machine has for scans, what is missing, and the way out."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spuraudit.cli import options
from spuraudit.cli.stdout import printing
from spuraudit.errors import EXIT_NOT_EVALUATED, EXIT_PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.runs.doctor import Check

_TITLES = {
    "versions": "Versions",
    "devices": "Devices",
    "weights": "Weights",
    "config": "Configuration",
    "data": "Datasets",
    "disk": "Disk",
    "dry run": "Dry run",
}
_STYLES = {"ok": "green", "missing": "yellow", "warning": "bold yellow"}
#: Versions of the JSON change with what a reader can rely on.
_SCHEMA, _SCHEMA_VERSION = "spuraudit/doctor", "1.0"
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")


def doctor(
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--no-dry-run", help="Scan two drawn images with an untrained network: seconds.")
    ] = True,
    device: options.Device = "auto",
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Default: .spuraudit.yaml, upwards to the repository root."),
    ] = None,
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="json: one object on stdout, for scripts.")
    ] = "text",
) -> None:
    """Show versions, devices, weights, datasets and settings as a scan here would find them, and what is missing.

    Nothing is downloaded or left behind; tokens are never read. The home folder is written as ~.

    Example: spuraudit doctor --format json

    Exit codes: 0 a scan can run here, 2 it cannot.
    """
    # What libraries print while they are looked at must not end up in the answer.
    with redirect_stdout(sys.stderr):
        checks = [_clean(check) for check in _examine(config, device if dry_run else None)]
    blocked = [check for check in checks if check.blocks]
    with printing():
        if format == "json":
            typer.echo(json.dumps(_as_json(checks), indent=1, ensure_ascii=False))
        else:
            _print(checks)
    missing, warnings = (sum(one.status == status for one in checks) for status in ("missing", "warning"))
    found = f"{missing} missing, {warnings} {'warning' if warnings == 1 else 'warnings'}"
    if blocked:
        names = ", ".join(check.name for check in blocked)
        typer.echo(f"NOT READY: no scan can run here ({names}); {found}.", err=True)
    else:
        typer.echo(f"READY: a scan can run here; {found}.", err=True)
    raise typer.Exit(EXIT_NOT_EVALUATED if blocked else EXIT_PASS)


def _examine(config: Path | None, device: str | None) -> list[Check]:
    """device: where the dry run is made; None: none is made."""
    from spuraudit.cli.doctor_setup import setup
    from spuraudit.runs.doctor import caches, devices, disk, hub_folder, versions
    from spuraudit.runs.packages import packages

    checks = [*versions(), *packages()]
    whole = not any(check.blocks for check in checks)
    checks += [*devices(), *caches(), *setup(config, whole)]
    checks += disk({"working folder": Path.cwd(), "weights": hub_folder()})
    if device is not None:
        checks.append(_dry_run(device))
    return checks


def _dry_run(device: str) -> Check:
    from spuraudit.runs.doctor import Check, first_line

    try:
        from spuraudit.runs.dry_run import dry_run

        done = dry_run(device)
    except Exception as error:  # any kind: the installation itself is on trial
        if os.environ.get("SPURAUDIT_DEBUG"):
            traceback.print_exc()
        hint = getattr(error, "hint", None) or "Mend the lines above first; SPURAUDIT_DEBUG=1 shows where it failed."
        return Check("dry run", "two images", "missing", f"failed: {first_line(error)}", hint, blocks=True)
    numbers = len(done.record.measurements)
    text = f"{done.record.data.images} images on {done.device}, {numbers} numbers, {done.seconds:.1f} s"
    return Check("dry run", "two images", "ok", text)


def _clean(check: Check) -> Check:
    from dataclasses import replace

    return replace(check, found=_shown(check.found), hint=_shown(check.hint))


def _shown(text: str) -> str:
    """Without the home folder's path and without passwords in addresses."""
    home = Path("~").expanduser()
    for name in {str(home), str(home.resolve())} - {"/"}:
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", "~", text)
    return _CREDENTIALS.sub("", text)


def _as_json(checks: Sequence[Check]) -> dict[str, object]:
    from dataclasses import asdict

    ready = not any(check.blocks for check in checks)
    return {
        "schema": _SCHEMA,
        "schema_version": _SCHEMA_VERSION,
        "ready": ready,
        "checks": [asdict(check) for check in checks],
    }


def _print(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(check.name) for check in checks)
    for topic, title in _TITLES.items():
        lines = [check for check in checks if check.topic == topic]
        if lines:
            console.print(Text(title, style="bold"))
        for check in lines:
            mark = Text(f"  {check.status:<8}", style=_STYLES[check.status])
            console.print(Text.assemble(mark, f"{check.name:<{width}}  {check.found}"))
            if check.hint:
                console.print(Text(f"  {'':<8}{'':<{width}}  {check.hint}", style="dim"))
