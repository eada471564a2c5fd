"""Channels-last weights: the same values and answers, and the usual order where a network needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from model_networks import as_model, build
from torch import nn

from spuraudit.models.layout import lay_channels_last
from spuraudit.models.loading import load

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SIDE = 32


class Viewing(nn.Module):
    """Flattens with `view`, which cannot be done to channels-last activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4 * SIDE * SIDE, 10)

    def flatten(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.flatten(self.conv(x)))
        return out


class Striding(Viewing):
    """Reads its activations as they lie in memory: another order gives another answer, and no error."""

    def flatten(self, x: Tensor) -> Tensor:
        return x.as_strided((len(x), 4 * SIDE * SIDE), (4 * SIDE * SIDE, 1))


def laid(network: nn.Module) -> list[bool]:
    """Whether each convolution's weights are channels last; kernels of one pixel or one channel are both at once."""
    return [
        weight.is_contiguous(memory_format=torch.channels_last)
        for weight in network.parameters()
        if weight.ndim == 4 and not weight.is_contiguous()
    ]


def pixels(images: int = 2, side: int = SIDE) -> Tensor:
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_efficientnet.r160_in1k", "test_convnext.r160_in1k"])
def test_a_cnn_answers_the_same(name: str) -> None:
    model = as_model(build(name), SIDE)
    before = {key: tensor.clone() for key, tensor in model.network.state_dict().items()}
    logits = model.logits(pixels())
    assert lay_channels_last(model, pixels(), logits)
    assert laid(model.network)
    assert all(laid(model.network))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.network.state_dict().items())
    torch.testing.assert_close(model.logits(pixels()), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [Viewing, Striding])
def test_a_network_that_needs_the_usual_order_keeps_it(network: type[nn.Module]) -> None:
    model = as_model(network(), SIDE)
    logits = model.logits(pixels())
    assert not lay_channels_last(model, pixels(), logits)
    assert laid(model.network) == []
    assert torch.equal(model.logits(pixels()), logits)


def test_without_convolutions_nothing_is_tried() -> None:
    model = as_model(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 10)), SIDE)
    wrong = torch.full((2, 10), torch.nan)
    assert not lay_channels_last(model, pixels(), wrong)


def test_loading_lays_a_cnn_channels_last(tmp_path: Path) -> None:
    network = build("test_resnet.r160_in1k")
    torch.save(network.state_dict(), tmp_path / "net.pt")
    model = load(str(tmp_path / "net.pt"), arch="test_resnet.r160_in1k", device="cpu")
    assert laid(model.network)
    assert all(laid(model.network))
    side = model.record.preprocess.geometry.height
    with torch.inference_mode():
        expected = network.eval()(model.normalise(pixels(2, side)))
    torch.testing.assert_close(model.logits(pixels(2, side)), expected, rtol=1e-4, atol=1e-5)
