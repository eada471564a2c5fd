"""Where a fix puts its checkpoint and its folder: what may not be written to is refused before anything is trained."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spuraudit.errors import FixError, ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from spuraudit.fix.methods.base import Method
    from spuraudit.fix.prepare import Fix

_ANOTHER = "It was left as it is: name another file, or delete this one."


def check_places(output: Path | None, run: Path | None, model: str, kwargs: Mapping[str, object]) -> None:
    """Raises UsageError where -o is no checkpoint's name or of the model, or where -o or --run cannot be written.

    model, kwargs: what the model is made of, none of which may be written to.
    """
    from spuraudit.fix.saving import check_output

    if output is not None:
        check_output(output)
        _refuse_model(output, model, kwargs)
        _refuse_unwritable(output.parent, f"-o {output}", "Name a file in a folder that can be written to.")
    _refuse_unwritable(
        run or Path("runs"),
        f"--run {run}" if run is not None else "runs (the default folder of a fix)",
        "Name a folder that can be written to with --run.",
    )


def _refuse_model(output: Path, model: str, kwargs: Mapping[str, object]) -> None:
    """Nothing that the model is made of may be written to: its file or folder, files among its arguments."""
    named = [value for value in kwargs.values() if isinstance(value, str)]
    if any(output.exists() and Path(one).exists() and output.samefile(one) for one in named):
        raise UsageError(f"-o {output} is a file of the model.", "The original is never touched: name another file.")
    source = Path(model)
    if not source.exists():
        return
    if source.is_dir():
        own = output.resolve().is_relative_to(source.resolve())
    else:
        own = output.exists() and output.samefile(source)
    if own:
        what = "lies in the model's folder" if source.is_dir() else "is the model itself"
        raise UsageError(f"-o {output} {what}.", "The original is never touched: name another file.")


def _refuse_unwritable(folder: Path, said: str, hint: str) -> None:
    """Tries it in the folder, or in what is there of the folders above it, and leaves nothing behind."""
    try:
        place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UsageError(f"{said} cannot be written ({error.strerror}).", hint) from error


def refuse_another(output: Path, fixes: Iterable[Fix]) -> None:
    """Raises UsageError where `output` exists and is not what one of the fixes wrote there before."""
    if not output.exists():
        return
    origin = _origin(output)
    if origin is None:
        raise UsageError(f"-o {output} exists, and is not what a fix of spuraudit wrote.", _ANOTHER)
    if not any(_is_of(origin, fix) for fix in fixes):
        raise UsageError(f"-o {output} exists, and is of another fix: {_described(origin)}.", _ANOTHER)


def prepared_fixes(
    prepare: Callable[[Method], Fix], names: Iterable[str], options: Mapping[str, Mapping[str, Any]]
) -> Iterator[Fix]:
    """The prepared fix of each method that has what it needs."""
    from spuraudit.fix.catalogue import make_method

    for name in names:
        with suppress(FixError, ModelError):
            yield prepare(make_method(name, options.get(name)))


def _origin(file: Path) -> dict[str, Any] | None:
    """The provenance in a checkpoint that a fix wrote; None for every other file."""
    import torch
    from safetensors import safe_open

    try:
        if file.suffix.lower() == ".safetensors":
            with safe_open(str(file), framework="pt", device="cpu") as opened:
                text = opened.metadata()["provenance"]
        else:
            text = torch.load(file, map_location="cpu", weights_only=True)["provenance"]
        origin = json.loads(text)
    except Exception:  # of what is no checkpoint, a reader may raise anything
        return None
    return origin if isinstance(origin, dict) and "plan_sha256" in origin else None


def _is_of(origin: Mapping[str, Any], fix: Fix) -> bool:
    """Whether it is the fixed model of this very plan. Plain training is its own control, and says so."""
    from spuraudit.fix.execute import CONTROL, FIXED
    from spuraudit.fix.methods.erm import Erm

    arm, plan = (CONTROL, fix.plan.of_control) if fix.method.name == Erm.name else (FIXED, fix.plan)
    return origin.get("arm") == arm and origin["plan_sha256"] == plan.sha256


def _described(origin: Mapping[str, Any]) -> str:
    """'swap of a.pt on birds, seed 0, spuraudit 1.0'."""
    source, data = origin.get("from", {}), origin.get("data", {})
    method = "its control" if origin.get("arm") == "control" else origin.get("method")
    return f"{method} of {source.get('name')} on {data.get('name')}, seed {origin.get('seed')}, {origin.get('tool')}"
