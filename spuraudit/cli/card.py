"""`spuraudit card RUN`: the section of a Hugging Face model card. Needs the record and no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli.stdout import printing
from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord


def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `spuraudit scan`.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file, such as README.md. Default: stdout."),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option("--update", metavar="FILE", help="An existing README.md: everything else in it stays as it is."),
    ] = None,
) -> None:
    """Write a run's numbers as a model card: `model-index` metadata, and a section with intervals, n and limits.

    With --update, the run's entry joins the model-index of FILE, and its section stands between two comments; running
    it again replaces both.

    Example: spuraudit card runs/last --update README.md

    Exit codes: 0 written, 2 the run or FILE could not be read, or FILE of -o exists.
    """
    from spuraudit.record.folder import read_record, write_bytes
    from spuraudit.report.card import card_text

    if output is not None and update is not None:
        raise UsageError("-o writes a new file and --update changes one: both were given.", "Leave one of them out.")
    if output is not None and os.path.lexists(output):
        raise UsageError(
            f"{output} exists; nothing was written.", f"Keep what is in it: --update {output}. Or name another file."
        )
    record = read_record(run)
    if update is not None:
        write_bytes(update, _updated(update, record))
        typer.echo(update)
    elif output is not None:
        write_bytes(output, card_text(record).encode())
        typer.echo(output)
    else:
        with printing():
            typer.echo(card_text(record), nl=False)


def _updated(file: Path, record: ScanRecord) -> bytes:
    from spuraudit.report.card_merge import merge

    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}).", f"Write a new one: -o {file}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    return merge(text, record, str(file)).encode()
