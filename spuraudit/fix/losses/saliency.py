"""CoRM's saliency regularisation (section 7): the loss should not react to pixels outside the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.fix.losses.gradients import energy_within, input_gradient

if TYPE_CHECKING:
    from torch import Tensor


def saliency_penalty(losses: Tensor, pixels: Tensor, core: Tensor) -> Tensor:
    """|| (1 - c) o d loss_i / d x_i ||^2, squared L2 norm over channels and pixels: (B,), with a graph.

    losses (B,): of each sample, from a pass on pixels (B, C, H, W) in [0, 1], before normalisation, that require
    gradients. core (B, H, W): c, soft in 0..1, 1 = core, where the loss may react; 1 everywhere where the core is not
    known, which gives 0. Needs a network that can be differentiated twice (`gradients.twice_differentiable`); once the
    losses are near 0 so is the penalty, whatever the network looks at. Raises UsageError as `gradients` does.
    """
    return energy_within(input_gradient(losses, pixels), 1 - core.to(pixels.dtype))
