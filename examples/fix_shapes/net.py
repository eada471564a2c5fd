"""The small network of this example: `net.py:build` is a MODEL for spuraudit, with --trust-code.

spuraudit scan net.py:build --trust-code --model-kwargs weights=erm.safetensors --data data
"""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

CFG: dict[str, Any] = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "input_size": (3, 32, 32),
    "crop_pct": 1.0,
    "crop_mode": "center",
    "interpolation": "bilinear",
}


class ShapesNet(nn.Module):
    """Four 3x3 convolutions with batch norm and ReLU, the mean over the map, one linear layer.

    (B, 3, H, W) -> logits (B, 2). The map that `features` gives is (B, 32, H / 4, W / 4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(3, 12, 2), _block(12, 24, 1), _block(24, 32, 2), _block(32, 32, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(32, 2)

    def get_classifier(self) -> nn.Linear:
        """The last layer, as in timm's networks."""
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pixels (B, 3, H, W) -> logits (B, 2)."""
        logits: Tensor = self.classifier(self.flatten(self.pool(self.features(x))))
        return logits


def _block(before: int, after: int, stride: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def build(seed: int = 0, weights: str | None = None) -> tuple[ShapesNet, dict[str, Any]]:
    """The network, and how its pixels are normalised.

    seed: of the random weights. weights: a safetensors file of its state_dict, which replaces them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ShapesNet()
    if weights is not None:
        network.load_state_dict(load_file(weights))
    return network, dict(CFG)
