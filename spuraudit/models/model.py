"""A network plus everything needed to ask it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spuraudit.record.scan import ModelRecord


@dataclass(frozen=True)
class Model:
    """A classifier on a device, in eval mode, with its normalisation inside.

    Perturbations are made in [0, 1] pixels, so normalisation belongs here and nowhere else.
    """

    network: nn.Module
    record: ModelRecord
    device: torch.device

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 RGB in [0, 1] (noise without clamp may leave it) -> the network's input."""
        preprocess = self.record.preprocess
        mean = pixels.new_tensor(preprocess.mean).view(1, 3, 1, 1)
        std = pixels.new_tensor(preprocess.std).view(1, 3, 1, 1)
        return (pixels - mean) / std

    @torch.inference_mode()
    def logits(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 RGB in [0, 1] on the model's device -> (B, num_classes) float32."""
        with _full_precision(self.device):
            output: Tensor = self.network(self.normalise(pixels))
        return output.float()


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """float32 as the record says it: cuDNN would run convolutions in TF32, and choose algorithms by timing them."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
