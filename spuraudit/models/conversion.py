"""State dicts of transformers and of OpenAI's CLIP -> timm's and open_clip's names, without either being imported.

What transformers' config.json states and a state dict does not hold (number of heads, epsilon, activation) comes from
the config, or from what transformers takes by default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import timm

from spuraudit.errors import ModelError
from spuraudit.models.foreign_names import clip_names, deit_names, layer_numbers, resnet_names, vit_names
from spuraudit.models.foreign_open_clip import OPENAI_NUMBERS
from spuraudit.models.identify import Identified, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from spuraudit.models.checkpoint import Value

    Kwargs = dict[str, Value | list[int]]

# Width of a vision transformer -> its usual name and number of heads.
_STANDARD = {192: ("tiny", 3), 384: ("small", 6), 768: ("base", 12), 1024: ("large", 16), 1280: ("huge", 16)}
# transformers' word for an activation -> timm's.
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "quick_gelu": "quick_gelu", "gelu_new": "gelu_tanh"}
_EPSILON = 1e-12
_MLP = 4
_STEM = 64


@dataclass(frozen=True)
class Converted:
    """A state dict in timm's or open_clip's names.

    found: the architectures it fits, best first. kwargs: of the constructor. note: what was done; assumed: what neither
    names nor shapes tell. Sentences.
    """

    tensors: Mapping[str, Tensor]
    found: tuple[Identified, ...]
    kwargs: Kwargs = field(default_factory=dict)
    note: str = ""
    assumed: str = ""


def from_transformers(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[str, Kwargs, Mapping[str, Tensor]]:
    """Architecture, constructor arguments and renamed tensors of a model saved by transformers.

    config: the content of config.json (model_type vit, deit, resnet or clip). tensors: its state dict.
    Raises ModelError for other types, and for settings that timm's networks do not have.
    """
    kind = config.get("model_type")
    if kind not in _READERS:
        raise ModelError(
            f"transformers' model type {kind!r} is not known; known are {', '.join(_READERS)}.",
            "Export the network to a state dict of timm's names, or give it as code.",
        )
    return _READERS[kind](config, tensors)


def convert(tensors: Mapping[str, Tensor], given: Mapping[str, Value]) -> Converted | None:
    """A state dict of transformers or OpenAI in our names; None where it is neither.

    given: the user's constructor arguments, of which num_heads is needed for unusual widths.
    Raises ModelError where the number of heads is not known.
    """
    if set(OPENAI_NUMBERS) <= tensors.keys():
        return _from_openai(tensors)
    if "vision_model.embeddings.class_embedding" in tensors and "text_projection.weight" in tensors:
        renamed = clip_names(tensors)
        return Converted(
            renamed, fitting(renamed), note="The names are transformers' and were turned into open_clip's."
        )
    config = _described(tensors, given)
    if config is None:
        return None
    arch, kwargs, in_timms = from_transformers(config, tensors)
    assumed = ""
    if "layer_norm_eps" in kwargs:
        assumed = (
            f"The file does not state {config['num_attention_heads']} attention heads, epsilon {_EPSILON:g} and GELU: "
            "they are what transformers usually has."
        )
    note = "The names are transformers' and were turned into timm's."
    return Converted(in_timms, (Identified(arch, ()),), kwargs, note, assumed)


def _from_openai(tensors: Mapping[str, Tensor]) -> Converted:
    """OpenAI's networks compute with QuickGELU, which open_clip has as architectures of their own."""
    rest = {name: tensor for name, tensor in tensors.items() if name not in OPENAI_NUMBERS}
    found = fitting(rest)
    quick = tuple(one for one in found if any("quickgelu" in arch for arch in (one.arch, *one.equal)))
    note = f"{', '.join(OPENAI_NUMBERS)} are OpenAI's: its networks compute with QuickGELU."
    return Converted(rest, quick or found, note=note)


def _described(tensors: Mapping[str, Tensor], given: Mapping[str, Value]) -> dict[str, Any] | None:
    """The config that names and shapes tell; None where they are not those of a classifier of transformers."""
    if "resnet.embedder.embedder.convolution.weight" in tensors:
        return _described_resnet(tensors)
    kind = next((kind for kind in ("vit", "deit") if f"{kind}.embeddings.cls_token" in tensors), None)
    projection = tensors.get(f"{kind}.embeddings.patch_embeddings.projection.weight")
    if projection is None:
        return None
    width, patch = int(projection.shape[0]), int(projection.shape[-1])
    positions = int(tensors[f"{kind}.embeddings.position_embeddings"].shape[1]) - (1 if kind == "vit" else 2)
    heads = given.get("num_heads", _STANDARD[width][1] if width in _STANDARD else None)
    if not isinstance(heads, int):
        raise ModelError(
            f"The weights are a vision transformer's of transformers, {width} wide; how many attention heads it has is "
            "not in them.",
            "Give --model-kwargs num_heads=N, or the folder with its config.json (local-dir:PATH).",
        )
    return {
        "model_type": kind,
        "hidden_size": width,
        "num_hidden_layers": len(layer_numbers(tensors)),
        "num_attention_heads": heads,
        "intermediate_size": _mlp_width(tensors),
        "patch_size": patch,
        "image_size": math.isqrt(positions) * patch,
        "qkv_bias": any(name.endswith(("query.bias", "q_proj.bias")) for name in tensors),
    }


