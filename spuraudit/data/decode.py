"""From bytes to pixels: one photo and its masks, decoded once and put through one geometry.

Photos of any PIL mode become 8-bit RGB; masks become 8-bit soft maps. What cannot be read for certain is refused: an
audit on half a photo, or on a mask whose palette was guessed, gives numbers that nobody can trust.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageFile

from spuraudit.data.geometry import LARGEST_IMAGE, Fill, geometry_for, place, place_crop_mask
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from spuraudit.data.dataset import Dataset, ImageRow, MaskRow
    from spuraudit.record.geometry import Geometry

# Others (EPS, PDF, ...) run programs or hold no photo. A suffix may lie: ImageNet has PNGs named .JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Grey stored as colour JPEG comes back with channels that differ by rounding.
_GREY_TOLERANCE = 2


@dataclass(frozen=True, eq=False)
class Decoded:
    """One image in the model's geometry.

    pixels: uint8 (H, W, 3) RGB. masks: name of the feature -> uint8 (H, W), 255 = fully the feature.
    """

    row: ImageRow
    pixels: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.uint8]]

    @property
    def core(self) -> NDArray[np.uint8] | None:
        """Union (element-wise maximum) of the core masks, uint8 (H, W); None where the image has none."""
        union: NDArray[np.uint8] | None = None
        for mask in self.row.masks:
            if mask.role == "core":
                pixels = self.masks[mask.feature]
                union = pixels if union is None else np.maximum(union, pixels)
        return union


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as it is displayed (RGB), and how it was stored: (width, height) and EXIF orientation 1..8."""

    image: Image.Image
    stored_size: tuple[int, int]
    orientation: int


def decode(dataset: Dataset, row: ImageRow, geometry: Geometry, *, fill: Fill = 0) -> Decoded:
    """Read a row's photo and masks and put both through the geometry.

    Where the dataset fixes the crop (`geometry_for`), that geometry is used. Masks are resized antialiased bilinear
    whatever the photo's filter; `fill` is the photo's padding in crop mode `border`, masks are padded with 0.
    Safe to call from many threads. Raises DataError naming the file.
    """
    geometry = geometry_for(dataset, geometry)
    photo = read_photo(dataset, row)
    try:
        # copies: what PIL lends is read-only, which tensors warn about
        pixels = np.array(place(photo.image, geometry, fill=fill))
    except DataError as error:
        raise _named(dataset.sources[row.source].describe(row.path), error) from error
    masks: dict[str, NDArray[np.uint8]] = {}
    for mask in row.masks:
        image = read_mask(dataset, mask, photo)
        if mask.frame == "photo":
            placed = place(image, geometry, interpolation="bilinear")
        else:
            placed = place_crop_mask(image, geometry)
        masks[mask.feature] = np.array(placed)
    return Decoded(row, pixels, masks)


def read_photo(dataset: Dataset, row: ImageRow) -> Photo:
    """A row's photo, upright and RGB, in its own size. Raises DataError naming the file."""
    source = dataset.sources[row.source]
    return photo_from(source.read(row.path), source.describe(row.path))


def photo_from(content: bytes, name: str) -> Photo:
    """Decode a photo from bytes. `name` is the file in messages. Raises DataError."""
    image = _load(content, name)
    stored = image.size
    orientation = _orientation(image)
    try:
        rgb = _to_rgb(image, name)
    except ValueError as error:  # a colour space that PIL knows but cannot convert, such as LAB
        raise DataError(f"{name}: colours of mode {image.mode} cannot be read.", "Save the image as RGB.") from error
    return Photo(_turned(rgb, orientation), stored, orientation)


