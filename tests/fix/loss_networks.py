"""Small smooth networks in float64, and the check of parameter gradients against differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spuraudit.models.feature_grid import FeatureGrid


class Smooth(nn.Module):
    """Two convolutions, and a linear layer that weighs every place of the map by itself."""

    def __init__(self, side: int, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        cells = (side + 1) // 2
        self.grid = FeatureGrid("features", cells, cells, 5, "NCHW")
        self.stem = nn.Conv2d(channels, 4, 3, padding=1)
        self.features = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.classifier = nn.Linear(5 * cells * cells, classes)

    def head(self, features: Tensor) -> Tensor:
        """(B, 5, cells, cells) -> (B, classes)."""
        logits: Tensor = self.classifier(nn.functional.softplus(features).flatten(1))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, side, side) -> (B, classes)."""
        return self.head(self.features(torch.tanh(self.stem(x))))


def smooth(side: int, channels: int = 3, seed: int = 3) -> Smooth:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Smooth(side, channels).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.4)
    return network


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """float64 in 0..1."""
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_trains(network: nn.Module, value: Callable[[], Tensor], at_least: float = 1e-6) -> None:
    """The backward of `value` equals its change along a random direction, in each parameter by itself."""
    network.zero_grad()
    value().backward()  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(9)
    sizes = []
    for name, parameter in network.named_parameters():
        direction = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found = float((gradient * direction).sum())
        start = parameter.detach().clone()
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.copy_(start + step * direction)
            ends.append(float(value().detach()))
        with torch.no_grad():
            parameter.copy_(start)
        expected = (ends[0] - ends[1]) / 2e-5
        sizes.append(abs(expected))
        assert abs(found - expected) <= 1e-5 * max(1.0, abs(expected)), f"{name}: {found} is not {expected}"
    assert max(sizes) > at_least, "nothing is learned"
