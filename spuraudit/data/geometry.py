"""A model's evaluation geometry, for photos and masks alike: the same resize, the same crop, nothing in between.

The arithmetic is that of timm's `transforms_imagenet_eval` (timm/data/transforms_factory.py) on PIL images, with
torchvision's rounding: the long side is truncated, crop offsets are rounded half to even. `tests/data` compares the
two pixel by pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from spuraudit.errors import DataError

if TYPE_CHECKING:
    from spuraudit.data.dataset import Dataset
    from spuraudit.record.geometry import Geometry, Interpolation

Size = tuple[int, int]
Fill = int | tuple[int, int, int]

#: Pixels of a photo, and of any stage of its resize. A strip of 1 x 100,000 would grow to gigabytes.
LARGEST_IMAGE = 100_000_000

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def place(
    image: Image.Image, geometry: Geometry, *, interpolation: Interpolation | None = None, fill: Fill = 0
) -> Image.Image:
    """Resize and crop an image of any mode to the geometry's (width, height).

    `interpolation` overrides the geometry's (masks are always bilinear); PIL's filters are antialiased. `fill` is the
    value of padding: crop mode `border` of timm pads with the mean colour, `center` with black.
    Raises DataError where the image is so elongated that the resized one would exceed LARGEST_IMAGE pixels.
    """
    size = resized_size(image.size, geometry)
    if size[0] * size[1] > LARGEST_IMAGE:
        raise DataError(
            f"{image.width} x {image.height} pixels: too elongated, it would be resized to {size[0]} x {size[1]}.",
            "Remove the image, or crop it and its masks to a usual shape.",
        )
    if size != image.size:
        image = image.resize(size, _RESAMPLING[interpolation or geometry.interpolation])
    return _crop_or_pad(image, (geometry.width, geometry.height), fill if geometry.crop_mode == "border" else 0)


def place_crop_mask(mask: Image.Image, geometry: Geometry) -> Image.Image:
    """Resize a mask that was published in the model's crop (frame `crop`) to the input size; it is not cropped again.

    mask: square, any size (Salient ImageNet: 224 x 224). Raises DataError where mask or input are not square.
    """
    if mask.width != mask.height or geometry.width != geometry.height:
        raise DataError(
            f"A mask of {mask.width} x {mask.height} pixels, published in a square crop, does not fit an input of "
            f"{geometry.width} x {geometry.height}.",
            "Use a square input size with this dataset (--img-size).",
        )
    size = (geometry.width, geometry.height)
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)


def geometry_for(dataset: Dataset, geometry: Geometry) -> Geometry:
    """The geometry that the dataset's masks allow; the same object where it is free.

    Masks published in a crop's frame cover nothing outside it, so the model's own crop fraction gives way: for Salient
    ImageNet the shorter side becomes round(input * 256 / 224) and the centre is cut out, as its authors did at 224.
    """
    if dataset.fixed_crop_pct is None:
        return geometry
    if geometry.width != geometry.height:
        raise DataError(
            f"{dataset.name}: its masks lie in a square crop; the model's input is {geometry.width} x "
            f"{geometry.height}.",
            "Use a square input size with this dataset (--img-size).",
        )
    side = geometry.height
    resized = round(side / dataset.fixed_crop_pct)
    crop_pct = dataset.fixed_crop_pct if math.floor(side / dataset.fixed_crop_pct) == resized else side / resized
    while math.floor(side / crop_pct) < resized:
        crop_pct = math.nextafter(crop_pct, 0.0)
    return geometry.model_copy(update={"crop_pct": crop_pct, "crop_mode": "center"})


def resized_size(size: Size, geometry: Geometry) -> Size:
    """(width, height) after the resize, before the crop, of an image of `size` = (width, height)."""
    width, height = size
    target_width = math.floor(geometry.width / geometry.crop_pct)
    target_height = math.floor(geometry.height / geometry.crop_pct)
    if geometry.crop_mode == "squash":
        return target_width, target_height
    if geometry.crop_mode == "center" and target_width == target_height:
        grown = int(target_width * max(size) / min(size))
        return (target_width, grown) if width <= height else (grown, target_width)
    ratios = (height / target_height, width / target_width)
    ratio = max(ratios) if geometry.crop_mode == "border" else min(ratios)
    return max(round(width / ratio), 1), max(round(height / ratio), 1)


def _crop_or_pad(image: Image.Image, size: Size, fill: Fill) -> Image.Image:
    width, height = size
    pad_left = max(width - image.width, 0) // 2
    pad_top = max(height - image.height, 0) // 2
    full = (max(image.width, width), max(image.height, height))
    if full != image.size:
        canvas = Image.new(image.mode, full, fill if image.mode == "RGB" or isinstance(fill, int) else 0)
        canvas.paste(image, (pad_left, pad_top))
        image = canvas
    left = round((image.width - width) / 2.0)
    top = round((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))
