"""DINO's backbones with their linear classifiers (Caron et al. 2021; facebookresearch/dino).

A backbone file (`dino_deitsmall16_pretrain.pth`) is a bare state dict: of a ViT without head, in timm's names, or of
torchvision's ResNet-50 without `fc`. A head file (`dino_deitsmall16_linearweights.pth`) holds, under `state_dict`,
`module.linear.weight` and `module.linear.bias` of `LinearClassifier` in eval_linear.py. There the head of a ViT-S reads
the class tokens of the last four blocks, each after the final norm, side by side (`--n_last_blocks 4`); that of the
ResNet reads the pooled features. Evaluation: 256 bicubic, 224 centre, ImageNet's mean and deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spuraudit.errors import ModelError
from spuraudit.models.adapters.fitting import Adapted, authors_cfg, fitted
from spuraudit.models.architectures import create
from spuraudit.models.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from spuraudit.models.checkpoint import Checkpoint

# Ours -> timm's architecture with the same layers, and the stem of the published files.
_NETWORKS = {
    "vits8": ("vit_small_patch8_224", "dino_deitsmall8"),
    "vits16": ("vit_small_patch16_224", "dino_deitsmall16"),
    "resnet50": ("resnet50", "dino_resnet50"),
}
_LAST_BLOCKS = 4
_CFG = authors_cfg("bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class LastBlocks(nn.Module):
    """A vision transformer whose linear head reads the class tokens of its last blocks."""

    def __init__(self, backbone: Any, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, classes)."""
        blocks = self.backbone.get_intermediate_layers(images, n=_LAST_BLOCKS, norm=True, return_prefix_tokens=True)
        answer: Tensor = self.head(torch.cat([prefix[:, 0] for _, prefix in blocks], dim=-1))
        return answer

    def get_classifier(self) -> nn.Linear:
        """The head, as timm's networks name it."""
        return self.head


def build(arch: str, files: Mapping[str, Path], trust_code: bool = False) -> Adapted:
    """The network of `backbone` and `head`. Raises ModelError where one of them is another file."""
    timm_name, stem = _NETWORKS[arch]
    backbone, head = (read_checkpoint(files[role], trust_code=trust_code) for role in ("backbone", "head"))
    is_vit = arch.startswith("vit")
    wide = create(timm_name, {"num_classes": 0})
    width = int(wide.num_features) * (_LAST_BLOCKS if is_vit else 1)  # type: ignore[arg-type]
    linear = _linear(head, width, f"{stem}_linearweights.pth")
    expected = f"{stem}_pretrain.pth of facebookresearch/dino"
    body = fitted(lambda: wide, backbone.tensors, f"DINO {arch}", backbone, expected)
    network: nn.Module
    if is_vit:
        network = LastBlocks(body, linear)
    else:
        body.fc = linear
        network = body
    return Adapted(network, _CFG, "dino", (backbone, head), fixed_size=is_vit)


def _linear(checkpoint: Checkpoint, width: int, name: str) -> nn.Linear:
    """The linear layer of a head file, which must read `width` features."""
    shapes = {key: tuple(tensor.shape) for key, tensor in checkpoint.tensors.items()}
    outputs = shapes.get("linear.bias", (0,))
    if set(shapes) != {"linear.weight", "linear.bias"} or shapes["linear.weight"] != (*outputs, width):
        some = ", ".join(f"{key} {shape}" for key, shape in list(shapes.items())[:3])
        raise ModelError(
            f"{checkpoint.file} is no linear head for {width} features: it holds {some}"
            f"{', ...' if len(shapes) > 3 else ''}, not linear.weight (classes, {width}) and linear.bias (classes,).",
            f"Expected is {name} of facebookresearch/dino.",
        )
    tensors = {key.removeprefix("linear."): tensor for key, tensor in checkpoint.tensors.items()}
    layer = fitted(lambda: nn.Linear(width, outputs[0]), tensors, "linear head", checkpoint, name)
    assert isinstance(layer, nn.Linear)
    return layer
