"""MoCo v3's linear classifiers (Chen, Xie & He 2021; facebookresearch/moco-v3).

`linear-vit-s-300ep.pth.tar` and its like are written by main_lincls.py: `state_dict` of the whole network inside
DistributedDataParallel (`module.`), `arch` beside it. The ViTs are timm's with a fixed sin-cos position table
(vits.py), which is a parameter without gradient and therefore in the file; their ViT-S has 12 attention heads where
timm's has 6, and no tensor tells the difference. ResNet-50 is torchvision's. Evaluation: 256 bilinear, 224 centre,
ImageNet's mean and deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from spuraudit.errors import ModelError
from spuraudit.models.adapters.fitting import Adapted, authors_cfg, fitted
from spuraudit.models.architectures import create
from spuraudit.models.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from spuraudit.models.checkpoint import Checkpoint

# Theirs -> timm's architecture, its arguments, and the published file.
_NETWORKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "vit_small": ("vit_small_patch16_224", {"num_heads": 12}, "linear-vit-s-300ep.pth.tar"),
    "vit_base": ("vit_base_patch16_224", {"num_heads": 12}, "linear-vit-b-300ep.pth.tar"),
    "resnet50": ("resnet50", {}, "linear-1000ep.pth.tar (or of 100 or 300 epochs)"),
}
_HEADS = {"vit_small": "head", "vit_base": "head", "resnet50": "fc"}
_CFG = authors_cfg("bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# The table holds sines and cosines of numbers up to 13; another machine's differ in the seventh digit.
_SAME_TABLE = 1e-4


def build(arch: str, files: Mapping[str, Path], trust_code: bool = False) -> Adapted:
    """The network of `file`. Raises ModelError where it is another file, or its position table is not the fixed one."""
    timm_name, kwargs, name = _NETWORKS[arch]
    expected = f"{name} of facebookresearch/moco-v3"
    checkpoint = read_checkpoint(files["file"], trust_code=trust_code)
    if checkpoint.arch not in (None, arch):
        raise ModelError(
            f"{checkpoint.file} says of itself that it is a {checkpoint.arch!r}, not a {arch!r}.",
            f"Expected is {expected}.",
        )
    outputs = checkpoint.tensors.get(f"{_HEADS[arch]}.bias")
    if outputs is None:
        _refuse_without_head(checkpoint, _HEADS[arch], expected)
    else:
        kwargs = {**kwargs, "num_classes": len(outputs)}
    network = fitted(lambda: create(timm_name, kwargs), checkpoint.tensors, f"MoCo v3 {arch}", checkpoint, expected)
    is_vit = arch.startswith("vit")
    if is_vit:
        _check_positions(checkpoint, expected)
    return Adapted(network, _CFG, "moco-v3", (checkpoint,), fixed_size=is_vit)


def position_table(side: int, width: int, temperature: float = 10000.0) -> Tensor:
    """The fixed positions of side x side patches: (1, 1 + side * side, width), zeros for the class token.

    vits.py, build_2d_sincos_position_embedding. What it calls the width runs along the first axis of the grid.
    """
    rows = torch.arange(side, dtype=torch.float32).repeat_interleave(side)
    columns = torch.arange(side, dtype=torch.float32).repeat(side)
    quarter = width // 4
    omega = 1.0 / temperature ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    along_rows, along_columns = rows[:, None] * omega, columns[:, None] * omega
    table = torch.cat([along_rows.sin(), along_rows.cos(), along_columns.sin(), along_columns.cos()], dim=1)
    return torch.cat([torch.zeros(1, width), table])[None]


def _check_positions(checkpoint: Checkpoint, expected: str) -> None:
    """`fitted` has seen that the table has its shape; here, that it is the fixed one and was not trained."""
    found = checkpoint.tensors["pos_embed"].float()
    side = round((found.shape[1] - 1) ** 0.5)
    gap = float((found - position_table(side, found.shape[2])).abs().max())
    if gap > _SAME_TABLE:
        raise ModelError(
            f"{checkpoint.file}: pos_embed is not MoCo v3's fixed sin-cos table (largest difference {gap:.3g}).",
            f"Expected is {expected}; a ViT with learned positions is another network.",
        )


def _refuse_without_head(checkpoint: Checkpoint, head: str, expected: str) -> None:
    some = ", ".join(list(checkpoint.tensors)[:3])
    raise ModelError(
        f"{checkpoint.file} holds no linear classifier ({head}.weight and {head}.bias): it begins with {some}.",
        f"Expected is {expected}; the files without 'linear' are pre-trained encoders alone.",
    )