def _mlp_width(tensors: Mapping[str, Tensor]) -> int:
    ends = ("intermediate.dense.weight", "mlp.fc1.weight")
    return next(int(tensor.shape[0]) for name, tensor in tensors.items() if name.endswith(ends))


def _described_resnet(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    places = [name.split(".") for name in tensors if name.startswith("resnet.encoder.stages.")]
    stages = sorted({int(place[3]) for place in places})
    depths = [len({place[5] for place in places if int(place[3]) == stage}) for stage in stages]
    convolutions = {place[7] for place in places if place[6] == "layer"}
    last = f"layers.0.layer.{len(convolutions) - 1}.convolution.weight"
    return {
        "model_type": "resnet",
        "depths": depths,
        "hidden_sizes": [int(tensors[f"resnet.encoder.stages.{stage}.{last}"].shape[0]) for stage in stages],
        "embedding_size": int(tensors["resnet.embedder.embedder.convolution.weight"].shape[0]),
        "layer_type": "bottleneck" if len(convolutions) == 3 else "basic",
    }


def _vit(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, Kwargs, Mapping[str, Tensor]]:
    distilled = config["model_type"] == "deit"
    renamed = deit_names(tensors) if distilled else vit_names(tensors)
    if "head.weight" not in renamed:
        raise ModelError(
            "The weights are a vision transformer's of transformers without a classifier.",
            "Only networks saved from ...ForImageClassification can be audited.",
        )
    width, patch, side = (int(config[name]) for name in ("hidden_size", "patch_size", "image_size"))
    arch, built = _nearest(width, patch, side, distilled)
    act = str(config.get("hidden_act", "gelu"))
    if act not in _ACTIVATIONS:
        raise ModelError(f"transformers' activation {act!r} is not known; known are {', '.join(_ACTIVATIONS)}.")
    wanted: Kwargs = {
        "embed_dim": width,
        "depth": int(config["num_hidden_layers"]),
        "num_heads": int(config["num_attention_heads"]),
        "patch_size": patch,
        "img_size": side,
        "mlp_ratio": int(config["intermediate_size"]) / width,
        "qkv_bias": bool(config.get("qkv_bias", True)),
        "act_layer": _ACTIVATIONS[act],
    }
    kwargs: Kwargs = {name: value for name, value in wanted.items() if built[name] != value}
    kwargs["layer_norm_eps"] = float(config.get("layer_norm_eps", _EPSILON))
    return arch, kwargs, renamed


def _nearest(width: int, patch: int, side: int, distilled: bool) -> tuple[str, Kwargs]:
    """timm's architecture of these sizes, or the base one, and with which arguments it is built."""
    word = _STANDARD[width][0] if width in _STANDARD else "base"
    family = "deit_{}_distilled_patch{}_{}" if distilled else "vit_{}_patch{}_{}"
    sizes = ((word, patch, side), (word, 16, 224), ("base", 16, 224))
    word, patch, side = next(one for one in sizes if timm.is_model(family.format(*one)))
    width = next(width for width, (known, _) in _STANDARD.items() if known == word)
    depth = {"large": 24, "huge": 32}.get(word, 12)
    return family.format(word, patch, side), {
        "embed_dim": width,
        "depth": depth,
        "num_heads": _STANDARD[width][1],
        "patch_size": patch,
        "img_size": side,
        "mlp_ratio": float(_MLP),
        "qkv_bias": True,
        "act_layer": "gelu",
    }


def _resnet(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, Kwargs, Mapping[str, Tensor]]:
    odd = [name for name in ("downsample_in_first_stage", "downsample_in_bottleneck") if config.get(name)]
    if odd or config.get("hidden_act", "relu") != "relu":
        what = f"{odd[0]}=true" if odd else f"the activation {config['hidden_act']!r}"
        raise ModelError(f"transformers' ResNet with {what} has no counterpart in timm.", "Give it as code.")
    if config.get("embedding_size", _STEM) != _STEM:
        raise ModelError(
            f"transformers' ResNet with a first layer {config['embedding_size']} wide has no counterpart in timm.",
            "Give it as code.",
        )
    renamed = resnet_names(tensors)
    found = [one.arch for one in fitting(renamed) if timm.is_model(one.arch)]
    if found:
        return found[0], {}, renamed
    bottleneck = config.get("layer_type", "bottleneck") == "bottleneck"
    wanted: Kwargs = {
        "layers": list(config["depths"]),
        "channels": [size // 4 if bottleneck else size for size in config["hidden_sizes"]],
    }
    return ("resnet50" if bottleneck else "resnet18"), wanted, renamed


def _clip(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, Kwargs, Mapping[str, Tensor]]:
    renamed = clip_names(tensors)
    act = (config.get("vision_config") or {}).get("hidden_act", "quick_gelu")
    found = fitting(renamed)
    quick = [one for one in found if any("quickgelu" in arch for arch in (one.arch, *one.equal))]
    wanted = quick if act == "quick_gelu" else [one for one in found if one not in quick]
    if not wanted:
        raise ModelError(
            f"The weights are a CLIP's of transformers ({act!r}), and none of open_clip's architectures fits them.",
            "Known are those of open_clip.list_models().",
        )
    return wanted[0].arch, {}, renamed


_READERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor]], tuple[str, Kwargs, Mapping[str, Tensor]]]] = {
    "vit": _vit,
    "deit": _vit,
    "resnet": _resnet,
    "clip": _clip,
}
