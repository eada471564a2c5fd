"""Checkpoint files: read without running any code of theirs unless that is allowed, reduced to one flat state dict."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import pickle
import re
import textwrap
import warnings
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.torch_version import TorchVersion

from spuraudit.errors import ModelError
from spuraudit.models.folder_files import CONFIG, OPEN_CLIP_CONFIG
from spuraudit.models.preprocess import PreprocessOverrides

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

Value = str | int | float | bool | None

SUFFIXES = (".pt", ".pth", ".ckpt", ".tar", ".bin", ".safetensors")
_MODELS = (
    f"Give a file ({', '.join(SUFFIXES)}); or timm:NAME, hf-hub:ORG/NAME, local-dir:FOLDER (with its config.json), "
    "open_clip:ARCH,TAG, zoo:ENTRY or MODULE:FUNCTION."
)

# Averaged weights first, as in timm's own evaluation: published accuracies belong to them.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")
_ENTRIES = (*_AVERAGED, "state_dict", "model", "model_state", "model_state_dict", "net", "network", "weights", "params")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_SCALAR = np.float64(0).__reduce__()[0]
# Plain values beside the weights whose types torch.load would refuse: arguments, paths, scores as numpy's numbers.
_PLAIN: list[Any] = [
    Namespace,
    defaultdict,
    PosixPath,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    _SCALAR,
]
if TorchVersion(torch.__version__) >= "2.6":  # numpy 1 and 2 write it under different names
    _PLAIN += [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
# What training scripts call constructor arguments (timm's train.py: `drop`, `gp`) -> the constructor's name.
_CONSTRUCTOR_ARGUMENTS = {
    "pad_type": "pad_type",
    "channel_multiplier": "channel_multiplier",
    "act_layer": "act_layer",
    "bn_eps": "bn_eps",
    "drop": "drop_rate",
    "drop_rate": "drop_rate",
    "gp": "global_pool",
    "global_pool": "global_pool",
}
_REASON = 160
"""Characters of a library's reason."""
_PREPROCESS_ARGUMENTS = ("mean", "std", "interpolation", "crop_pct", "crop_mode", "img_size")


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    tensors: the state dict, on the CPU, prefixes removed. entry: the entry it lay under, None for a bare state dict.
    prefix: what was removed from every name. ran_code: whether pickled code was run. arch, kwargs, preprocess: what
    the file itself says about the network.
    """

    file: str
    sha256: str
    size_bytes: int
    tensors: Mapping[str, Tensor]
    entry: str | None = None
    prefix: str = ""
    ran_code: bool = False
    arch: str | None = None
    kwargs: Mapping[str, Value] = field(default_factory=dict)
    preprocess: PreprocessOverrides = field(default_factory=PreprocessOverrides)

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading decided, one sentence each."""
        notes = []
        if self.entry in _AVERAGED:
            notes.append(f"The averaged (EMA) weights under '{self.entry}' were used.")
        elif self.entry is not None:
            notes.append(f"The weights lie under '{self.entry}'.")
        if self.prefix:
            notes.append(f"The prefix '{self.prefix}' was removed from all names.")
        if self.ran_code:
            notes.append("The file holds pickled code, which was run because it was trusted.")
        return tuple(notes)


