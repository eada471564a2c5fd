"""SimCLR v1's ResNet-50 (1x) with its linear classifier (Chen et al. 2020; google-research/simclr).

The published checkpoint is TensorFlow's. Read here is a file of its variables under their own names, saved as
safetensors or with torch.save, or the output of tonylins/simclr-converter (torchvision's names under `state_dict`).
resnet.py makes the layers in this order: stem; then per block the shortcut's projection, where it has one, before the
three convolutions; layer n is `base_model/conv2d_n` and `base_model/batch_normalization_n`, the first without a number.
Convolutions are those of torchvision's ResNet-50; the pooling of the stem pads as TensorFlow's SAME does, on the far
sides alone for an even input. Evaluation (data_util.py): centre of 0.875, bicubic, pixels in [0, 1] as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.layers import create_pool2d  # type: ignore[attr-defined]

from spuraudit.errors import ModelError
from spuraudit.models.adapters.fitting import Adapted, authors_cfg, fitted
from spuraudit.models.architectures import create
from spuraudit.models.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from spuraudit.models.checkpoint import Checkpoint

_BLOCKS = (3, 4, 6, 3)
_HEAD = "head_supervised/linear_layer/dense"
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_CFG = authors_cfg("bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_EXPECTED = "the variables of ResNet50_1x/model.ckpt-225206 of google-research/simclr (see `get` in model_zoo.yaml)"
_CONVERTER_NOTE = (
    "The names are those of tonylins/simclr-converter, whose convert.py (59bee34) leaves the head's bias out: if it "
    "made the file, fc.bias is the random one of a new layer. A file of the TensorFlow variables has the real one."
)


def build(arch: str, files: Mapping[str, Path], trust_code: bool = False) -> Adapted:
    """The network of `file`. Raises ModelError where it holds something else. arch: there is one, resnet50_1x."""
    checkpoint = read_checkpoint(files["file"], trust_code=trust_code)
    foreign = any("/" in name for name in checkpoint.tensors)
    tensors = _torchvision_names(checkpoint) if foreign else checkpoint.tensors
    outputs = tensors.get("fc.bias")
    kwargs = {} if outputs is None else {"num_classes": len(outputs)}

    def network() -> nn.Module:
        resnet = create("resnet50", kwargs)
        resnet.maxpool = create_pool2d("max", 3, stride=2, padding="same")  # type: ignore[no-untyped-call]
        return resnet

    fine = fitted(network, tensors, f"SimCLR {arch}", checkpoint, _EXPECTED)
    notes = () if foreign else (_CONVERTER_NOTE,)
    return Adapted(fine, _CFG, "simclr", (checkpoint,), fixed_size=False, notes=notes)


def _layers() -> Iterator[tuple[str, str]]:
    """torchvision's names of the convolution and norm that TensorFlow made n-th."""
    yield "conv1", "bn1"
    for stage, blocks in enumerate(_BLOCKS, 1):
        for block in range(blocks):
            here = f"layer{stage}.{block}"
            if block == 0:
                yield f"{here}.downsample.0", f"{here}.downsample.1"
            for part in (1, 2, 3):
                yield f"{here}.conv{part}", f"{here}.bn{part}"


def _torchvision_names(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """TensorFlow's variables under torchvision's names, axes in PyTorch's order."""
    # Of the optimiser and the step counter nothing is needed; anything else unknown is refused.
    rest = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if name != "global_step" and not name.endswith("/Momentum")
    }
    names = {f"{_HEAD}/kernel": "fc.weight", f"{_HEAD}/bias": "fc.bias"}
    for number, (convolution, norm) in enumerate(_layers()):
        suffix = f"_{number}" if number else ""
        names[f"base_model/conv2d{suffix}/kernel"] = f"{convolution}.weight"
        for theirs, ours in _NORM.items():
            names[f"base_model/batch_normalization{suffix}/{theirs}"] = f"{norm}.{ours}"
    missing, unknown = [name for name in names if name not in rest], [name for name in rest if name not in names]
    if missing or unknown:
        parts = [
            f"{len(found)} {what} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
            for found, what in ((missing, "missing"), (unknown, "unknown"))
            if found
        ]
        raise ModelError(
            f"{checkpoint.file} does not hold the variables of SimCLR's ResNet-50 (1x): {'; '.join(parts)}.",
            f"Expected is {_EXPECTED}.",
        )
    return {names[name]: _in_pytorch_order(tensor) for name, tensor in rest.items()}


def _in_pytorch_order(tensor: Tensor) -> Tensor:
    """(height, width, in, out) -> (out, in, height, width); (in, out) -> (out, in); vectors stay."""
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.t().contiguous() if tensor.ndim == 2 else tensor
