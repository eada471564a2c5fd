"""Gradients by the pixels that can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor


def input_gradient(scores: Tensor, pixels: Tensor) -> Tensor:
    """Of each sample's score by its own pixels: (B,) and (B, C, H, W) -> (B, C, H, W), with a graph.

    It is the gradient of the sum of the scores: of a mean, each would carry 1/B, and its square 1/B^2. With batch
    normalisation in train mode, samples act on each other's scores and the gradients mix; use eval mode.
    Raises UsageError where the scores do not depend on the pixels.
    """
    if pixels.requires_grad and scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores.sum(), pixels, create_graph=True, allow_unused=True)
        if gradient is not None:
            return gradient
    raise UsageError(
        "The scores do not depend on the pixels.",
        "Call pixels.requires_grad_() before the pass, and run it with gradients.",
    )


def energy_within(gradient: Tensor, region: Tensor) -> Tensor:
    """Sum over channels and pixels of (region o gradient)^2: (B, C, H, W) and (B, H, W) in 0..1 -> (B,).

    Raises UsageError for a region of another size.
    """
    if region.shape != (len(gradient), *gradient.shape[2:]):
        raise UsageError(
            f"A region has the shape {tuple(region.shape)}; the gradients are {tuple(gradient.shape)}.",
            "Give one (H, W) region per image, of the size of its pixels.",
        )
    return (region.to(gradient.dtype).unsqueeze(1) * gradient).square().sum(dim=(1, 2, 3))


def twice_differentiable() -> AbstractContextManager[None]:
    """While open, passes use the attention that can be differentiated twice.

    The fused ones of PyTorch have no second derivative: a penalty on gradients fails in its backward, with
    'derivative for aten::_scaled_dot_product_flash_attention_for_cpu_backward is not implemented'. Open it around the
    forward pass.
    """
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context
