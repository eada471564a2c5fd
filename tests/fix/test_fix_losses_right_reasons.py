"""RRR on input gradients and on Grad-CAM: values, gradients, the side of the mask, and the map that sees nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fix.loss_networks import assert_trains, smooth, uniform
from oracles import fix_losses as oracle
from torch import Tensor, nn

from spuraudit.errors import UsageError
from spuraudit.explain.activation_maps import chosen, class_activation, element_activation, forward_with_features
from spuraudit.fix.losses.right_reasons import (
    MapNorm,
    log_probability_penalty,
    map_penalty,
    normalised,
    on_cells,
    random_logits_penalty,
)
from spuraudit.models.feature_grid import FeatureGrid

CLASSES = torch.tensor([2, 0, 3])
NORMS: tuple[MapNorm, ...] = ("max", "none", "min-max")


def summed(network: nn.Module, pixels: Tensor, region: Tensor) -> Tensor:
    pixels = pixels.detach().requires_grad_()
    return log_probability_penalty(network(pixels).log_softmax(dim=1), pixels, region)


def signed(network: nn.Module, pixels: Tensor, region: Tensor, signs: Tensor) -> Tensor:
    pixels = pixels.detach().requires_grad_()
    return random_logits_penalty(network(pixels), pixels, region, signs)


def as_vector(network: nn.Module) -> oracle.Vector:
    def logits(image: oracle.Floats) -> oracle.Floats:
        with torch.no_grad():
            found: oracle.Floats = network(torch.from_numpy(image)[None])[0].numpy()
        return found

    return logits


def test_log_probabilities_equal_a_literal_one() -> None:
    network, pixels, region = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    expected = [oracle.rrr(as_vector(network), pixels[i].numpy(), region[i].numpy()) for i in range(3)]
    assert min(expected) > 0.01
    assert np.allclose(summed(network, pixels, region).tolist(), expected, rtol=1e-7)


def test_random_signs_stand_for_the_gradients_of_all_logits() -> None:
    """Each draw is the literal energy of that combination; the mean over all draws is that of all logits."""
    network, pixels, region = smooth(6), uniform(1, 3, 6, 6), uniform(1, 6, 6, seed=1)
    logits, x, mask = as_vector(network), pixels[0].numpy(), region[0].numpy()
    draws = torch.cartesian_prod(*[torch.tensor([-1, 1])] * 4)
    found = signed(network, pixels.expand(16, -1, -1, -1), region.expand(16, -1, -1), draws).detach()
    for value, signs in list(zip(found.tolist(), draws.numpy(), strict=True))[:3]:
        gradient = oracle.derivative(lambda image, s=signs: float((s * logits(image)).sum()), x)
        assert value == pytest.approx(oracle.energy(gradient, mask), rel=1e-7)
    assert float(found.mean()) == pytest.approx(oracle.all_logits(logits, x, mask), rel=1e-7)
    assert float(found.std()) > 0.1 * float(found.mean())


def test_parameters_learn_from_input_gradients() -> None:
    network, pixels, region = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    signs = torch.tensor([[1, -1, -1, 1], [1, 1, -1, 1], [-1, 1, 1, 1]])
    assert_trains(network, lambda: summed(network, pixels, region).mean(), at_least=0.01)
    assert_trains(network, lambda: signed(network, pixels, region, signs).mean(), at_least=0.01)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("relu", [True, False])
def test_map_penalty_equals_a_literal_one(norm: MapNorm, relu: bool) -> None:
    network, x, region = smooth(6), uniform(3, 3, 6, 6), uniform(3, 3, 3, seed=1)
    logits, output = forward_with_features(network, network.grid, x)
    found = map_penalty(class_activation(logits, output, network.grid, CLASSES, relu=relu), region, norm)
    for i, number in enumerate(CLASSES.tolist()):

        def score(features: oracle.Floats, number: int = number) -> float:
            with torch.no_grad():
                return float(network.head(torch.from_numpy(features)[None])[0, number])

        heat = oracle.grad_cam(score, output.detach()[i].numpy(), relu)
        assert float(found[i]) == pytest.approx(oracle.map_loss(heat, region[i].numpy(), norm), rel=1e-6)
    assert float(found.max()) > 1e-4


@pytest.mark.parametrize("norm", NORMS)
def test_parameters_learn_from_maps(norm: MapNorm) -> None:
    network, x, region = smooth(6), uniform(3, 3, 6, 6), uniform(3, 3, 3, seed=1)

    def maps() -> Tensor:
        logits, output = forward_with_features(network, network.grid, x)
        return class_activation(logits, output, network.grid, CLASSES, create_graph=True)

    largest = maps().detach().amax(dim=(1, 2), keepdim=True)
    if norm == "max":  # the largest value is a constant: the loss in which it stays what it is has the same gradient
        network.zero_grad()
        map_penalty(maps(), region, "max").sum().backward()  # type: ignore[no-untyped-call]
        found = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        fixed = lambda: map_penalty(maps() / (largest + 1e-6), region, "none").sum()  # noqa: E731
        assert_trains(network, fixed, at_least=1e-3)
        expected = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(found, expected, strict=True))
    else:
        assert_trains(network, lambda: map_penalty(maps(), region, norm).sum(), at_least=1e-3)


class OneSide(nn.Module):
    """Only the left half of the image counts, for class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = FeatureGrid("cells", 6, 6, 3, "NCHW")
        self.cells = nn.Conv2d(3, 3, 1, bias=False).double()
        nn.init.constant_(self.cells.weight, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        value = self.cells(x)[:, :, :, :3].sum(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(value), value / 50], dim=1)


