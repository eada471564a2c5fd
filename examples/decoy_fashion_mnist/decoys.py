"""Class-wise decoy Fashion-MNIST, version 1 of the construction "corner": what make_data.py and train.py share.

Hagos et al. 2022 put a 4 x 4 square "in the same image regions across the same class" and publish neither files nor
code. What is fixed here agrees with all that is printed there: ten classes share four corners, so that the square of
a class is told by its place and its grey together, and the sneaker's is cell 43 of the 7 x 7 grid of 4 x 4 cells.
border.py holds another construction, and takes files and drawing from here.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VERSION = 1
#: In the order of the labels 0 to 9. "t-shirt" is the original's "T-shirt/top".
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SIDE, BLOCK = 28, 4
#: (top, left) of the square of a class: corner number (label mod 4), clockwise from the top left.
CORNERS = ((0, 0), (0, SIDE - BLOCK), (SIDE - BLOCK, SIDE - BLOCK), (SIDE - BLOCK, 0))
#: aligned: every image carries the square of its own class, as in training. random: of a class drawn at random.
VARIANTS = ("aligned", "random", "none")

_IMAGES, _LABELS = 2051, 2049  # magic numbers: unsigned bytes in three dimensions, in one
_KINDS = {_IMAGES: "an IDX file of images", _LABELS: "an IDX file of labels"}


#: A class -> rows, columns and grey of its square: what a construction is.
SquareOf = Callable[[int], tuple[slice, slice, int]]


class InputError(Exception):
    """What is wrong with the input, in one line for people."""


class Split(NamedTuple):
    """pictures: (n, 28, 28) uint8, 0 = background. labels: (n,) int64, 0 to 9."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load_split(folder: Path, split: str) -> Split:
    """One split of the original files, in file order. split: "train" (60,000 images) or "t10k" (10,000)."""
    pictures_file, labels_file = folder / f"{split}-images-idx3-ubyte.gz", folder / f"{split}-labels-idx1-ubyte.gz"
    pictures, labels = _read_idx(pictures_file, _IMAGES), _read_idx(labels_file, _LABELS)
    if pictures.shape[1:] != (SIDE, SIDE):
        size = " x ".join(map(str, pictures.shape[1:]))
        raise InputError(f"{pictures_file} holds images of {size} pixels; Fashion-MNIST has {SIDE} x {SIDE}")
    if len(pictures) != len(labels):
        raise InputError(f"{len(pictures)} images in {pictures_file}, but {len(labels)} labels in {labels_file}")
    if len(labels) == 0:
        raise InputError(f"{labels_file} holds no labels")
    if labels.max() >= len(NAMES):
        raise InputError(f"{labels_file}: labels must be 0 to {len(NAMES) - 1}; the largest is {labels.max()}")
    return Split(pictures, labels.astype(np.int64))


def _read_idx(file: Path, magic: int) -> NDArray[np.uint8]:
    """All values of a gzipped IDX file: four bytes of magic, four per dimension (big-endian), then the bytes."""
    if not file.is_file():
        raise InputError(f"{file} not found: --mnist must name the folder of the four .gz files of Fashion-MNIST")
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} is no whole gzip file ({error}): fetch it again") from None
    dimensions = magic & 0xFF
    header = np.frombuffer(content, dtype=">u4", count=min(1 + dimensions, len(content) // 4))
    if len(header) == 0:
        raise InputError(f"{file} is not {_KINDS[magic]}: it is empty")
    found = int(header[0])
    if found != magic:
        what = _KINDS.get(found, f"not {_KINDS[magic]}")
        raise InputError(f"{file} is {what}: its first number is {found}, expected {magic}")
    shape = tuple(int(size) for size in header[1:])
    values = np.frombuffer(content, dtype=np.uint8)[4 * (1 + dimensions) :]
    promised = int(np.prod(shape, dtype=object))
    if len(shape) != dimensions or len(values) != promised:
        raise InputError(f"{file} promises {' x '.join(map(str, shape)) or 0} values and holds {len(values):,}")
    return values.reshape(shape)


def square(label: int) -> tuple[slice, slice, int]:
    """Rows, columns and grey (255 down to 30) of the square of a class."""
    top, left = CORNERS[label % len(CORNERS)]
    return slice(top, top + BLOCK), slice(left, left + BLOCK), 255 - 25 * label


def squares_of(labels: NDArray[np.int64], variant: str, seed: int) -> NDArray[np.int64] | None:
    """The class whose square each image carries, (n,); None for the variant without squares.

    seed: of the variant "random", where the class is drawn from all ten, the image's own among them. The draws go by
    the order of the images: draw for a whole split, then choose.
    """
    if variant == "none":
        return None
    if variant == "aligned":
        return labels
    if variant == "random":
        return np.random.default_rng(seed).integers(len(NAMES), size=len(labels))
    raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")


def with_squares(
    pictures: NDArray[np.uint8], carried: NDArray[np.int64] | None, square_of: SquareOf = square
) -> NDArray[np.uint8]:
    """Copies of the images in which the square of class carried[i] replaces what was there."""
    shown = pictures.copy()
    if carried is not None:
        for label in range(len(NAMES)):
            rows, columns, grey = square_of(label)
            shown[carried == label, rows, columns] = grey
    return shown


def square_mask(label: int, square_of: SquareOf = square) -> NDArray[np.uint8]:
    """(28, 28): 255 where a class has its square, else 0."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    rows, columns, _ = square_of(label)
    mask[rows, columns] = 255
    return mask


def garment_mask(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(28, 28): 255 where the image without a square is not black, else 0."""
    return np.where(picture > 0, 255, 0).astype(np.uint8)
