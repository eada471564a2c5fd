"""Files of the repositories that timm's architectures come from -> timm's names, by timm's own conversions."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.models import model_entrypoint

from spuraudit.models.architectures import classifier_names, create, default_cfg
from spuraudit.models.weights import POSITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from spuraudit.models.checkpoint import Value


def in_timms_names(arch: str, kwargs: Mapping[str, Value], tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors as timm's conversion for `arch` renames them; None where it has none, or cannot.

    A conversion that resamples tables to another input size or makes up a classifier is not taken.
    """
    name = arch.partition(".")[0]
    if not timm.is_model(name):
        return None
    network = create(arch, kwargs).eval()
    layers = classifier_names(default_cfg(arch))
    for function in _conversions(name):
        found = _converted(function, network, tensors)
        if found is not None and found.keys() != tensors.keys() and _faithful(found, tensors, layers):
            return found
    return None


def _conversions(name: str) -> Iterator[Callable[..., object]]:
    """Functions of the model's file that timm calls between a file and the network; mostly checkpoint_filter_fn."""
    module = sys.modules[model_entrypoint(name).__module__]
    for word, function in vars(module).items():
        if "filter" in word and inspect.isfunction(function) and function.__module__ == module.__name__:
            yield function


def _converted(
    function: Callable[..., object], network: nn.Module, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    takes_network = len(inspect.signature(function).parameters) > 1
    arguments: tuple[Any, ...] = (dict(tensors), network) if takes_network else (dict(tensors),)
    try:
        with torch.no_grad():
            found = function(*arguments)
    except Exception:  # written for files of one kind, it may stumble over others in any way
        return None
    if not isinstance(found, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        return None
    return dict(found)


def _faithful(found: Mapping[str, Tensor], tensors: Mapping[str, Tensor], layers: tuple[str, ...]) -> bool:
    of_the_size = [name for name in found if any(word in name for word in (*POSITIONS, "patch_embed"))]
    resampled = any(name in tensors and tensors[name].numel() != found[name].numel() for name in of_the_size)
    heads = [found[f"{layer}.weight"] for layer in layers if f"{layer}.weight" in found]
    return not resampled and all(any(_same_values(head, one) for one in tensors.values()) for head in heads)


def _same_values(head: Tensor, tensor: Tensor) -> bool:
    if head.numel() != tensor.numel():
        return False
    flat = head.flatten()
    return torch.equal(flat, tensor.flatten()) or (tensor.ndim == 2 and torch.equal(flat, tensor.T.flatten()))
