"""An image of which a region is exchanged for another image's, pixel by pixel.

The lender's painted-out versions are given: which pixels paint out the object is `oracles.exchange`'s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def surroundings(own: Floats, background: Floats, lender_without_object: Floats) -> Floats:
    """Own object, the lender's surroundings."""
    result = np.empty_like(own)
    for channel, row, column in np.ndindex(*own.shape):
        s = background[row, column]
        result[channel, row, column] = (1 - s) * own[channel, row, column] + s * lender_without_object[
            channel, row, column
        ]
    return result


def feature(own: Floats, mine: Floats, lender: Floats, theirs: Floats, lender_without_object: Floats) -> Floats:
    """Where either has the feature: the lender's feature, else what the lender has there without its object."""
    result = np.empty_like(own)
    for channel, row, column in np.ndindex(*own.shape):
        m, t = mine[row, column], theirs[row, column]
        lent = t * lender[channel, row, column] + (1 - t) * lender_without_object[channel, row, column]
        s = max(m, t)
        result[channel, row, column] = (1 - s) * own[channel, row, column] + s * lent
    return result


def bare(own: Floats, mine: Floats, lender_without_both: Floats) -> Floats:
    """Where the image has the feature: what the lender has there without its object and its feature."""
    return surroundings(own, mine, lender_without_both)
