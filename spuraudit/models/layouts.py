"""What a state dict and a network look like: keys that are equal exactly where weights fit, or where networks agree."""

from __future__ import annotations

import json
from functools import partial
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING

from timm.layers.drop import DropPath
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Shapes = dict[str, tuple[int, ...]]
#: Without effect in evaluation; where one network has such a module, its twin has another of them.
_SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, DropPath)
#: Attributes of modules that change no answer in evaluation.
_UNHEARD = {
    "attn_drop_rate",
    "drop",
    "drop_path_rate",
    "drop_prob",
    "drop_rate",
    "fused_attn",
    "grad_checkpointing",
    "image_mean",
    "image_std",
    "inplace",
    "num_classes",
    "out_features",
    "pos_drop_rate",
    "proj_drop_rate",
    "scale_by_keep",
    "training",
}


def shapes_of(tensors: Mapping[str, object]) -> Shapes:
    """Names and shapes, without batch norm's counters, which old files lack."""
    return {
        name: tuple(tensor.shape)  # type: ignore[attr-defined]
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


def weights_key(shapes: Shapes, classifiers: Sequence[str]) -> str:
    """Equal for state dicts of equal names and shapes, whatever the number of outputs of `classifiers`."""
    free = {f"{layer}.{kind}" for layer in classifiers for kind in ("weight", "bias")}
    return _digest(sorted((name, shape[1:] if name in free else shape) for name, shape in shapes.items()))


def names_key(shapes: Shapes) -> str:
    """Equal for state dicts of equal names."""
    return _digest(sorted(shapes))


def behaviour_key(network: nn.Module) -> str:
    """Equal for networks that differ in nothing but weights, number of outputs and dropout."""
    return _digest(sorted(describe(network).items()))


def describe(network: nn.Module) -> dict[str, str]:
    """Every module's type and settings that an evaluation may depend on, by 'module.attribute'."""
    found: dict[str, str] = {}
    for path, module in network.named_modules():
        if isinstance(module, _SILENT):
            continue
        found[f"{path}:type"] = type(module).__name__
        found.update({f"{path}.{name}": text for name, text in _settings(module)})
    return found


def _settings(module: nn.Module) -> Iterator[tuple[str, str]]:
    for name, value in vars(module).items():
        if name.startswith("_") or name in _UNHEARD:
            continue
        text = _written(value)
        if text is not None:
            yield name, text


def _written(value: object) -> str | None:
    """A plain value or the name of a function; None for everything else (tensors, modules, configurations)."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        parts = [_written(part) for part in value]
        return None if None in parts else repr(parts)
    if isinstance(value, partial):
        return f"{_written(value.func)} {sorted((name, _written(given)) for name, given in value.keywords.items())}"
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        return value.__qualname__
    return None


def _digest(content: object) -> str:
    return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
