"""The network in training, and what losses ask of it."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from spuraudit.explain.activation_maps import forward_with_features
from spuraudit.fix.losses.plain import class_logits, class_nll, membership

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.feature_grid import FeatureGrid
    from spuraudit.models.model import Model

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@dataclass(frozen=True)
class Learner:
    """A network that is being trained. `model` gives normalisation and device; its `network` is the one in training.

    autocast: opens the training's precision. Losses are per sample and in float32.
    """

    model: Model
    class_map: ClassMap
    members: Tensor
    autocast: Callable[[], AbstractContextManager[object]]

    @classmethod
    def of(
        cls, model: Model, class_map: ClassMap, autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> Learner:
        """With the class map's outputs on the model's device."""
        members = membership(class_map.outputs, class_map.num_outputs).to(model.device)
        return cls(model, class_map, members, autocast)

    @property
    def network(self) -> nn.Module:
        """In training."""
        return self.model.network

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def logits(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, outputs) float32, with a graph."""
        with self.autocast():
            answer: Tensor = self.network(self.model.normalise(pixels))
        return answer.float()

    def logits_and_features(self, pixels: Tensor, grid: FeatureGrid) -> tuple[Tensor, Tensor]:
        """As of `explain.activation_maps.forward_with_features`, from pixels in [0, 1]."""
        with self.autocast():
            logits, output = forward_with_features(self.network, grid, self.model.normalise(pixels))
        return logits.float(), output

    def class_logits(self, logits: Tensor) -> Tensor:
        """One per class of the dataset: (B, outputs) -> (B, K)."""
        return class_logits(logits, self.members, self.class_map.head)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each sample in the dataset's classes, (B,): see `losses.plain.class_nll`."""
        return class_nll(logits, labels, self.members, answers=self.class_map.answers, head=self.class_map.head)


@contextmanager
def in_training(network: nn.Module, batch_norm: str) -> Iterator[None]:
    """Training mode; with batch_norm 'frozen' normalisation keeps and uses its statistics. Eval mode afterwards."""
    network.train()
    if batch_norm == "frozen":
        for module in network.modules():
            if isinstance(module, _NORMS):
                module.eval()
    # Twice differentiable attention, and convolutions that choose their algorithm by no stopwatch.
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    try:
        with torch.inference_mode(False), torch.enable_grad(), cudnn:
            yield
    finally:
        network.eval()
