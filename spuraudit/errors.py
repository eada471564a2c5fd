"""The tree of exceptions.

    SpurauditError          exit 2
    ├── UsageError          the command line or the Python call asks for something impossible
    ├── ConfigError         a YAML, TOML or rule text cannot be understood (names file and line)
    ├── DataError           an image, mask, manifest or archive is missing, unreadable or inconsistent
    ├── ModelError          a checkpoint cannot be loaded or does not fit the dataset
    ├── RunError            a run folder is missing, unfinished, foreign or cannot be written
    ├── FixError            a fine-tuning diverged or collapsed, or lacks what its method needs
    └── NotEvaluatedError   everything was readable, but there is not enough evidence to conclude anything

A gate that fails is not an exception: it is a verdict, with exit code 1.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_PASS = 0
EXIT_GATE_FAILED = 1
EXIT_NOT_EVALUATED = 2
EXIT_INTERRUPTED = 130


class SpurauditError(Exception):
    """What went wrong (`message`: what, where, which value) and the way out (`hint`: what to do next)."""

    exit_code = EXIT_NOT_EVALUATED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[SpurauditError], tuple[str, str | None]]:
        """Errors of other processes keep their hint."""
        kind = next(kind for kind in type(self).__mro__ if "__init__" not in vars(kind) or kind is SpurauditError)
        return kind, (self.message, self.hint)


class UsageError(SpurauditError):
    """The command line or the Python call asks for something impossible."""


class ConfigError(SpurauditError):
    """A YAML, TOML or rule text cannot be understood; the message names file and line."""


class DataError(SpurauditError):
    """An image, mask, manifest or archive is missing, unreadable or inconsistent."""


class ModelError(SpurauditError):
    """A checkpoint cannot be loaded, or does not fit the dataset."""


class RunError(SpurauditError):
    """A run folder is missing, unfinished, made by other inputs, or cannot be written."""


class FixError(SpurauditError):
    """A fine-tuning diverged or collapsed, or the data lack what its method needs."""


class NotEvaluatedError(SpurauditError):
    """Everything could be read, but there is not enough evidence to conclude anything."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x' or 'y'?` for the nearest of `known`, or an empty string where none is near."""
    near = get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
