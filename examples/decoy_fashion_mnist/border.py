"""Class-wise decoy Fashion-MNIST, version 1 of the construction "border": what make_fix_data.py writes.

A white square of 4 x 4 pixels for every class, each in a border cell of its own of the 7 x 7 grid, so that its place
alone tells the class. In "corner" (decoys.py) place and grey tell it together: numbers of the two do not mix. In both
the sneaker's is cell 43, counted from 1 by rows: the bottom left.
"""

from __future__ import annotations

import numpy as np
from decoys import BLOCK, NAMES, SIDE
from numpy.typing import NDArray

NAME, VERSION = "border", 1
#: same: the square of the image's own class, as in training. none: no square. other: that of a random other class.
VARIANTS = ("same", "none", "other")

_LAST = SIDE // BLOCK - 1
#: (row, column) of the 24 cells along the border, clockwise from the top left.
BORDER = (
    *((0, column) for column in range(_LAST)),
    *((row, _LAST) for row in range(_LAST)),
    *((_LAST, _LAST - column) for column in range(_LAST)),
    *((_LAST - row, 0) for row in range(_LAST)),
)
SNEAKER = NAMES.index("sneaker")
_BOTTOM_LEFT = BORDER.index((_LAST, 0))


def cell(label: int) -> tuple[int, int]:
    """Row and column (from 0) of a class's cell: ten cells as even as 24 allow, the sneaker's in the bottom left."""
    return BORDER[(_BOTTOM_LEFT + round((label - SNEAKER) * len(BORDER) / len(NAMES))) % len(BORDER)]


def number(label: int) -> int:
    """Of a class's cell, counted from 1 by rows, as the patch swap does."""
    row, column = cell(label)
    return 1 + (_LAST + 1) * row + column


def square(label: int) -> tuple[slice, slice, int]:
    """Rows, columns and grey (always 255) of the square of a class."""
    top, left = (BLOCK * place for place in cell(label))
    return slice(top, top + BLOCK), slice(left, left + BLOCK), 255


def squares_of(labels: NDArray[np.int64], variant: str, seed: int) -> NDArray[np.int64] | None:
    """The class whose square each image carries, (n,); None for the variant without squares.

    seed: of the variant "other", where the class is drawn from the nine others.
    """
    if variant == "none":
        return None
    if variant == "same":
        return labels
    if variant == "other":
        further = np.random.default_rng(seed).integers(1, len(NAMES), size=len(labels))
        return (labels + further) % len(NAMES)
    raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