def test_punishes_inside_the_region() -> None:
    network, pixels, left = OneSide(), uniform(2, 3, 6, 6), torch.zeros(2, 6, 6)
    left[:, :, :3] = 1
    classes, signs = torch.tensor([1, 1]), torch.tensor([[1, -1], [-1, 1]])
    assert float(summed(network, pixels, 1 - left).max()) == 0
    assert float(summed(network, pixels, left).min()) > 1e-4
    assert float(signed(network, pixels, 1 - left, signs).max()) == 0
    assert float(signed(network, pixels, left, signs).min()) > 0.01
    logits, output = forward_with_features(network, network.grid, pixels)
    # Grad-CAM averages weights over places, so only the un-averaged map is empty on the side that does not count.
    maps = element_activation(chosen(logits, classes), output, network.grid)
    assert float(map_penalty(maps, 1 - left).max()) == 0
    assert float(map_penalty(maps, left).min()) > 0.01
    planted = left * 0.7
    for norm in NORMS:
        assert float(map_penalty(planted, 1 - left, norm).max()) == 0
        assert float(map_penalty(planted, left, norm).min()) > 0.1


def test_the_published_loss_is_nothing_on_the_published_network() -> None:
    """One convolution and a linear layer by place, in which a decoy's corner has by far the strongest weight.

    The mean of the weights is negative, so Grad-CAM's channel weights are, so its map is 0 everywhere: value and
    gradient. The map that keeps its places sees the corner.
    """
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2, bias=False))
    network.double()
    weight = torch.full((2, 2, 6, 6), -0.05, dtype=torch.float64)
    weight[0, :, 5, 0] = 1.0  # class 0 is told by the lower left corner
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[3].weight.copy_(weight.flatten(1))
    pixels = 0.1 * uniform(3, 1, 6, 6)
    pixels[:, :, 5, 0] = 1
    region = torch.zeros(3, 6, 6)
    region[:, 5, 0] = 1
    classes, grid = torch.tensor([0, 0, 0]), FeatureGrid("1", 6, 6, 2, "NCHW")
    logits, output = forward_with_features(network, grid, pixels)
    assert bool((logits[:, 0] > 1).all())

    for norm in ("max", "none"):
        network.zero_grad()
        loss = map_penalty(class_activation(logits, output, grid, classes, create_graph=True), region, norm)
        assert loss.tolist() == [0, 0, 0]
        loss.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in network.parameters())

    seen = map_penalty(element_activation(logits[:, 0], output, grid, create_graph=True), region)
    seen.sum().backward()  # type: ignore[no-untyped-call]
    assert float(seen.min()) > 0.02
    assert float(network[3].weight.grad.abs().max()) > 0.01


def test_a_map_that_is_nothing_stays_finite() -> None:
    maps = torch.zeros(2, 3, 3, requires_grad=True)
    for norm in NORMS:
        map_penalty(maps, torch.ones(2, 3, 3), norm).sum().backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


def test_a_map_all_in_the_region_still_shrinks() -> None:
    """Which it would not with a gradient through the largest value."""
    maps = torch.zeros(1, 3, 3)
    maps[0, 1, 1] = 2.0
    maps.requires_grad_()
    map_penalty(maps, torch.ones(1, 3, 3), "max").sum().backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    assert float(maps.grad[0, 1, 1]) == pytest.approx(2 / 9 / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(12, 9, (4, 3)), (10, 7, (3, 4)), (5, 4, (7, 4)), (32, 32, (5, 5))]
)
def test_masks_are_averaged_over_the_area_of_cells(height: int, width: int, size: tuple[int, int]) -> None:
    masks = uniform(2, height, width)
    found = on_cells(masks, size)
    for mask, cells in zip(masks, found, strict=True):
        assert np.allclose(cells.numpy(), oracle.on_cells(mask.numpy(), *size), atol=1e-12)
    assert torch.allclose(found.mean(dim=(1, 2)), masks.mean(dim=(1, 2)))
    assert torch.allclose(on_cells(masks > 0.5, size).double(), on_cells((masks > 0.5).double(), size), atol=1e-5)


def test_what_does_not_fit() -> None:
    maps = torch.ones(2, 3, 3)
    with pytest.raises(UsageError, match="region has the shape") as caught:
        map_penalty(maps, torch.ones(2, 6, 6))
    assert "on_cells" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="'minmax' is unknown") as caught:
        normalised(maps, "minmax")  # type: ignore[arg-type]
    assert "min-max" in (caught.value.hint or "")


def test_an_image_does_not_depend_on_the_others() -> None:
    network, pixels, region = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    signs = torch.tensor([[1, -1, -1, 1], [1, 1, -1, 1], [-1, 1, 1, 1]])
    each = [slice(i, i + 1) for i in range(3)]
    alone = torch.cat([summed(network, pixels[i], region[i]) for i in each])
    assert torch.allclose(summed(network, pixels, region), alone, rtol=1e-10)
    alone = torch.cat([signed(network, pixels[i], region[i], signs[i]) for i in each])
    assert torch.allclose(signed(network, pixels, region, signs), alone, rtol=1e-10)
    maps = uniform(3, 6, 6, seed=2)
    for norm in NORMS:
        alone = torch.cat([map_penalty(maps[i], region[i], norm) for i in each])
        assert torch.allclose(map_penalty(maps, region, norm), alone, rtol=1e-10)
