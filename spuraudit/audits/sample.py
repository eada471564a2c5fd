"""A sample: one image after the model's geometry, with its masks, as tensors on the model's device."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from spuraudit.perturb.dilation import dilate
from spuraudit.perturb.exchange import paint_out

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.data.dataset import ImageRow
    from spuraudit.data.decode import Decoded


@dataclass(frozen=True)
class Sample:
    """pixels (3, H, W) float32 in [0, 1]; masks by feature name, (H, W) float32 in [0, 1], in the same geometry."""

    row: ImageRow
    pixels: Tensor
    masks: dict[str, Tensor]
    _dilated: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, decoded: Decoded, device: torch.device) -> Sample:
        """Move a decoded image and its masks (uint8) to the device as floats."""
        pixels = torch.tensor(decoded.pixels).to(device).permute(2, 0, 1).contiguous().float().div_(255)
        masks = {name: torch.tensor(mask).to(device).float().div_(255) for name, mask in decoded.masks.items()}
        return cls(decoded.row, pixels, masks)

    def union(self, role: str) -> Tensor | None:
        """Element-wise maximum of the masks of one role ('core' or 'spurious'); None where there is none."""
        of_role = [self.masks[mask.feature] for mask in self.row.masks if mask.role == role]
        return torch.stack(of_role).amax(dim=0) if of_role else None

    @cached_property
    def core(self) -> Tensor | None:
        """Union of the core masks."""
        return self.union("core")

    def dilated_core(self, radius: int) -> Tensor:
        """The core mask after dilation by a square of this radius; computed once."""
        if self.core is None:
            raise ValueError(f"{self.row.id} has no core mask")
        if radius not in self._dilated:
            self._dilated[radius] = dilate(self.core, radius)
        return self._dilated[radius]

    @cached_property
    def background(self) -> Tensor:
        """Where neither the object nor an annotated spurious feature is: (H, W) soft."""
        named = [mask for mask in (self.core, self.union("spurious")) if mask is not None]
        return 1 - torch.stack(named).amax(dim=0) if named else torch.ones_like(self.pixels[0])

    @cached_property
    def without_object(self) -> Tensor:
        """The image with its object painted out: what a donor lends where a spurious feature is. (3, H, W)."""
        return self.pixels if self.core is None else paint_out(self.pixels, self.core)

    @cached_property
    def bare_background(self) -> Tensor:
        """The image with its object and its annotated spurious features painted out. (3, H, W)."""
        if self.union("spurious") is None:
            return self.without_object
        return paint_out(self.pixels, 1 - self.background)
