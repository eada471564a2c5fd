"""What every generator of new images is asked, and what it answers; the kept region comes back bit for bit.

A generator is anything with the one method of `Generator`: composite.py (no weights), diffusion.py (diffusers).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import ndimage

from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Fact = str | int | float | bool | None

#: Width of the soft edge around the kept region, of the image's smaller side: 4 pixels of 224.
_SEAM_SHARE = 1 / 56


@dataclass(frozen=True)
class Order:
    """A new image to be made: id of the source image, index and name of the class to draw, seed.

    The class is the source's true class, which the new image is labelled with, never the wrong prediction.
    """

    source: str
    label: int
    name: str
    seed: int


@dataclass(frozen=True, eq=False)
class Scene:
    """An order with its pixels: uint8 (H, W, 3), and keep: bool (H, W), True = kept, False = drawn anew.

    core: uint8 (H, W), 255 = the source's own object, where it is known.
    Raises DataError where they do not fit, or where all is kept and nothing could be drawn.
    """

    order: Order
    pixels: NDArray[np.uint8]
    keep: NDArray[np.bool_]
    core: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or not self.pixels.size:
            raise DataError(
                f"{self.order.source}: a source image is 8-bit RGB (H, W, 3); "
                f"got {self.pixels.dtype} of shape {self.pixels.shape}."
            )
        # A mask of 0 and 255 would be kept or drawn by whatever its reader thinks of 255.
        if self.keep.dtype != np.bool_ or self.keep.shape != self.pixels.shape[:2]:
            raise DataError(
                f"{self.order.source}: a keep mask is bool of shape {self.pixels.shape[:2]}; "
                f"got {self.keep.dtype} of shape {self.keep.shape}."
            )
        if self.keep.all():
            raise DataError(
                f"{self.order.source}: the mask keeps the whole image; nothing is left to draw.",
                "Raise the threshold of the heat map, or leave the image out.",
            )


@dataclass(frozen=True, eq=False)
class Drawn:
    """A new image, uint8 (H, W, 3); core: uint8 (H, W), 255 = fully the object drawn in, None where it is unknown.

    facts: what the record says about how it was made; numbers and texts.
    """

    pixels: NDArray[np.uint8]
    core: NDArray[np.uint8] | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)


class Generator(Protocol):
    """Draws a scene's class where the scene is not kept."""

    def draw(self, scene: Scene) -> Drawn:
        """The new image, in the scene's size; kept pixels bit for bit. Equal scenes give equal images."""
        ...


def seam_of(room: tuple[int, ...]) -> int:
    """Width in pixels of the soft edge around the kept region of an image of this height and width, at least 1."""
    return max(1, round(_SEAM_SHARE * min(room[:2])))


def kept_opacity(keep: NDArray[np.bool_], seam: int) -> NDArray[np.float64]:
    """How much of the source shows: 1 where kept, falling to 0 over `seam` pixels outside: (H, W) in [0, 1].

    The soft edge lies outside only: inside, pixels would no longer be the source's.
    """
    if not keep.any():
        return np.zeros(keep.shape)
    distance = ndimage.distance_transform_edt(~keep)
    opacity: NDArray[np.float64] = np.clip(1 - distance / (seam + 1), 0, 1)
    return opacity


def paste_back(scene: Scene, drawn: NDArray[np.uint8], seam: int) -> NDArray[np.uint8]:
    """The drawn image with the scene's kept pixels put back bit for bit, blended over `seam` pixels around them.

    drawn: uint8 in the scene's size. Raises DataError for another size.
    """
    if drawn.shape != scene.pixels.shape or drawn.dtype != np.uint8:
        raise DataError(
            f"{scene.order.source}: the generator gave {drawn.dtype} of shape {drawn.shape} for an image of shape "
            f"{scene.pixels.shape}."
        )
    return blend(drawn, scene.pixels, kept_opacity(scene.keep, seam))


def blend(below: NDArray[np.uint8], above: NDArray[np.uint8], opacity: NDArray[np.float64]) -> NDArray[np.uint8]:
    """below o (1 - a) + above o a, rounded; both (H, W, 3), a: (H, W). Exact where a is 0 or 1."""
    soft = opacity[..., None]
    return np.rint(below * (1 - soft) + above * soft).astype(np.uint8)
