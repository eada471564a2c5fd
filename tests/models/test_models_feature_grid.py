"""The feature grid: found in every kind of network, read the right way round, and the network left as found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from model_networks import as_model
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small

from spuraudit.errors import ModelError
from spuraudit.models.feature_grid import FeatureGrid, activations, feature_grid
from spuraudit.models.model import Model

Size = tuple[int, int]
SWIN = {"window_size": 4, "embed_dim": 24, "depths": (1, 1, 1, 1)}


def net(name: str, **kwargs: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return timm.create_model(name, num_classes=10, **kwargs)


class Small(nn.Module):
    """Convolutions, a functional ReLU in place, and a flattened map before the classifier, as in Hagos et al. 2022."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(8 * 4 * 6, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 16, 24) -> (B, 10)."""
        x = self.second(self.act(self.first(x)))
        return self.classifier(F.relu(x, inplace=True).flatten(1))


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Small()


# network, input, what is found
CASES: dict[str, tuple[Callable[[], nn.Module], Size, FeatureGrid]] = {
    "resnet": (lambda: net("resnet18"), (64, 96), FeatureGrid("layer4", 2, 3, 512, "NCHW")),
    "resnet, upright": (lambda: net("resnet18"), (160, 96), FeatureGrid("layer4", 5, 3, 512, "NCHW")),
    "a reused activation, written in place": (small, (16, 24), FeatureGrid("second", 4, 6, 8, "NCHW")),
    "torchvision's mobilenet": (
        lambda: mobilenet_v3_small(num_classes=10),
        (96, 160),
        FeatureGrid("features", 3, 5, 576, "NCHW"),
    ),
    "vit, class token": (
        lambda: net("vit_tiny_patch16_224", img_size=(32, 64), depth=3),
        (32, 64),
        FeatureGrid("blocks.2.norm1", 2, 4, 192, "tokens", 1),
    ),
    "vit, class token and registers, upright": (
        lambda: net("vit_tiny_patch16_224", img_size=(96, 48), depth=3, reg_tokens=4),
        (96, 48),
        FeatureGrid("blocks.2.norm1", 6, 3, 192, "tokens", 5),
    ),
    "vit, mean of the patches": (
        lambda: net("vit_tiny_patch16_224", img_size=(32, 64), depth=3, class_token=False, global_pool="avg"),
        (32, 64),
        FeatureGrid("blocks", 2, 4, 192, "tokens"),
    ),
    "swin, channels last": (
        lambda: net("swin_tiny_patch4_window7_224", img_size=(64, 96), **SWIN),
        (64, 96),
        FeatureGrid("norm", 2, 3, 192, "NHWC"),
    ),
    "cait, attention of the class alone": (
        lambda: net("cait_xxs24_224", img_size=(32, 64), depth=2),
        (32, 64),
        FeatureGrid("blocks_token_only.1.norm1", 2, 4, 192, "tokens", 1),
    ),
    "convnext, normalised after pooling": (
        lambda: net("test_convnext"),
        (96, 64),
        FeatureGrid("stages", 3, 2, 64, "NCHW"),
    ),
}


def state_of(network: nn.Module) -> tuple[object, ...]:
    """Flags, hooks and gradients; the tensors are compared apart."""
    modules = [
        (name, module.training, *(tuple(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks")))
        for name, module in network.named_modules()
    ]
    return modules, [(name, p.requires_grad, p.grad is None) for name, p in network.named_parameters()]


@pytest.mark.parametrize("case", CASES)
def test_finds_the_last_map_that_matters(case: str) -> None:
    build, size, expected = CASES[case]
    model = as_model(build(), size[0])
    model.network.requires_grad_(case.startswith("resnet"))
    tensors = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    before, pixels = state_of(model.network), torch.rand(2, 3, *size)
    plain = model.logits(pixels)

    grid = feature_grid(model, size)
    features = activations(model, grid, pixels)

    assert grid == expected
    assert features.shape == (2, grid.channels, grid.rows, grid.columns)
    assert features.dtype == torch.float32
    assert state_of(model.network) == before
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.network.state_dict().items())
    assert torch.equal(model.logits(pixels), plain)


@pytest.mark.parametrize("case", CASES)
def test_a_corner_of_the_image_is_that_corner_of_the_grid(case: str) -> None:
    """Another picture in one corner changes that corner's cell more than the opposite one, whichever it is."""
    build, size, _ = CASES[case]
    model = as_model(build(), size[0])
    grid = feature_grid(model, size)
    pixels, other = torch.rand(2, 1, 3, *size, generator=torch.Generator().manual_seed(2))
    for bottom, right in ((False, True), (True, False)):
        rows = slice(size[0] // 2, None) if bottom else slice(size[0] // 2)
        columns = slice(size[1] // 2, None) if right else slice(size[1] // 2)
        changed = pixels.clone()
        changed[:, :, rows, columns] = other[:, :, rows, columns].square()
        change = (activations(model, grid, changed) - activations(model, grid, pixels)).abs().mean(dim=(0, 1))
        assert float(change[-int(bottom), -int(right)]) > float(change[bottom - 1, right - 1])


def test_activations_are_what_the_layer_gave_before_anything_wrote_into_it() -> None:
    model = as_model(small(), 16)
    pixels = torch.rand(2, 3, 16, 24)
    network, x = model.network, model.normalise(pixels)
    expected = network.second(network.first(x).relu())
    found = activations(model, feature_grid(model, (16, 24)), pixels)
    assert float(found.min()) < 0
    assert torch.allclose(found, expected, atol=1e-6)


def test_tokens_are_read_row_by_row_behind_the_prefix() -> None:
    grid = FeatureGrid("x", rows=2, columns=3, channels=2, layout="tokens", prefix=1)
    tokens = torch.arange(14.0).view(1, 7, 2)
    assert grid.read(tokens)[0].tolist() == [[[2, 4, 6], [8, 10, 12]], [[3, 5, 7], [9, 11, 13]]]


def test_describe() -> None:
    assert FeatureGrid("layer4", 7, 7, 512, "NCHW").describe() == "7x7 of 512 channels at layer4 (NCHW)"


def test_the_models_own_size_is_the_default() -> None:
    model = as_model(net("test_resnet"), 96)
    assert feature_grid(model) == feature_grid(model, (96, 96))


def test_other_sizes_than_the_grids_are_refused() -> None:
    model = as_model(net("resnet18"), 64)
    grid = feature_grid(model, (64, 96))
    with pytest.raises(ModelError, match="'layer4' gave"):
        activations(model, grid, torch.rand(1, 3, 96, 96))


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, 10)."""
        return self.classifier(x)


class Deaf(nn.Module):
    """Has a map that no answer depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.answer = nn.Parameter(torch.arange(10.0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 10)."""
        self.conv(x)
        return self.answer.expand(len(x), -1)


@pytest.mark.parametrize("build", [Flat, Deaf, lambda: net("vit_tiny_patch16_224", img_size=16, depth=2)])
def test_networks_without_a_grid(build: Callable[[], nn.Module]) -> None:
    side = 16 if build not in (Flat, Deaf) else 32
    model: Model = as_model(build(), side)
    with pytest.raises(ModelError, match=f"No layer of net gives a grid of at least 2x2 .* {side}x{side} pixels"):
        feature_grid(model)
