"""Grad-CAM: equal to a literal one, right on a network whose answer is known, and the network left as found."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from models.model_networks import as_model
from oracles.grad_cam import slow_grad_cam
from torch import Tensor, nn

from spuraudit.errors import ModelError, UsageError
from spuraudit.explain.grad_cam import Method, grad_cam
from spuraudit.models.feature_grid import feature_grid
from spuraudit.models.model import Model

METHODS: tuple[Method, ...] = ("gradcam", "gradcam++")


class Convolutions(nn.Module):
    """A body that keeps the input's size or halves it, a head with an activation that writes in place."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 6, 3, stride, padding=1))
        self.classifier = nn.Linear(6, 4)
        nn.init.normal_(self.classifier.weight, std=100)  # maps far above the 1e-7 that the library adds to a maximum

    def head(self, maps: Tensor) -> Tensor:
        """(B, 6, rows, columns) -> (B, 4)."""
        return self.classifier(F.elu(maps, inplace=maps.grad_fn is not None).square().mean(dim=(2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 4)."""
        return self.head(self.body(x))


def convolutions(stride: int) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return as_model(Convolutions(stride), 12, num_classes=4)


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(4))


def scaled(heat: Tensor) -> Tensor:
    lifted = heat - heat.min()
    return lifted / (1e-7 + lifted.max())


def literal(model: Model, pixels: Tensor, classes: list[int]) -> list[Tensor]:
    network = model.network
    assert isinstance(network, Convolutions)
    x = model.normalise(pixels)
    return [slow_grad_cam(network.body, network.head, x[i : i + 1], number) for i, number in enumerate(classes)]


def test_equals_a_literal_one(pixels: Tensor) -> None:
    """The grid is as fine as the image: nothing is resized, only scaled."""
    model, classes = convolutions(stride=1), [0, 3, 2]
    found = grad_cam(model, feature_grid(model, (12, 16)), pixels, classes)
    raw = literal(model, pixels, classes)
    assert all(float(heat.max()) > 0.01 for heat in raw)
    for heat, expected in zip(found, raw, strict=True):
        assert torch.allclose(heat.double(), scaled(expected), atol=1e-5)


def test_a_coarser_grid_is_resized_bilinearly(pixels: Tensor) -> None:
    model, classes = convolutions(stride=2), [1, 1, 2]
    found = grad_cam(model, feature_grid(model, (12, 16)), pixels, classes)
    assert found.shape == (3, 12, 16)
    for heat, raw in zip(found, literal(model, pixels, classes), strict=True):
        large = F.interpolate(scaled(raw)[None, None], size=(12, 16), mode="bilinear", align_corners=False)[0, 0]
        assert torch.allclose(heat.double(), scaled(large), atol=1e-4)


class OneCorner(nn.Module):
    """Class 1 is the brightness of the lower right quarter, class 0 that of the upper left one."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(4)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 48) -> (B, 2)."""
        cells = self.pool(self.weight * x).sum(dim=1).relu()
        return torch.stack([cells[:, :4, :6].sum(dim=(1, 2)), cells[:, 4:, 6:].sum(dim=(1, 2))], dim=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("number", "rows", "columns"), [(0, slice(16), slice(24)), (1, slice(16, 32), slice(24, 48))])
def test_lights_up_where_the_answer_comes_from(method: Method, number: int, rows: slice, columns: slice) -> None:
    """Only one bright region counts for the class; the map is all in it where nothing else is bright."""
    model = as_model(OneCorner(), 32, num_classes=2)
    grey = torch.tensor(model.record.preprocess.mean).view(1, 3, 1, 1)
    pixels = grey.expand(1, 3, 32, 48).clone()
    pixels[:, :, rows, columns] += 0.3
    heat = grad_cam(model, feature_grid(model, (32, 48)), pixels, [number], method=method)[0]
    inside = torch.zeros(32, 48, dtype=torch.bool)
    inside[rows, columns] = True
    assert float(heat[inside].mean()) > 0.9
    assert float(heat.sum() * 0 + heat[inside].sum() / heat.sum()) > 0.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "kwargs", "size"),
    [
        ("resnet18", {}, (64, 96)),
        ("vit_tiny_patch16_224", {"img_size": (32, 64), "depth": 3}, (32, 64)),
        ("swin_tiny_patch4_window7_224", {"img_size": (64, 96), "embed_dim": 24, "depths": (1, 1, 1, 1)}, (64, 96)),
        ("levit_128s", {"img_size": 64}, (64, 64)),
    ],
)
def test_networks_of_each_layout(name: str, kwargs: dict[str, object], size: tuple[int, int], method: Method) -> None:
    """Also after passes without gradients, which fill the caches of attention biases (LeViT)."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = as_model(timm.create_model(name, num_classes=10, **kwargs), size[0])
    pixels = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    logits = model.logits(pixels)
    grid = feature_grid(model, size)
    hooks = [len(module._forward_hooks) for module in model.network.modules()]

    heat = torch.cat([grad_cam(model, grid, pixels, [k, k], method=method) for k in range(3)])

    assert heat.shape == (6, *size)
    assert heat.dtype == torch.float32
    assert bool(heat.isfinite().all())
    assert float(heat.min()) >= 0
    assert 0.999 < float(heat.max()) <= 1
    assert hooks == [len(module._forward_hooks) for module in model.network.modules()]
    assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())
    assert not any(module.training for module in model.network.modules())
    assert torch.equal(model.logits(pixels), logits)


def test_a_map_does_not_depend_on_the_other_images(pixels: Tensor) -> None:
    model = convolutions(stride=2)
    grid = feature_grid(model, (12, 16))
    together = grad_cam(model, grid, pixels, [0, 1, 2])
    alone = torch.cat([grad_cam(model, grid, pixels[i : i + 1], [i]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("classes", [[0], [0, 1, 4], [0, -1, 2]])
def test_classes_that_do_not_fit(classes: list[int], pixels: Tensor) -> None:
    model = convolutions(stride=2)
    with pytest.raises(UsageError, match="one class per image, of outputs 0 to 3"):
        grad_cam(model, feature_grid(model, (12, 16)), pixels, classes)


def test_an_unknown_method(pixels: Tensor) -> None:
    model = convolutions(stride=2)
    with pytest.raises(UsageError, match="'gradcan' is unknown") as caught:
        grad_cam(model, feature_grid(model, (12, 16)), pixels, [0, 0, 0], method="gradcan")  # type: ignore[arg-type]
    assert "gradcam" in (caught.value.hint or "")


def test_pixels_of_another_size_leave_no_hooks(pixels: Tensor) -> None:
    model = convolutions(stride=2)
    grid = feature_grid(model, (12, 16))
    with pytest.raises(ModelError, match="gave"):
        grad_cam(model, grid, torch.rand(1, 3, 16, 16), [0])
    assert not any(module._forward_hooks for module in model.network.modules())
