"""What of a misclassified image is kept: where its Grad-CAM++ map for the wrong class is high (SCGS, section II.D).

Where the image's own object is marked, it is not kept: it is what the new image shows elsewhere, not what misled.

Polarity: True is kept and False is drawn anew, as in the paper (white and black). Others differ, see diffusion.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spuraudit.errors import DataError, UsageError
from spuraudit.perturb.exchange import OBJECT_ABOVE

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: "Red and orange" in OpenCV's JET map: orange starts at 0.69, red at 0.82.
THRESHOLD = 0.7
ALMOST_ALL = 0.8


@dataclass(frozen=True, eq=False)
class KeptRegion:
    """mask: bool (H, W), True = kept. share: of the pixels, 0..1. warning: what is odd about the share, or None."""

    mask: NDArray[np.bool_]
    share: float
    warning: str | None


def keep_mask(
    heat: NDArray[np.floating[Any]], threshold: float = THRESHOLD, core: NDArray[np.floating[Any]] | None = None
) -> KeptRegion:
    """Keep where heat >= threshold: a map (H, W) in [0, 1], scaled per image, as `explain.grad_cam` gives it.

    core: (H, W) in [0, 1], the image's own object, where it is known; no pixel of it is kept.

    Grad-CAM++ maps are broad: a mask of more than 0.8 leaves little room for the class that is to be drawn in, and one
    of 0 keeps nothing that misled the model.
    Raises DataError for a map that is empty, not finite or out of [0, 1], UsageError for a threshold out of (0, 1].
    """
    if not 0 < threshold <= 1:
        raise UsageError(
            f"The threshold {threshold} of the heat map is out of range.", "Use more than 0 and at most 1."
        )
    if heat.ndim != 2 or heat.size == 0:
        raise DataError(f"A heat map has height and width; got the shape {heat.shape}.")
    # NaN fails every comparison
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise DataError(f"A heat map lies in 0..1; this one runs from {heat.min()} to {heat.max()}.")
    mask = heat >= threshold
    if core is not None:
        mask &= core <= OBJECT_ABOVE
    share = float(mask.mean())
    return KeptRegion(mask, share, _odd(share, threshold))


def _odd(share: float, threshold: float) -> str | None:
    if share == 0:
        return f"no pixel outside the object reaches {threshold}: nothing that misled the model is kept"
    if share == 1:
        return f"the whole heat map reaches {threshold}: nothing is left to draw"
    if share > ALMOST_ALL:
        return f"{share:.0%} of the image is kept: little room is left for the class to be drawn in"
    return None
