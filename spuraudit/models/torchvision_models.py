"""torchvision's classifiers by name, with random weights, and their defaults in the form of a timm pretrained_cfg."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models as torchvision_models
from torchvision.models import get_model, get_model_weights, list_models

from spuraudit.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CLASSES = 1000
_SIDE = 224
# Classifiers at a middle layer that help training and are silent in evaluation: name -> where their tensors lie.
_AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


class _EmptyWithoutMemory(TorchFunctionMode):
    """Weights get no memory; everything else is computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})


def names() -> list[str]:
    """All classifiers but the quantised ones."""
    return list(list_models(module=torchvision_models))


@cache
def default_cfg(name: str) -> dict[str, Any]:
    """Evaluation values of the default weights, classifier layers, whether the input size is fixed.

    Raises ModelError for an unknown name.
    """
    if name not in names():
        hint = did_you_mean(name, names()) or "Names are those of torchvision.models.list_models()."
        raise ModelError(f"torchvision has no classifier {name!r}.", hint)
    weights = get_model_weights(name).DEFAULT
    transform = weights.transforms()
    with torch.device("meta"):
        layers = [
            layer
            for layer, module in build(name, {"aux_logits": True} if name in _AUXILIARY else {}).named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.shape[0] == _CLASSES
        ]
    fixed = _size_argument(name) is not None
    # Vision transformers are built for 224 pixels, also where the default weights were trained at more.
    crop = _SIDE if fixed else transform.crop_size[0]
    resized = transform.resize_size[0]
    return {
        "url": weights.url,
        "num_classes": _CLASSES,
        "input_size": (3, crop, crop),
        "fixed_input_size": fixed,
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "interpolation": transform.interpolation.value,
        "crop_pct": _share(transform.crop_size[0], resized),
        "crop_mode": "center",
        "classifier": tuple(layers),
    }


def build(name: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """The network with random weights. `img_size` is given on under the name that the constructor has for it.

    GoogLeNet and Inception take ImageNet-normalised images and renormalise them inside, as torchvision builds them for
    its published weights, and therefore for fine-tuning; transform_input=False takes that out.
    """
    given = dict(kwargs)
    size = given.pop("img_size", None)
    if size is not None:
        argument = _size_argument(name)
        height, width = (size, size) if isinstance(size, int) else size
        if argument is None:
            raise TypeError("unexpected keyword argument 'img_size'")
        if argument == "image_size" and height != width:
            raise ValueError(f"only square images, not {height}x{width}")
        given[argument] = height if argument == "image_size" else (height, width)
    if name in _AUXILIARY:
        given = {"transform_input": True, "aux_logits": False, "init_weights": False, **given}
    network: nn.Module
    if name.startswith("regnet") and torch.get_default_device().type == "meta":
        # RegNet's constructor computes its widths with tensors, which need values.
        with torch.device("cpu"), _EmptyWithoutMemory():
            network = get_model(name, weights=None, **given)
        return network.to("meta")
    network = get_model(name, weights=None, **given)
    return network


def stated_by_names(name: str, tensors: Iterable[str]) -> dict[str, bool]:
    """Constructor arguments for a file of these names: whether it has auxiliary classifiers, and what `build` adds."""
    if name not in _AUXILIARY:
        return {}
    return {"aux_logits": any(tensor.startswith(_AUXILIARY[name]) for tensor in tensors), "transform_input": True}


def _size_argument(name: str) -> str | None:
    """What the constructor calls the input size, for networks that are built for one."""
    if name.startswith("vit_"):
        return "image_size"
    return "input_size" if name.startswith("maxvit") else None


def _share(side: int, resized: int) -> float:
    """The crop_pct with which an input of `side` pixels is cut out of `resized` ones: floor(side / share)."""
    share = side / resized
    return share if math.floor(side / share) == resized else math.nextafter(share, 0)
