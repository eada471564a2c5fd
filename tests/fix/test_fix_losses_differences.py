"""The saliency gradient without second derivatives: right on smooth networks, seen to be wrong on others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from fix.loss_networks import smooth, uniform
from torch import Tensor, nn

from spuraudit.errors import UsageError
from spuraudit.fix.losses.differences import agreement, as_loss, by_differences, by_double_backward
from spuraudit.fix.losses.gradients import twice_differentiable
from spuraudit.fix.losses.saliency import saliency_penalty

LABELS = torch.tensor([2, 0, 3])


def summed_loss(network: nn.Module, labels: Tensor = LABELS) -> Callable[[Tensor], Tensor]:
    return lambda pixels: F.cross_entropy(network(pixels), labels, reduction="sum")


def as_trained(network: nn.Module, pixels: Tensor, core: Tensor, weight: float) -> list[Tensor]:
    """Gradients of mean loss + weight * mean penalty, the way of a loop that only calls backward."""
    network.zero_grad()
    pixels = pixels.detach().requires_grad_()
    losses = F.cross_entropy(network(pixels), LABELS, reduction="none")
    total = losses.mean() + weight * saliency_penalty(losses, pixels, core).mean()
    total.backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("central", [False, True])
def test_equals_the_exact_gradient_of_a_smooth_network(central: bool) -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    parameters = list(network.parameters())
    loss = summed_loss(network)
    exact = by_double_backward(loss, pixels, core, parameters)
    found = by_differences(loss, pixels, core, parameters, rms=1e-5, central=central)
    assert float(found.losses) == pytest.approx(float(loss(pixels).detach()), rel=1e-12)
    assert float(found.penalty) == pytest.approx(float(exact.penalty), rel=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(found.of_losses, exact.of_losses, strict=True))
    assert min(float(gradient.norm()) for gradient in exact.of_penalty) > 0.01
    largest = max(float(gradient.abs().max()) for gradient in exact.of_penalty)
    for expected, estimate in zip(exact.of_penalty, found.of_penalty, strict=True):
        assert torch.allclose(expected, estimate, rtol=0, atol=(1e-7 if central else 1e-4) * largest)
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.parametrize("find", [by_double_backward, by_differences])
def test_adds_up_to_the_step_of_the_plain_loop(find: Callable[..., object]) -> None:
    """Through `backward`, on top of what an earlier part of a larger batch left in .grad."""
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    expected = as_trained(network, pixels, core, weight=0.7)
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    options = {"rms": 1e-5, "central": True} if find is by_differences else {}
    found = find(summed_loss(network), pixels, core, parameters, **options)
    loss = as_loss(parameters, found.mixed(1 / 3, 0.7 / 3))  # type: ignore[attr-defined]
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad - 1, gradient, rtol=1e-6, atol=1e-8)


def test_one_sided_costs_one_pass_more_than_a_plain_step() -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    seen: list[Tensor] = []

    def loss(shown: Tensor) -> Tensor:
        seen.append(shown.detach())
        return summed_loss(network)(shown)

    by_differences(loss, pixels, core, list(network.parameters()), rms=0.01)
    assert len(seen) == 2
    assert float((seen[1] - seen[0]).square().mean().sqrt()) == pytest.approx(0.01)
    seen.clear()
    by_differences(loss, pixels, core, list(network.parameters()), rms=0.01, central=True)
    assert len(seen) == 3
    assert torch.allclose(seen[1] + seen[2], 2 * pixels)


def test_only_pixels_outside_the_core_are_moved() -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), torch.zeros(3, 6, 6)
    core[:, :, :3] = 1
    seen: list[Tensor] = []

    def loss(shown: Tensor) -> Tensor:
        seen.append(shown.detach())
        return summed_loss(network)(shown)

    by_differences(loss, pixels, core, list(network.parameters()))
    moved = (seen[1] - seen[0]).abs().amax(dim=1) > 0
    assert not bool(moved[:, :, :3].any())
    assert bool(moved[:, :, 3:].all())


def test_where_all_is_core_there_is_no_penalty() -> None:
    network, pixels = smooth(6), uniform(3, 3, 6, 6)
    found = by_differences(summed_loss(network), pixels, torch.ones(3, 6, 6), list(network.parameters()))
    assert float(found.penalty) == 0
    assert all(float(gradient.abs().max()) == 0 for gradient in found.of_penalty)
    assert max(float(gradient.abs().max()) for gradient in found.of_losses) > 0


def test_dropout_draws_the_same_in_every_pass() -> None:
    """Otherwise the difference is that of two networks, over a small number."""
    inner = smooth(6)
    network = nn.Sequential(nn.Dropout(0.3), inner).train()
    pixels, core, parameters = uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1), list(inner.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(4)
        exact = by_double_backward(summed_loss(network), pixels, core, parameters)
        after = torch.get_rng_state()
        torch.manual_seed(4)
        found = by_differences(summed_loss(network), pixels, core, parameters, rms=1e-4)
        assert torch.equal(torch.get_rng_state(), after)
    assert agreement(exact.of_penalty, found.of_penalty).cosine > 0.99999


def test_parameters_that_the_loss_does_not_use() -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    for find in (by_differences, by_double_backward):
        found = find(summed_loss(network), pixels, core, [unused, network.classifier.weight])
        assert torch.equal(found.of_penalty[0], torch.zeros(2, dtype=torch.float64))
        assert float(found.of_penalty[1].abs().max()) > 0


def test_losses_that_ignore_the_pixels_given() -> None:
    network, pixels = smooth(6), uniform(3, 3, 6, 6)
    with pytest.raises(UsageError, match="do not depend on the pixels"):
        by_differences(lambda _: summed_loss(network)(pixels), pixels, torch.zeros(3, 6, 6), list(network.parameters()))


def test_agreement() -> None:
    one = [torch.tensor([1.0, 0.0]), torch.tensor([[0.0]])]
    assert agreement(one, [torch.tensor([0.0, 3.0]), torch.tensor([[0.0]])]) == (0.0, 3.0)
    assert agreement(one, [torch.tensor([1.0, 0.0]), torch.tensor([[-1.0]])])[0] == pytest.approx(0.5**0.5)
    nothing = [torch.zeros(2), torch.zeros(1, 1)]
    assert agreement(nothing, nothing) == (1.0, 1.0)
    assert agreement(one, nothing) == (0.0, 0.0)
    assert agreement(nothing, one) == (0.0, float("inf"))


def real_agreement(name: str, *, central: bool, **kwargs: object) -> tuple[float, float]:
    """Of a timm network a few steps from its start, on noise with rms 1, in float32 with frozen statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=10, **kwargs)
        labels, noise = torch.tensor([1, 5, 2, 9]), torch.randn(4, 3, 64, 64)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(5):
            optimiser.zero_grad()
            F.cross_entropy(network.train()(torch.randn(4, 3, 64, 64)), labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    core = torch.zeros(4, 64, 64)
    core[:, 16:48, 16:48] = 1
    parameters = list(network.eval().parameters())
    loss = summed_loss(network, labels)
    with twice_differentiable():
        exact = by_double_backward(loss, noise, core, parameters)
        found = by_differences(loss, noise, core, parameters, rms=1e-3, central=central)
    return agreement(exact.of_penalty, found.of_penalty)


@pytest.mark.parametrize("central", [True, False])
@pytest.mark.parametrize(("name", "kwargs"), [("vit_tiny_patch16_224", {"img_size": 64}), ("efficientnet_b0", {})])
def test_holds_on_smooth_architectures(name: str, kwargs: dict[str, object], central: bool) -> None:
    cosine, ratio = real_agreement(name, central=central, **kwargs)
    assert cosine >= 0.999
    assert ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("central", [True, False])
def test_is_refused_on_a_network_of_relus(central: bool) -> None:
    assert real_agreement("resnet18", central=central)[0] < 0.5
