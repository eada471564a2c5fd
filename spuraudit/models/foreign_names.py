"""Names of tensors in transformers -> timm's (ViT, DeiT, ResNet) and open_clip's (CLIP).

transformers 5 has shorter names in memory than in the files it writes; both are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_LAYER = re.compile(r"\.(?:encoder\.layer|layers)\.(\d+)\.")
# Inside a layer of a vision transformer; query, key and value are one tensor in timm.
_VIT_LAYER = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_VIT_QKV = (
    *(f"attention.attention.{one}" for one in ("query", "key", "value")),
    *(f"attention.{one}_proj" for one in "qkv"),
)
_VIT = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_CLIP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_CLIP_TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}


def layer_numbers(tensors: Mapping[str, Tensor]) -> set[int]:
    """Numbers of the transformer's layers."""
    return {int(found.group(1)) for name in tensors if (found := _LAYER.search(name))}


def vit_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ViTForImageClassification -> timm's vision transformer. What is not known keeps its name."""
    renamed = {}
    for name, tensor in tensors.items():
        short = re.sub(r"^(vit|deit)\.", "", name)
        short = re.sub(r"^classifier\.", "head.", _VIT.get(short, short))
        renamed[_in_layer(short, _LAYER.search(f".{short}"), "blocks.", _VIT_LAYER)] = tensor
    for number in layer_numbers(tensors):
        _fuse(renamed, f"blocks.{number}.", _VIT_QKV, "attn.qkv.")
    return renamed


def deit_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DeiTForImageClassification(WithTeacher) -> timm's distilled vision transformer, which averages two heads.

    Without a teacher the class token's head answers alone: it is doubled, and the other head is zero.
    """
    renamed = vit_names(tensors)
    for name in list(renamed):
        head = re.sub(r"^cls_classifier\.", "head.", re.sub(r"^distillation_classifier\.", "head_dist.", name))
        renamed[head] = renamed.pop(name)
    if "head_dist.weight" not in renamed:
        for kind in ("weight", "bias"):
            if f"head.{kind}" in renamed:
                renamed[f"head_dist.{kind}"] = torch.zeros_like(renamed[f"head.{kind}"])
                renamed[f"head.{kind}"] = 2 * renamed[f"head.{kind}"]
    return renamed


def resnet_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ResNetForImageClassification -> timm's ResNet. What is not known keeps its name."""
    renamed = {}
    for name, tensor in tensors.items():
        short = name.replace("resnet.embedder.embedder.convolution.", "conv1.")
        short = short.replace("resnet.embedder.embedder.normalization.", "bn1.").replace("classifier.1.", "fc.")
        place = re.match(r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(.*)", short)
        if place is not None:
            stage, layer, rest = int(place.group(1)) + 1, place.group(2), place.group(3)
            rest = rest.replace("shortcut.convolution.", "downsample.0.")
            rest = rest.replace("shortcut.normalization.", "downsample.1.")
            rest = re.sub(r"layer\.(\d)\.convolution\.", lambda found: f"conv{int(found.group(1)) + 1}.", rest)
            rest = re.sub(r"layer\.(\d)\.normalization\.", lambda found: f"bn{int(found.group(1)) + 1}.", rest)
            short = f"layer{stage}.{layer}.{rest}"
        renamed[short] = tensor
    return renamed


def clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIPModel -> open_clip's CLIP. What is not known keeps its name; tables of position numbers are left out."""
    renamed = {}
    for name, tensor in tensors.items():
        if name.endswith(".position_ids"):
            continue
        if name in _CLIP_TRANSPOSED:
            renamed[_CLIP_TRANSPOSED[name]] = tensor.T.contiguous()
            continue
        tower = "visual." if name.startswith("vision_model.") else ""
        found = re.match(r"(?:vision|text)_model\.encoder\.layers\.(\d+)\.", name)
        short = _CLIP.get(name, name)
        renamed[_in_layer(short, found, f"{tower}transformer.resblocks.", _CLIP_LAYER)] = tensor
    qkv = [f"self_attn.{one}_proj" for one in "qkv"]
    for layer in {re.sub(r"(resblocks\.\d+\.).*", r"\1", name) for name in renamed if "resblocks." in name}:
        _fuse(renamed, layer, qkv, "attn.in_proj_")
    return renamed


def _in_layer(name: str, layer: re.Match[str] | None, blocks: str, words: Mapping[str, str]) -> str:
    """A name inside a numbered layer, in the other library's words."""
    if layer is None:
        return name
    rest = name[name.index(f".{layer.group(1)}.") + len(layer.group(1)) + 2 :]
    module, _, kind = rest.rpartition(".")
    return f"{blocks}{layer.group(1)}.{words.get(module, module)}.{kind}"


def _fuse(renamed: dict[str, Tensor], layer: str, parts: Sequence[str], fused: str) -> None:
    """Query, key and value of a layer become one tensor, in this order."""
    for kind in ("weight", "bias"):
        names = [f"{layer}{part}.{kind}" for part in parts if f"{layer}{part}.{kind}" in renamed]
        if len(names) == 3:
            renamed[f"{layer}{fused}{kind}"] = torch.cat([renamed.pop(name) for name in names])
