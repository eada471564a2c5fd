"""Right for the right reasons: the explanation must vanish on a marked region, of input gradients or of Grad-CAM.

A region is 1 where the explanation is forbidden: the spurious region, not the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch

from spuraudit.errors import UsageError, did_you_mean
from spuraudit.fix.losses.gradients import energy_within, input_gradient

if TYPE_CHECKING:
    from torch import Tensor

#: max: by the largest magnitude, which is held fixed. none: as it is. min-max: from the smallest to the largest value.
MapNorm = Literal["max", "none", "min-max"]


def log_probability_penalty(log_probabilities: Tensor, pixels: Tensor, region: Tensor) -> Tensor:
    """Sum over channels and pixels of (M o d/dx sum_k log p_k)^2: (B,), with a graph (Ross et al. 2017, equation 1).

    log_probabilities (B, K), from a pass on pixels (B, C, H, W) in [0, 1] that require gradients; region (B, H, W): M,
    soft in 0..1, 1 = forbidden. Of all classes, not of the true one alone. The authors' code halves it
    (`tf.nn.l2_loss`). It grows without bound where a model is sure of itself: log p of the other classes falls with
    every logit. Raises UsageError as `gradients` does.
    """
    return energy_within(input_gradient(log_probabilities.sum(dim=1), pixels), region)


def random_logits_penalty(logits: Tensor, pixels: Tensor, region: Tensor, signs: Tensor) -> Tensor:
    """Sum over channels and pixels of (M o d/dx sum_k s_k z_k)^2: (B,), with a graph.

    signs (B, K): s, +1 or -1, drawn anew for each image and step. Its mean over draws is the sum over all logits of the
    squared norms of their gradients in the region, at the price of one. Not published: it does not fade as the
    probabilities saturate, and does not blow up as the sum of log-probabilities does. The rest as of
    `log_probability_penalty`.
    """
    return energy_within(input_gradient((signs.to(logits.dtype) * logits).sum(dim=1), pixels), region)


def map_penalty(maps: Tensor, region: Tensor, norm: MapNorm = "max") -> Tensor:
    """Mean over the cells of (M o norm(map))^2: (B,) (Hagos et al., equation 2, `L_E`, with the mean for the sum).

    maps (B, rows, columns): `explain.activation_maps`, with a graph; region (B, rows, columns): M, soft in 0..1, 1 =
    forbidden, `on_cells` of a mask. The paper does not say what norm is: see `normalised`. A map that is 0 gives 0 with
    gradient 0, so that a network whose map does not see the region learns nothing: watch the value.
    Raises UsageError for a region of another size and for an unknown norm.
    """
    if region.shape != maps.shape:
        raise UsageError(
            f"The region has the shape {tuple(region.shape)}, the maps {tuple(maps.shape)}.",
            "Bring masks to the map's cells with `on_cells`.",
        )
    return (region.to(maps.dtype) * normalised(maps, norm)).square().mean(dim=(1, 2))


def normalised(maps: Tensor, norm: MapNorm, eps: float = 1e-6) -> Tensor:
    """(B, rows, columns) scaled image by image.

    'max': over (its largest magnitude + eps), which counts as a constant: with a gradient through it, a map that lies
    in the region alone would have none. 'min-max': minus its smallest value, then over
    (what is largest now + eps), with gradients through both, as in the code of Friedrich et al. 2023; without ReLU, no
    evidence is then above 0, and the strongest evidence against the class is the goal.
    Raises UsageError for other words.
    """
    if norm not in get_args(MapNorm):
        raise UsageError(
            f"The norm {norm!r} is unknown.", did_you_mean(norm, get_args(MapNorm)) or "Use max, none or min-max."
        )
    if norm == "none":
        return maps
    if norm == "max":
        return maps / (maps.detach().abs().amax(dim=(1, 2), keepdim=True) + eps)
    lifted = maps - maps.amin(dim=(1, 2), keepdim=True)
    return lifted / (lifted.amax(dim=(1, 2), keepdim=True) + eps)


def on_cells(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean of a mask over the area of each cell: (B, H, W) -> (B, rows, columns); size = (rows, columns).

    Cells are equal parts of the image. A pixel on the border of cells counts in each by the part that lies in it, so
    the mean of the mask is kept at every size.
    """
    masks = masks if masks.is_floating_point() else masks.float()
    return _shares(size[0], masks.shape[1], masks) @ masks @ _shares(size[1], masks.shape[2], masks).T


def _shares(cells: int, pixels: int, like: Tensor) -> Tensor:
    """(cells, pixels): which part of a cell's length a pixel takes."""
    start = torch.arange(cells, device=like.device, dtype=like.dtype)[:, None] * (pixels / cells)
    pixel = torch.arange(pixels, device=like.device, dtype=like.dtype)[None]
    overlap = (start + pixels / cells).minimum(pixel + 1) - start.maximum(pixel)
    return overlap.clamp_min(0) * (cells / pixels)
