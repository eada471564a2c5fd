"""A function of the user's own that builds the network -> a draft of its model. Its code is run: only when trusted."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spuraudit.errors import ModelError, UsageError, did_you_mean
from spuraudit.models.preprocess import resolve
from spuraudit.models.request import Draft, asked_size
from spuraudit.models.weights import digest
from spuraudit.models.zero_shot import refuse_text_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from spuraudit.models.request import Request

_SIZE = 224
# What a cfg may leave out, and what then holds (timm.data.resolve_data_config).
_USUAL = {"input_size": (3, _SIZE, _SIZE), "interpolation": "bicubic", "crop_pct": 0.875}
_USUALLY = "usual value"
_FLAG_OF = {"input_size": "img_size"}


@dataclass(frozen=True)
class _Built:
    """What the user's function gave, and the file it is written in."""

    network: nn.Module
    cfg: Mapping[str, Any]
    cfg_origin: str
    file: Path


def looks_like_code(spec: str) -> bool:
    """Whether `spec` is `module:function` or `file.py:function`. Nothing is imported to find out.

    A module counts by a dot in its name, or by lying in the current directory or on sys.path.
    """
    place, separator, function = spec.rpartition(":")
    if not separator or not function.isidentifier():
        return False
    if place.endswith(".py"):
        return True
    words = place.split(".")
    if not all(word.isidentifier() for word in words):
        return False
    return len(words) > 1 or PathFinder.find_spec(words[0], [str(Path.cwd()), *sys.path]) is not None


def draft_from_code(name: str, request: Request) -> Draft:
    """The network that `module:function` or `file.py:function` builds when called with the model arguments.

    The function returns an nn.Module with its weights, or a pair of it and a dict in the form of a timm
    pretrained_cfg (mean, std, input_size, crop_pct, crop_mode, interpolation).
    Raises ModelError where running code is not allowed, or it fails; UsageError where nothing states mean and std.
    """
    if request.arch is not None:
        raise UsageError(f"{name} builds its own network; --arch {request.arch} has no meaning.", "Leave --arch out.")
    refuse_text_options(request)
    if name.rpartition(":")[0] == "torchvision":
        raise ModelError(
            f"{name} names an architecture, and no weights.",
            f"Give the checkpoint file, with --arch {name} where its weights do not tell.",
        )
    if not request.trust_code:
        raise ModelError(
            f"{name}: building this model runs the code of {name.rpartition(':')[0]}, which may do anything.",
            "If you trust it, say so with --trust-code.",
        )
    place, _, function = name.rpartition(":")
    built = _built(place, function, request)
    bad = [key for key, tensor in built.network.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ModelError(f"The weights that {name} gives are NaN or infinite: {', '.join(bad[:5])}.")
    notes = [f"Built by {function} in {built.file.name}, sha256 {_sha256(built.file)}."]
    usual = _not_stated(built, request, name)
    if usual:
        notes.append(f"Stated nowhere, so the usual values hold: {', '.join(usual.values())}.")
    asked = asked_size(request)
    preprocess = resolve(
        built.cfg,
        cfg_origin=built.cfg_origin,
        overrides=request.overrides,
        built_for=asked.size if asked else None,
        built_for_origin=asked.origin if asked else "",
    )
    taken = {_FLAG_OF.get(key, key): _USUALLY for key in usual}
    preprocess = preprocess.model_copy(update={"origin": {**preprocess.origin, **taken}})
    label = f"{Path(place).name if place.endswith('.py') else place}:{function}"
    identity = {
        "name": label,
        "source": "code",
        "sha256": digest(built.network),
        "arch": label,
        "arch_origin": "name",
        "kwargs": dict(request.kwargs),
    }
    return Draft(built.network, preprocess, identity, tuple(notes))


def _not_stated(built: _Built, request: Request, name: str) -> dict[str, str]:
    """Key of a cfg -> a value taken for granted, as `name value`. Raises UsageError where mean or std would be one."""
    given = request.overrides.given()
    lacking = [one for one in ("mean", "std") if built.cfg.get(one) is None and one not in given]
    if lacking:
        raise UsageError(
            f"{name} does not say how its pixels are normalised: {' and '.join(lacking)} "
            f"{'are' if len(lacking) > 1 else 'is'} not known.",
            f"Give {' and '.join(f'--{one}' for one in lacking)} in units of [0, 1] pixels, or return "
            "(network, dict(mean=..., std=...)) from the function.",
        )
    sized = asked_size(request) is not None
    return {
        key: f"input size {_SIZE} (--img-size)" if key == "input_size" else f"{key} {value}"
        for key, value in _USUAL.items()
        if built.cfg.get(key) is None and _FLAG_OF.get(key, key) not in given and not (key == "input_size" and sized)
    }


def _built(place: str, function: str, request: Request) -> _Built:
    """Import, call, and check what came back."""
    with _importable(Path(place).parent if place.endswith(".py") else Path()):
        module = _imported(place)
        file = Path(module.__file__ or place)
        build = _function(module, function, place)
        result = _run(lambda: build(**request.kwargs), f"{place}:{function}", file)
    network, cfg = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{place}:{function} returned {_article(network)}, not a network.",
            "Return a torch.nn.Module, or a pair of it and a dict of its mean, std, input_size and crop_pct.",
        )
    if cfg is not None and not isinstance(cfg, dict):
        raise ModelError(
            f"{place}:{function} returned a network and {_article(cfg)}, not a dict.",
            "For example (network, dict(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), input_size=(3, 224, 224))).",
        )
    if cfg is not None:
        return _Built(network, cfg, f"{function}()", file)
    own = getattr(network, "pretrained_cfg", None)
    return _Built(network, own if isinstance(own, dict) else {}, f"pretrained_cfg of {type(network).__name__}", file)


