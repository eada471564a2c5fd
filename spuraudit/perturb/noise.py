"""Gaussian noise inside a soft region (CoRM section 6.1, Salient ImageNet section 5)."""

from __future__ import annotations

import torch
from torch import Tensor


def add_noise(
    pixels: Tensor,
    region: Tensor,
    z: Tensor,
    sigma: Tensor | float,
    *,
    clamp: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """x* = x + sigma (region o z), in [0, 1] pixels before normalisation, clamped to [0, 1] by default.

    pixels (..., 3, H, W) in [0, 1]; region (..., H, W) soft in [0, 1], 1 = fully noised, same for the three
    channels; z standard normal, broadcastable to pixels; sigma a number, or a tensor broadcastable to pixels; out
    takes the result, which is also returned.
    """
    # One large tensor in one step: noise is bound by memory, and is added beside a busy network.
    noised = torch.addcmul(pixels, region.unsqueeze(-3) * sigma, z, out=out)
    return noised.clamp_(0, 1) if clamp else noised


def energy(before: Tensor, after: Tensor) -> Tensor:
    """L2 norm over channels and pixels of what a perturbation changed: (..., 3, H, W), broadcast together -> (...)."""
    norm: Tensor = torch.linalg.vector_norm(after - before, dim=(-3, -2, -1))
    return norm
