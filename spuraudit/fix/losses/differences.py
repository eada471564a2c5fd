"""The gradient of CoRM's saliency penalty without second derivatives.

With g_i = d loss_i / d x_i and v = (1 - c)^2 o g held fixed, the penalty's gradient is a directional derivative of the
plain one, G(x) = d/d(parameters) of the summed losses:

    d/d(parameters) sum_i ||(1 - c) o g_i||^2 = 2 d/d(parameters) <g, v> = 2 d/d(eps) G(x + eps v)
        ~ 2 (G(x + eps v) - G(x)) / eps                      one-sided: one pass more than a plain step
        ~   (G(x + eps v) - G(x - eps v)) / eps              central: two more

It holds for networks that are smooth. Each unit of a ReLU and each window of a max-pool that switches between the two
points is a jump in G, divided by eps: there the result is noise. So measure on the first batch, with `agreement` of
`by_differences` and `by_double_backward`, and use the latter where they differ.

A training loop hands an objective `backward(loss)`, which adds to .grad. The gradients here come as tensors, since G(x)
and g come out of one backward pass, and G(x) is needed twice. `as_loss` makes them a loss for `backward` again:

    found = by_differences(loss_sum, pixels, core, parameters)
    backward(as_loss(parameters, found.mixed(1 / len(pixels), weight / len(pixels))))     # of both means
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from spuraudit.errors import UsageError
from spuraudit.fix.losses.gradients import energy_within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    LossSum = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Gradients:
    """Two sums over the batch, and what each does to the parameters, in their order. Nothing here has a graph."""

    #: Scalars: the losses, and ||(1 - c) o g||^2, summed over the batch.
    losses: Tensor
    penalty: Tensor
    of_losses: list[Tensor]
    of_penalty: list[Tensor]

    def mixed(self, of_losses: float, of_penalty: float) -> list[Tensor]:
        """Of of_losses * losses + of_penalty * penalty."""
        pairs = zip(self.of_losses, self.of_penalty, strict=True)
        return [plain * of_losses + extra * of_penalty for plain, extra in pairs]


class Agreement(NamedTuple):
    """How an estimate of a gradient compares with the exact one, over all parameters as one vector."""

    cosine: float
    #: Length of the estimate over that of the exact one.
    ratio: float


def by_differences(
    loss_sum: LossSum,
    pixels: Tensor,
    core: Tensor,
    parameters: Sequence[Tensor],
    *,
    rms: float = 3e-4,
    central: bool = False,
) -> Gradients:
    """Plain gradients, and those of the saliency penalty by finite differences.

    loss_sum: (B, C, H, W) pixels -> the sum, not the mean, of the samples' losses; called twice, thrice if central. In
    float32 or float64, without autocast. Dropout draws the same numbers in every call; batch normalisation should be in
    eval mode, or its statistics take in the shifted images too. pixels in [0, 1]; core (B, H, W) as of
    `saliency_penalty`. rms: root mean square of eps v over the batch, in units of the pixels; one eps for all samples,
    since one for each would weigh them differently. The default was the best compromise of rounding (smaller) and
    curvature (larger) for vit_tiny and efficientnet_b0 in float32. .grad is neither read nor written.
    Raises UsageError for a core of another size, and where the losses do not depend on the pixels.
    """
    state = _random_state(pixels)
    loss, gradient, plain = _first_pass(loss_sum, pixels, parameters, create_graph=False)
    outside = 1 - core.to(gradient.dtype)
    penalty = energy_within(gradient, outside).sum()
    direction = outside.square().unsqueeze(1) * gradient
    length = float(direction.square().mean().sqrt())
    if length == 0:
        return Gradients(loss, penalty, plain, [torch.zeros_like(parameter) for parameter in parameters])
    eps = rms / length

    def shifted(step: float) -> list[Tensor]:
        _set_random_state(state, pixels)
        moved = loss_sum(pixels.detach() + step * direction)
        return _filled(torch.autograd.grad(moved, list(parameters), allow_unused=True), parameters)

    ahead = shifted(eps)
    behind = shifted(-eps) if central else plain
    factor = (1 if central else 2) / eps
    return Gradients(loss, penalty, plain, [(a - b) * factor for a, b in zip(ahead, behind, strict=True)])


def by_double_backward(loss_sum: LossSum, pixels: Tensor, core: Tensor, parameters: Sequence[Tensor]) -> Gradients:
    """The same exactly, through second derivatives. Arguments and errors as of `by_differences`.

    The network must be differentiable twice: see `gradients.twice_differentiable`.
    """
    loss, gradient, plain = _first_pass(loss_sum, pixels, parameters, create_graph=True)
    penalty = energy_within(gradient, 1 - core.to(gradient.dtype)).sum()
    found = torch.autograd.grad(penalty, list(parameters), allow_unused=True)
    return Gradients(loss, penalty.detach(), plain, _filled(found, parameters))


def as_loss(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A scalar whose gradient by each parameter is the given one, for loops that only take losses. Its value is 0."""
    terms = [((p - p.detach()) * g).sum() for p, g in zip(parameters, gradients, strict=True)]
    return torch.stack(terms).sum()


def agreement(exact: Sequence[Tensor], estimate: Sequence[Tensor]) -> Agreement:
    """Cosine and ratio of lengths, in float64. Two gradients of zeros agree; of one alone the cosine is 0."""
    first = torch.cat([gradient.detach().double().flatten() for gradient in exact])
    second = torch.cat([gradient.detach().double().flatten() for gradient in estimate])
    lengths = float(first.norm()), float(second.norm())
    if lengths == (0.0, 0.0):
        return Agreement(1.0, 1.0)
    if 0.0 in lengths:
        return Agreement(0.0, 0.0 if lengths[1] == 0 else float("inf"))
    return Agreement(float(first @ second) / (lengths[0] * lengths[1]), lengths[1] / lengths[0])


def _first_pass(
    loss_sum: LossSum, pixels: Tensor, parameters: Sequence[Tensor], *, create_graph: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The losses, their gradient by the pixels (with a graph if asked for), and by the parameters."""
    pixels = pixels.detach().requires_grad_()
    loss = loss_sum(pixels)
    wanted = [pixels, *parameters]
    found = torch.autograd.grad(loss, wanted, create_graph=create_graph, allow_unused=True)
    if found[0] is None:
        raise UsageError("The losses do not depend on the pixels.", "Compute them from the pixels that are passed in.")
    return loss.detach(), found[0], [gradient.detach() for gradient in _filled(found[1:], parameters)]


def _filled(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor]:
    """A parameter that the losses do not use has the gradient 0."""
    pairs = zip(gradients, parameters, strict=True)
    return [torch.zeros_like(parameter) if gradient is None else gradient for gradient, parameter in pairs]


def _random_state(pixels: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(pixels.device) if pixels.is_cuda else torch.get_rng_state()


def _set_random_state(state: Tensor, pixels: Tensor) -> None:
    if pixels.is_cuda:
        torch.cuda.set_rng_state(state, pixels.device)
    else:
        torch.set_rng_state(state)
