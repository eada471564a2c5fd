"""Exchange of regions between images: region swap (soft masks) and patch swap (grid cells)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

#: Soft rims still show the object: everything that is not clearly surroundings counts as it.
OBJECT_ABOVE = 0.1


class GridCell(NamedTuple):
    """A cell of a grid over the input; `number`, `row`, `column` are 1-based, row-major (Hagos et al., figure 2)."""

    number: int
    row: int
    column: int
    top: int
    left: int
    bottom: int
    right: int


class Grid(NamedTuple):
    """Square cells of `patch` pixels; the last row and column are smaller where the input is not divisible."""

    rows: int
    columns: int
    cells: tuple[GridCell, ...]


def grid(height: int, width: int, patch: int) -> Grid:
    """The grid of `patch`-pixel cells over a (height, width) input."""
    tops, lefts = range(0, height, patch), range(0, width, patch)
    cells = [
        GridCell(r * len(lefts) + c + 1, r + 1, c + 1, top, left, min(top + patch, height), min(left + patch, width))
        for r, top in enumerate(tops)
        for c, left in enumerate(lefts)
    ]
    return Grid(len(tops), len(lefts), tuple(cells))


def paste_cell(image: Tensor, donor: Tensor, cell: GridCell) -> None:
    """Overwrite one cell of the image with the donor's at the same place: (3, H, W) twice."""
    area = (slice(None), slice(cell.top, cell.bottom), slice(cell.left, cell.right))
    image[area] = donor[area]


def swap_region(pixels: Tensor, region: Tensor, donor: Tensor) -> Tensor:
    """x* = x o (1 - s) + fill(d) o s: pixels and donor (..., 3, H, W) in [0, 1], region s (..., H, W) soft."""
    soft = region.unsqueeze(-3)
    return pixels * (1 - soft) + donor * soft


def paint_out(pixels: Tensor, mask: Tensor) -> Tensor:
    """The image without its object: object pixels (mask > 0.1) become their mirror image in the surroundings.

    Each object pixel takes the pixel as far outside the object's border as it lies inside; where that falls on the
    object again or out of the image, the border pixel itself. (3, H, W), (H, W) -> (3, H, W). An image without any
    surroundings becomes its own mean colour.
    """
    inside = (mask > OBJECT_ABOVE).cpu().numpy()
    if not inside.any():
        return pixels.clone()
    if inside.all():
        return pixels.mean(dim=(-2, -1), keepdim=True).expand_as(pixels).clone()
    nearest = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    here = np.indices(inside.shape)
    mirror = 2 * nearest - here
    height, width = inside.shape
    valid = (mirror[0] >= 0) & (mirror[0] < height) & (mirror[1] >= 0) & (mirror[1] < width)
    clipped = np.clip(mirror, 0, np.array([height - 1, width - 1])[:, None, None])
    valid &= ~inside[clipped[0], clipped[1]]
    rows, columns = np.where(valid, clipped, nearest)
    index = torch.from_numpy(rows * width + columns).to(pixels.device)
    return pixels.flatten(-2)[:, index.flatten()].view_as(pixels)