def _article(value: object) -> str:
    kind = type(value).__name__
    return "nothing" if value is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The folder first on sys.path, for as long as the user's code is imported and called."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have taken it out
            sys.path.remove(entry)


def _imported(place: str) -> ModuleType:
    if not place.endswith(".py"):
        found = importlib.util.find_spec(place.partition(".")[0])
        if found is None:
            raise ModelError(
                f"There is no module {place.partition('.')[0]!r}, neither in the current directory nor installed.",
                "Run from the folder that holds it, or give the file: path/to/file.py:function.",
            )
        _run(lambda: importlib.import_module(place), place, Path(found.origin or place))
        return sys.modules[place]
    path = Path(place)
    if not path.is_file():
        raise ModelError(f"There is no file {path}.", "Give path/to/file.py:function.")
    # A name of its own, so that the file cannot stand in for a module that others import.
    name = f"spuraudit_model_{path.stem}"
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # the loader is given
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    _run(lambda: loader.exec_module(module), place, path)
    return module


def _function(module: ModuleType, name: str, place: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        what = f"has no {name!r}" if found is None else f"has a {name!r} that cannot be called"
        raise ModelError(f"{place} {what}.", did_you_mean(name, known) or "Name the function that builds the network.")
    return found  # type: ignore[no-any-return]


def _run(step: Callable[[], Any], what: str, file: Path) -> Any:
    """Let the user's code run; whatever it raises becomes one line with the place in the user's own file."""
    try:
        return step()
    except (Exception, SystemExit) as error:  # a script without a main guard ends the process
        first = next((line for line in str(error).splitlines() if line.strip()), "no message")
        where = _where(error, file)
        hint = (
            "Check --model-kwargs: they are the arguments of the function."
            if isinstance(error, TypeError) and not where
            else "The error is in that code: run it by itself to see all of it."
        )
        raise ModelError(f"{what} failed: {type(error).__name__}: {first[:200]}{where}", hint) from error


def _where(error: BaseException, file: Path) -> str:
    """` (file.py:12)`: the innermost line of the user's file that was running; empty where none was."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}:{error.lineno})"
    own = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == file.resolve()
    ]
    return f" ({file.name}:{own[-1]})" if own else ""


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
