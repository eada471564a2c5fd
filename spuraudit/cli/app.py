"""Declares the commands. Heavy imports live inside their bodies: `--help` starts without torch."""

from __future__ import annotations

import typer

import spuraudit.cli.data as data_commands
import spuraudit.cli.models as model_commands
from spuraudit import __version__
from spuraudit.cli.annotate import annotate
from spuraudit.cli.card import card
from spuraudit.cli.compare import compare
from spuraudit.cli.demo import demo
from spuraudit.cli.doctor import doctor
from spuraudit.cli.fix import fix
from spuraudit.cli.gate import gate
from spuraudit.cli.help_text import flow
from spuraudit.cli.init import init
from spuraudit.cli.report import report
from spuraudit.cli.scan import scan
from spuraudit.cli.schema import schema
from spuraudit.cli.zoo import zoo

app = typer.Typer(
    name="spuraudit",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Does an image classifier look at the object, or at what happens to be around it?",
    epilog="Exit codes: 0 evaluated and passed · 1 a gate failed · 2 could not evaluate · 130 interrupted. "
    "Start with: spuraudit demo",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spuraudit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    del version


app.command()(scan)
app.command()(gate)
app.command()(compare)
app.command()(zoo)
app.command()(fix)
app.command()(annotate)
app.command()(report)
app.command()(demo)
app.command()(init)
app.command()(doctor)
app.command()(card)
app.command()(schema)
app.add_typer(data_commands.app, name="data")
app.add_typer(model_commands.app, name="models")
flow(app)
