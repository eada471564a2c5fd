"""A network plus everything needed to ask it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.models.precision import computing_in

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch
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
        return (pixels - mean).div_(std)  # in place: a second tensor of the batch's size costs more than the sum

    def computing(self) -> AbstractContextManager[None]:
        """Inference in the record's precision. `logits` opens it itself; code that runs parts of the network needs it.

        Inside, matrix products of reduced precision come out in bfloat16 or float16: `.float()` them.
        """
        return computing_in(self.record.precision, self.device)

    def logits(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 RGB in [0, 1] on the model's device -> (B, num_classes) float32."""
        with self.computing():
            output: Tensor = self.network(self.normalise(pixels))
            return output.float()
