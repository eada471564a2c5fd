"""Grad-CAM, restated slowly from Selvaraju et al. 2017, equations 1 and 2: one image, sums written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def slow_grad_cam(body: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], x: Tensor, number: int) -> Tensor:
    """(1, 3, H, W) network input -> (rows, columns): ReLU of the weighted sum of the feature maps A^k.

    body: input -> A (1, K, rows, columns); head: A -> logits (1, C).
    """
    maps = body(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(head(maps)[0, number], maps)
    _, channels, rows, columns = maps.shape
    heat = torch.zeros(rows, columns, dtype=torch.float64)
    for k in range(channels):
        alpha = 0.0  # equation 1: the mean over places of d y^c / d A^k_ij
        for i in range(rows):
            for j in range(columns):
                alpha += float(gradient[0, k, i, j]) / (rows * columns)
        heat += alpha * maps[0, k].detach().double()  # equation 2
    return heat.clamp(min=0)