def read_mask(dataset: Dataset, mask: MaskRow, photo: Photo) -> Image.Image:
    """A mask as 8-bit soft map (mode L): in the displayed photo's size (frame `photo`), or in its crop's own.

    A mask that fits the photo only as stored, before its EXIF rotation, is rotated like the photo.
    Raises DataError naming the file, and both sizes where they differ.
    """
    source = dataset.sources[mask.source]
    name = source.describe(mask.path)
    stored = _load(source.read(mask.path), name)
    image = _turned(_to_grey(stored, name), _orientation(stored))
    if mask.frame == "crop":
        if image.width != image.height:
            raise DataError(
                f"{name}: a mask in the published crop must be square; this one has {image.width} x {image.height} "
                "pixels.",
                "Restore the mask from the release.",
            )
        return image
    if image.size == photo.image.size:
        return image
    if image.size == photo.stored_size:
        return _turned(image, photo.orientation)
    raise DataError(
        f"{name}: the mask has {image.width} x {image.height} pixels, its photo has {photo.image.width} x "
        f"{photo.image.height}.",
        "A mask must have the size of its photo. Resize it (smoothly, not nearest-neighbour), or mend the masks: "
        "template if it belongs to another photo.",
    )


def _load(content: bytes, name: str) -> Image.Image:
    # Other packages switch this on for good; half a photo is then silently grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    hint = "Restore the file from its origin, or take the image out of the dataset."
    if not content:
        raise DataError(f"{name}: the file is empty.", hint)
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        pixels = image.width * image.height
    except Image.DecompressionBombError as error:
        raise _bomb(name, "more than 178") from error
    except _UNREADABLE as error:
        raise DataError(f"{name}: not an image that can be read (JPEG, PNG, WebP, BMP, TIFF, GIF).", hint) from error
    if pixels > LARGEST_IMAGE:
        raise _bomb(name, f"{image.width} x {image.height} = {pixels / 1e6:.0f}")
    try:
        image.load()
    except _UNREADABLE as error:
        raise DataError(f"{name}: the image is damaged or cut off ({error}).", hint) from error
    return image


def _bomb(name: str, pixels: str) -> DataError:
    return DataError(
        f"{name}: {pixels} million pixels, more than the {LARGEST_IMAGE // 10**6} million allowed (a decompression "
        "bomb, or a scan of unusual size).",
        "Scale the photo and its masks down (models look at a few hundred pixels a side), or take it out.",
    )


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _UNREADABLE:  # broken EXIF does not spoil the pixels
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image, name).convert("RGB")
    if image.has_transparency_data:
        # As a viewer shows it: what lies under full transparency is often garbage.
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise DataError(
            f"{name}: pixels of {'32-bit floats' if image.mode == 'F' else '32-bit integers'} have no known range.",
            "Save it with 8 or 16 bits per channel.",
        )
    return Image.fromarray(np.round(values / 257.0).astype(np.uint8))


def _to_grey(image: Image.Image, name: str) -> Image.Image:
    grey = _one_channel(image, name)
    if image.format != "JPEG" and grey.getextrema() in ((0, 1), (1, 1)):
        raise DataError(
            f"{name}: holds 0 and 1 only; in a mask 255 means fully the feature.", "Multiply the mask by 255."
        )
    return grey


def _one_channel(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("L", "1"):
        return image.convert("L")
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image, name)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            raise DataError(
                f"{name}: the mask has transparent pixels; which of colour and transparency is the mask?",
                "Save it as 8-bit greyscale, 255 = fully the feature.",
            )
        image = rgba
    channels = np.asarray(image.convert("RGB")).astype(np.int16)
    if int((channels.max(axis=2) - channels.min(axis=2)).max(initial=0)) > _GREY_TOLERANCE:
        raise DataError(
            f"{name}: the mask is coloured ({'a palette' if image.mode == 'P' else image.mode}); which colour is the "
            "feature?",
            "Save one 8-bit greyscale mask per feature, 255 = fully the feature.",
        )
    return Image.fromarray(channels[..., 1].astype(np.uint8))


def _named(name: str, error: DataError) -> DataError:
    return DataError(f"{name}: {error.message}", error.hint)
