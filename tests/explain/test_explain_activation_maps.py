"""Maps that can be trained on: equal to literal ones in every layout, differentiable, and the network left alone."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from fix.loss_networks import assert_trains, smooth, uniform
from models.model_networks import as_model
from oracles.fix_losses import element_map, grad_cam
from torch import Tensor, nn

from spuraudit.errors import ModelError, UsageError
from spuraudit.explain.activation_maps import chosen, class_activation, element_activation, forward_with_features
from spuraudit.explain.grad_cam import grad_cam as library_grad_cam
from spuraudit.models.feature_grid import FeatureGrid, feature_grid

CLASSES = torch.tensor([2, 0, 3])


class Arranged(nn.Module):
    """The output of a map in another layout; tokens get two others in front."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, maps: Tensor) -> Tensor:
        if self.layout == "NCHW":
            return maps.clone()
        last = maps.permute(0, 2, 3, 1)
        if self.layout == "NHWC":
            return last.contiguous()
        tokens = last.flatten(1, 2)
        return torch.cat([tokens.mean(dim=1, keepdim=True).tanh(), tokens[:, :1] ** 2, tokens], dim=1)


class InLayout(nn.Module):
    """A smooth network whose map passes through a layer of a given layout; the tokens in front count in the logits."""

    def __init__(self, layout: Any) -> None:
        super().__init__()
        self.inner = smooth(6)
        self.arranged = Arranged(layout)
        self.grid = FeatureGrid("arranged", 3, 3, 5, layout, prefix=2 if layout == "tokens" else 0)

    def head(self, output: Tensor) -> Tensor:
        front = output[:, : self.grid.prefix].sum(dim=(1, 2))[:, None] if self.grid.prefix else 0
        return self.inner.head(self.grid.read(output)) + front

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.arranged(self.inner.features(self.inner.stem(x).tanh())))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
@pytest.mark.parametrize("relu", [True, False])
def test_equal_literal_ones(layout: str, relu: bool) -> None:
    network, x = InLayout(layout), uniform(3, 3, 6, 6)
    logits, output = forward_with_features(network, network.grid, x)
    assert torch.equal(logits, network(x))
    signs = torch.tensor([[1.0, -1, -1, 1], [1, 1, -1, 1], [-1, 1, 1, 1]]).double()
    averaged = class_activation(logits, output, network.grid, CLASSES, relu=relu)
    of_class = element_activation(chosen(logits, CLASSES), output, network.grid, relu=relu)
    of_all = element_activation((signs * logits).sum(dim=1), output, network.grid, relu=relu)
    assert float(averaged.max()) > 0.01
    assert not averaged.requires_grad

    for i, number in enumerate(CLASSES):
        cells = network.grid.read(output.detach())[i].numpy().copy()

        def scores(features: Any, i: int = i) -> Tensor:
            whole = output.detach()[i : i + 1].clone()
            network.grid.read(whole).copy_(torch.from_numpy(features)[None])
            with torch.no_grad():
                return network.head(whole)[0]

        one = lambda features, k=int(number): float(scores(features)[k])  # noqa: E731
        signed = lambda features, s=signs[i]: float((s * scores(features)).sum())  # noqa: E731
        assert torch.allclose(averaged[i], torch.from_numpy(grad_cam(one, cells, relu)), atol=1e-8)
        assert torch.allclose(of_class[i], torch.from_numpy(element_map(one, cells, relu)), atol=1e-8)
        assert torch.allclose(of_all[i], torch.from_numpy(element_map(signed, cells, relu)), atol=1e-8)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_parameters_learn_from_a_map_through_its_weights_too(layout: str) -> None:
    network, x, wanted = InLayout(layout), uniform(3, 3, 6, 6), uniform(3, 3, 3, seed=1)

    def averaged() -> Tensor:
        logits, output = forward_with_features(network, network.grid, x)
        return (class_activation(logits, output, network.grid, CLASSES, create_graph=True) * wanted).square().sum()

    def element() -> Tensor:
        logits, output = forward_with_features(network, network.grid, x)
        maps = element_activation(logits[:, 0] - 2 * logits[:, 1], output, network.grid, create_graph=True)
        return (maps * wanted).square().sum()

    assert_trains(network, averaged, at_least=0.01)
    assert_trains(network, element, at_least=0.01)


def test_random_signs_stand_for_all_logits() -> None:
    """Over all draws, the mean square of the signed map is the sum of the squares of the logits' own maps."""
    network, x = smooth(6), uniform(1, 3, 6, 6)
    logits, output = forward_with_features(network, network.grid, x)
    draws = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 4)
    maps = [element_activation((signs * logits).sum(dim=1), output, network.grid) for signs in draws]
    own = [element_activation(logits[:, k], output, network.grid) for k in range(4)]
    assert torch.allclose(torch.stack(maps).square().mean(dim=0), torch.stack(own).square().sum(dim=0))


