"""The one place that decides exit codes: 0 passed, 1 a gate failed, 2 could not evaluate, 130 interrupted.

Typer maps an uncaught exception to 1, which here means "a gate failed": nothing may get past this function.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from spuraudit.errors import EXIT_INTERRUPTED, EXIT_NOT_EVALUATED, EXIT_PASS, SpurauditError

if TYPE_CHECKING:
    from types import FrameType


def run() -> NoReturn:
    """Entry point of the `spuraudit` command."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run the command line `arguments` and return the exit code."""
    import typer

    from spuraudit.cli.app import app

    try:
        result = typer.main.get_command(app).main(arguments, prog_name="spuraudit", standalone_mode=False)
        if result == EXIT_INTERRUPTED:  # some releases of typer answer Ctrl-C with this code and not a word
            raise KeyboardInterrupt
        return result if isinstance(result, int) else EXIT_PASS
    except SpurauditError as error:
        _print_error(error.message, error.hint)
        return error.exit_code
    except _usage_errors() as error:
        error.show()  # type: ignore[attr-defined]
        return EXIT_NOT_EVALUATED
    except (KeyboardInterrupt, typer.Abort):
        _print_error("Interrupted.", "Run the same command again: a scan resumes where it stopped.")
        return EXIT_INTERRUPTED
    except SystemExit as stop:
        # Gates give their code to typer.Exit; a SystemExit comes from a library that lost its output.
        return EXIT_PASS if stop.code in (None, 0) else EXIT_NOT_EVALUATED
    except OSError as error:
        _print_error(
            f"{error.filename or 'Output'}: {error.strerror or error}.", "Check the path, its rights and space."
        )
        return EXIT_NOT_EVALUATED
    except Exception as error:
        if os.environ.get("SPURAUDIT_DEBUG"):
            traceback.print_exc()
        _print_error(
            f"{type(error).__name__}: {error}",
            "This is a bug in spuraudit. Please report it with the output of SPURAUDIT_DEBUG=1 and the same command.",
        )
        return EXIT_NOT_EVALUATED


def _usage_errors() -> type[Exception]:
    """The base class of typer's usage errors. Some releases carry their own click, so it is found through typer."""
    import typer

    base: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
    return base


def _print_error(message: str, hint: str | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("Error: ", "bold red"), message))
    if hint:
        console.print(Text.assemble(("  ", ""), (hint, "")))


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