def read_checkpoint(path: Path, *, trust_code: bool = False) -> Checkpoint:
    """Read a checkpoint file. trust_code: whether pickled code in it may be run.

    Raises ModelError for a file that is missing, unreadable, truncated, needs code to be run, holds no state dict,
    or holds weights that are not finite.
    """
    if not path.is_file():
        raise _no_file(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(
            f"{path}: unknown kind of checkpoint {path.suffix or 'without a suffix'!r}.",
            f"Known suffixes: {', '.join(SUFFIXES)}.",
        )
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    content: Any
    if path.suffix.lower() == ".safetensors":
        ran_code = False
        content, described = _read_safetensors(path)
    else:
        content, ran_code = _read_torch(path, trust_code)
        described = content if isinstance(content, Mapping) else {}
    entry, tensors = _state_dict(content, path)
    prefix, tensors = _without_prefix(tensors)
    _refuse_non_finite(tensors, path)
    arguments = _arguments(described)
    return Checkpoint(
        file=path.name,
        sha256=sha256,
        size_bytes=size,
        tensors=tensors,
        entry=entry,
        prefix=prefix,
        ran_code=ran_code,
        arch=_arch(described, arguments),
        kwargs=_kwargs(described, arguments),
        preprocess=_preprocess(arguments, path),
    )


def _no_file(path: Path) -> ModelError:
    if not path.is_dir():
        return ModelError(f"The checkpoint {path} does not exist.", _MODELS)
    described = next((name for name in (CONFIG, OPEN_CLIP_CONFIG) if (path / name).is_file()), None)
    hint = f"It holds {described}: write local-dir:{path}." if described else _MODELS
    return ModelError(f"The checkpoint {path} is a folder, not a file.", hint)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, _decoded(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error


def _decoded(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """The metadata of a safetensors file hold text alone; arguments lie in it as JSON."""
    described: dict[str, Any] = dict(metadata)
    for name in ("args", "model_kwargs"):
        with suppress(ValueError):
            described[name] = json.loads(metadata.get(name, "null"))
    return described


def _read_torch(path: Path, trust_code: bool) -> tuple[Any, bool]:
    """The content of a file of torch.save, and whether code of its was run."""
    try:
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the file's format; what matters is raised below
            return torch.load(path, map_location="cpu", weights_only=True), False
    except pickle.UnpicklingError as error:
        needed = re.search(r"GLOBAL ([\w.]+)", str(error))
        if needed is None:
            raise _unreadable(path, "it is no file of torch.save") from error
        if trust_code:
            return _read_with_code(path), True
        raise ModelError(
            f"{path} holds pickled code ({needed.group(1)}), not weights alone; reading it would run that code.",
            "If you trust the file, add --trust-code, or convert it to a state dict first (of a dict take the entry "
            "that holds the network, such as content['model']):\n"
            f"  import torch; content = torch.load({path.name!r}, map_location='cpu', weights_only=False)\n"
            f"  torch.save(content.state_dict(), {path.stem + '.weights.pt'!r})",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{path} is a TorchScript archive: a program with weights, not a state dict.",
                "Convert it first:\n"
                f"  import torch; weights = torch.jit.load({path.name!r}, map_location='cpu').state_dict()\n"
                f"  torch.save(weights, {path.stem + '.weights.pt'!r})",
            ) from error
        raise _unreadable(path, str(error)) from error


def _read_with_code(path: Path) -> Any:
    """The content of a file whose code the user trusts. Files of the robustness library are pickled with dill."""
    module: Any = pickle
    if importlib.util.find_spec("dill") is not None:
        module = importlib.import_module("dill")
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
    except ImportError as error:
        raise ModelError(
            f"{path} was pickled with {error.name or 'a package'}, which is not installed here.",
            f"Install it: pip install {(error.name or 'dill').partition('.')[0]}",
        ) from error
    except Exception as error:  # code of others may raise anything
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _unreadable(path: Path, reason: str) -> ModelError:
    first = next((line.strip() for line in reason.splitlines() if line.strip()), "unexpected end")
    sentence = textwrap.shorten(first.partition(". ")[0].rstrip("."), _REASON)
    return ModelError(
        f"{path} cannot be read as a checkpoint: {sentence}.",
        "The file may be truncated or of another kind; compare its size or checksum with the source, and get it again.",
    )


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items())
    )


def _state_dict(content: object, path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """The state dict of a file, and the entry it lay under: a usual one, else the only one."""
    if isinstance(content, nn.Module):
        return None, dict(content.state_dict())
    if isinstance(content, Mapping):
        held = {
            str(entry): dict(value.state_dict() if isinstance(value, nn.Module) else value)
            for entry, value in content.items()
            if isinstance(value, nn.Module) or _is_state_dict(value)
        }
        entry = next((entry for entry in _ENTRIES if entry in held), None)
        if entry is None and len(held) == 1:
            entry = next(iter(held))
        if entry is not None:
            return entry, held[entry]
        if _is_state_dict(content):
            return None, dict(content)
        if held:
            raise ModelError(
                f"{path} holds {len(held)} state dicts: {', '.join(map(repr, held))}.",
                f"Keep one:\n  import torch; content = torch.load({path.name!r}, map_location='cpu')\n"
                f"  torch.save(content[{next(iter(held))!r}], {path.stem + '.weights.pt'!r})",
            )
        found = f"a dict with the entries {', '.join(map(repr, list(content)[:8]))}" if content else "an empty dict"
    else:
        found = f"a {type(content).__name__}"
    raise ModelError(
        f"{path} holds no state dict: it is {found}.",
        f"Expected names of tensors, bare or under one of {', '.join(map(repr, _ENTRIES))}.",
    )


def _without_prefix(tensors: dict[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Take wrapper prefixes off, repeatedly, as long as every name carries the same one."""
    removed = ""
    while True:
        # torch.optim.swa_utils.AveragedModel counts its updates beside the wrapped module.
        names = [name for name in tensors if name != "n_averaged"]
        prefix = next((one for one in _PREFIXES if names and all(name.startswith(one) for name in names)), None)
        if prefix is None:
            return removed, tensors
        tensors = {name.removeprefix(prefix): tensors[name] for name in names}
        removed += prefix


def _refuse_non_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _all_finite(tensor)]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ModelError(
            f"{path} holds weights that are NaN or infinite: {', '.join(bad[:5])}{more}.",
            "The training diverged, or the file was damaged; take an earlier checkpoint.",
        )


def _all_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _arguments(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training script's arguments (a dict or a Namespace), or the file's own flat entries."""
    arguments = described.get("args")
    if isinstance(arguments, Namespace):
        arguments = vars(arguments)
    return arguments if isinstance(arguments, Mapping) else {}


def _arch(described: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    candidates = [described.get("arch"), described.get("architecture"), arguments.get("arch"), arguments.get("model")]
    return next((name for name in candidates if isinstance(name, str) and name), None)


def _kwargs(described: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Value]:
    """Constructor arguments that the file states."""
    kwargs: dict[str, Value] = {}
    for stated, name in _CONSTRUCTOR_ARGUMENTS.items():
        value = arguments.get(stated)
        if isinstance(value, Value) and value not in (None, ""):
            kwargs[name] = value
    for holder in (arguments, described):
        extra = holder.get("model_kwargs")
        if isinstance(extra, Mapping):
            kwargs.update({str(name): value for name, value in extra.items() if isinstance(value, Value)})
    return kwargs


def _preprocess(arguments: Mapping[str, Any], path: Path) -> PreprocessOverrides:
    values = {name: arguments.get(name) for name in _PREPROCESS_ARGUMENTS}
    size = arguments.get("input_size")  # timm: channels, height, width
    if isinstance(size, list | tuple) and len(size) == 3:
        values["img_size"] = tuple(size[1:])
    for name in ("mean", "std"):
        if isinstance(values[name], int | float):
            values[name] = (values[name],)
        elif values[name] is not None:
            try:
                values[name] = tuple(values[name] or ())
            except TypeError:
                raise ModelError(f"{path}: {name} in the checkpoint's arguments is {values[name]!r}.") from None
    return PreprocessOverrides(**{name: value for name, value in values.items() if value not in (None, "", ())})