@pytest.mark.parametrize("after", ["elu", "relu"])
def test_what_writes_in_place_after_the_layer_changes_nothing(after: str) -> None:
    """Values and gradients of the layer's own output, not of what became of it."""

    def maps(inplace: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
        torch.manual_seed(0)
        activation = nn.ELU(inplace=inplace) if after == "elu" else nn.ReLU(inplace=inplace)
        layers = [nn.Conv2d(3, 5, 3, padding=1), activation, nn.Flatten(), nn.Linear(180, 4)]
        network = nn.Sequential(*layers).double()
        grid = FeatureGrid("0", 6, 6, 5, "NCHW")
        logits, output = forward_with_features(network, grid, uniform(3, 3, 6, 6) - 0.5)
        cams = class_activation(logits, output, grid, CLASSES, create_graph=True)
        (logits.sum() + cams.square().sum()).backward()  # type: ignore[no-untyped-call]
        return output.detach(), cams.detach(), [p.grad for p in network.parameters() if p.grad is not None]

    with torch.random.fork_rng():
        plain, in_place = maps(inplace=False), maps(inplace=True)
    assert float(plain[0].min()) < -0.1
    for expected, found in zip([*plain[:2], *plain[2]], [*in_place[:2], *in_place[2]], strict=True):
        assert torch.allclose(expected, found, rtol=1e-9, atol=1e-15)


def test_a_frozen_body_still_gives_maps_and_trains_the_head() -> None:
    network, x = smooth(6), uniform(3, 3, 6, 6)
    network.stem.requires_grad_(False)
    network.features.requires_grad_(False)
    logits, output = forward_with_features(network, network.grid, x)
    class_activation(logits, output, network.grid, CLASSES, create_graph=True).sum().backward()  # type: ignore[no-untyped-call]
    found = network.classifier.weight.grad
    network.requires_grad_(True)
    network.zero_grad()
    logits, output = forward_with_features(network, network.grid, x)
    class_activation(logits, output, network.grid, CLASSES, create_graph=True).sum().backward()  # type: ignore[no-untyped-call]
    assert found is not None
    assert torch.equal(found, network.classifier.weight.grad)
    assert float(found.abs().max()) > 0.01


def stretched(maps: Tensor) -> Tensor:
    lifted = maps - maps.amin(dim=(1, 2), keepdim=True)
    return (lifted / lifted.amax(dim=(1, 2), keepdim=True)).nan_to_num(nan=0.0)  # nothing speaks for the class


@pytest.mark.parametrize(
    ("name", "kwargs", "layout"),
    [
        ("resnet18", {}, "NCHW"),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, "tokens"),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1)}, "NHWC"),
    ],
)
def test_agrees_with_the_library_on_real_architectures(name: str, kwargs: dict[str, Any], layout: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = as_model(timm.create_model(name, num_classes=10, **kwargs), 64)
    pixels = uniform(3, 3, 64, 64).float()
    grid = feature_grid(model)
    assert grid.layout == layout
    hooks = [len(module._forward_hooks) for module in model.network.modules()]

    logits, output = forward_with_features(model.network, grid, model.normalise(pixels))
    maps = class_activation(logits, output, grid, CLASSES)
    alone = []
    for i in range(3):
        one = forward_with_features(model.network, grid, model.normalise(pixels[i : i + 1]))
        alone.append(class_activation(*one, grid, CLASSES[i : i + 1]))

    large = nn.functional.interpolate(maps[:, None], size=(64, 64), mode="bilinear", align_corners=False)[:, 0]
    library = library_grad_cam(model, grid, pixels, CLASSES.tolist())
    assert torch.allclose(stretched(large), stretched(library), atol=1e-4)  # the library adds 1e-7 to small maxima
    assert torch.allclose(torch.cat(alone), maps, atol=1e-6)
    assert torch.allclose(logits, model.logits(pixels), atol=1e-5)
    assert hooks == [len(module._forward_hooks) for module in model.network.modules()]


def test_the_graph_of_the_logits_stays() -> None:
    network = smooth(6)
    logits, output = forward_with_features(network, network.grid, uniform(3, 3, 6, 6))
    class_activation(logits, output, network.grid, CLASSES)
    logits.sum().backward()  # type: ignore[no-untyped-call]
    assert network.stem.weight.grad is not None


def test_half_precision_is_widened() -> None:
    network = smooth(6).bfloat16()
    logits, output = forward_with_features(network, network.grid, uniform(3, 3, 6, 6).bfloat16())
    assert class_activation(logits, output, network.grid, CLASSES).dtype == torch.float32


def test_what_cannot_be_explained() -> None:
    network, x = smooth(6), uniform(3, 3, 6, 6)
    logits, output = forward_with_features(network, network.grid, x)
    with pytest.raises(UsageError, match="one class per image"):
        class_activation(logits, output, network.grid, CLASSES[:2])
    with pytest.raises(UsageError, match="do not depend on the given output"):
        class_activation(logits, network.grid.read(output).clone(), network.grid, CLASSES)
    with torch.no_grad():
        blind = forward_with_features(network, network.grid, x)
    with pytest.raises(UsageError, match="no_grad"):
        class_activation(*blind, network.grid, CLASSES)


def test_grids_that_do_not_fit_leave_no_hook() -> None:
    network = smooth(6)
    with pytest.raises(ModelError, match="gave"):
        forward_with_features(network, network.grid, uniform(1, 3, 8, 8))
    twice = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(108, 2)).double()
    twice.insert(1, twice[0])
    with pytest.raises(ModelError, match="ran 2 times"):
        forward_with_features(twice, FeatureGrid("0", 6, 6, 3, "NCHW"), uniform(1, 3, 6, 6))
    assert not any(module._forward_hooks for module in [*network.modules(), *twice.modules()])
