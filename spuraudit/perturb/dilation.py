"""Dilation of soft masks: the CoRM paper's fifteen 5x5 maximum filters as one square maximum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

PAPER_ITERATIONS = 15
PAPER_K = 2
PAPER_SIZE = 224


def radius_for(size: int, iterations: int = PAPER_ITERATIONS, k: int = PAPER_K) -> int:
    """Radius in pixels at an input of `size` pixels: iterations x k at 224 (30: a 61-wide square), scaled, rounded."""
    return round(iterations * k * size / PAPER_SIZE)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Maximum over the (2 radius + 1)-wide square around each pixel, inside the image: (H, W) -> (H, W), soft.

    Equal to `iterations` maxima of width 2k+1 with radius = iterations x k (CoRM section 6.1), for any soft mask.
    """
    if radius == 0:
        return mask.clone()
    width = 2 * radius + 1
    # scipy's running maximum costs the same at every width; twenty times faster than pooling on the CPU.
    return _running_maximum(mask, width) if mask.device.type == "cpu" else _pooled_maximum(mask, width)


def _running_maximum(mask: Tensor, width: int) -> Tensor:
    return torch.from_numpy(ndimage.maximum_filter(mask.numpy(), size=width, mode="constant", cval=0.0))


def _pooled_maximum(mask: Tensor, width: int) -> Tensor:
    radius = width // 2
    padded = F.pad(mask[None, None], (radius, radius, radius, radius), value=0.0)
    rows = F.max_pool2d(padded, (width, 1), stride=1)
    return F.max_pool2d(rows, (1, width), stride=1)[0, 0]
