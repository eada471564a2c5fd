"""CoRM's saliency term: its value, its gradient, its side of the mask."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from fix.loss_networks import Smooth, assert_trains, smooth, uniform
from oracles.fix_losses import Floats, log_probabilities, saliency
from torch import Tensor, nn

from spuraudit.errors import UsageError
from spuraudit.fix.losses.gradients import twice_differentiable
from spuraudit.fix.losses.saliency import saliency_penalty

LABELS = torch.tensor([2, 0, 3])


def penalty(network: nn.Module, pixels: Tensor, core: Tensor, labels: Tensor = LABELS) -> Tensor:
    pixels = pixels.detach().requires_grad_()
    return saliency_penalty(F.cross_entropy(network(pixels), labels, reduction="none"), pixels, core)


def slow(network: Smooth, pixels: Tensor, core: Tensor, label: int) -> float:
    def loss(image: Floats) -> float:
        with torch.no_grad():
            return -log_probabilities(network(torch.from_numpy(image)[None])[0].tolist())[label]

    return saliency(loss, pixels.numpy(), core.numpy())


def test_equals_a_literal_one() -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    expected = [slow(network, pixels[i], core[i], int(LABELS[i])) for i in range(3)]
    assert min(expected) > 0.01
    assert np.allclose(penalty(network, pixels, core).tolist(), expected, rtol=1e-7)


def test_parameters_learn_from_it() -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6, seed=1)
    assert_trains(network, lambda: penalty(network, pixels, core).mean(), at_least=0.01)


class OneSide(nn.Module):
    """Only the left half of the image counts."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(2, 3, 6, 6, dtype=torch.float64)
        weight[1, :, :, :3] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", x - 0.5, self.weight)


def test_punishes_what_is_not_core() -> None:
    pixels, left = uniform(2, 3, 6, 6), torch.zeros(2, 6, 6)
    left[:, :, :3] = 1
    labels = torch.tensor([0, 1])
    assert float(penalty(OneSide(), pixels, left, labels).max()) == 0
    assert float(penalty(OneSide(), pixels, 1 - left, labels).min()) > 0.01
    assert float(penalty(OneSide(), pixels, torch.ones(2, 6, 6), labels).max()) == 0


def test_a_soft_core_counts_squared() -> None:
    pixels, labels = uniform(2, 3, 6, 6), torch.tensor([0, 1])
    whole = penalty(OneSide(), pixels, torch.zeros(2, 6, 6), labels)
    half = penalty(OneSide(), pixels, torch.full((2, 6, 6), 0.5), labels)
    assert torch.allclose(half, whole / 4)


def test_an_image_does_not_depend_on_the_others() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("resnet18", num_classes=4).double().eval()
    pixels, core = uniform(3, 3, 32, 32), uniform(3, 32, 32, seed=1)
    together = penalty(network, pixels, core)
    alone = torch.cat([penalty(network, pixels[i : i + 1], core[i : i + 1], LABELS[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, rtol=1e-9)
    assert float(together.min()) > 0


def test_attention_is_differentiated_twice() -> None:
    """What timm does by itself has no second derivative on a CPU; the context is what makes the difference."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=2).eval()
    pixels, core = uniform(3, 3, 32, 32).float(), uniform(3, 32, 32, seed=1)
    with twice_differentiable():
        value = penalty(network, pixels, core).mean()
    value.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())
    assert float(network.patch_embed.proj.weight.grad.norm()) > 0
    with pytest.raises(RuntimeError, match="is not implemented"):
        penalty(network, pixels, core).mean().backward()  # type: ignore[no-untyped-call]


def test_what_has_no_gradient_by_the_pixels() -> None:
    network, pixels, core = smooth(6), uniform(3, 3, 6, 6), uniform(3, 6, 6)
    losses = F.cross_entropy(network(pixels), LABELS, reduction="none")
    with pytest.raises(UsageError, match="do not depend on the pixels") as caught:
        saliency_penalty(losses, pixels, core)
    assert "requires_grad_" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="do not depend on the pixels"):
        saliency_penalty(losses, pixels.clone().requires_grad_(), core)


@pytest.mark.parametrize("shape", [(3, 5, 6), (1, 6, 6), (3, 1, 6, 6)])
def test_a_core_of_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="region has the shape"):
        penalty(smooth(6), uniform(3, 3, 6, 6), torch.zeros(shape))
