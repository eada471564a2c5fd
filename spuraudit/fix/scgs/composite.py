"""New images without weights: an object of the true class from another training image, pasted where nothing is kept.

These are composites, not photographs: scale, light and place need not make sense. What they change is what SCGS wants
changed: which surroundings appear with which class. Where the donor has a core mask, its object alone is pasted, as
large as it is in its own photo. Where it has none, the whole donor image replaces what is not kept, and brings its own
surroundings along.

Every trace of the pasting is a shortcut of its own, for only the new images have it. So objects keep their size where
they fit (what is resized is smoother than its photo), and seams and rims are a share of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy import ndimage, signal

from spuraudit.errors import DataError, UsageError
from spuraudit.fix.scgs.generate import Drawn, blend, kept_opacity, paste_back, seam_of
from spuraudit.perturb.draws import rng_of
from spuraudit.perturb.exchange import paint_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from spuraudit.fix.scgs.generate import Fact, Scene

#: An object that is hidden by more than this share of it is made smaller, down to _SMALLEST of its own size.
_HIDDEN_AT_MOST = 0.2
_SHRINK = 0.85
_SMALLEST = 0.3
#: Soft edge inside the object's rim, of the image's smaller side: 1 pixel of 224, none below 112.
_FEATHER_SHARE = 1 / 224
_CLEARLY_OBJECT = 0.5
#: Places whose hidden shares differ by less are as good.
_AS_GOOD = 0.01


@dataclass(frozen=True, eq=False)
class Donor:
    """A training image that lends its object: uint8 (h, w, 3), and core: uint8 (h, w), 255 = the object, or None."""

    pixels: NDArray[np.uint8]
    core: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False)
class _Cutout:
    """An object: uint8 (h, w, 3), opacity (h, w) in [0, 1]; share: its height and width relative to its photo's."""

    pixels: NDArray[np.uint8]
    opacity: NDArray[np.float64]
    share: tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Placed:
    """An object on a canvas of the scene's size.

    hidden: share of it behind the kept region and its soft edge. scale: times its share of its own photo, at most 1.
    """

    object: _Cutout
    hidden: float
    scale: float


@dataclass(frozen=True)
class CompositeGenerator:
    """donors: class -> ids of training images that may lend; load: id -> its pixels and core mask.

    Give only images with a core mask where a class has any: a donor without one lends its surroundings too.
    seam: soft edge around the kept region in pixels, None = 1/56 of the image's smaller side.
    """

    donors: Mapping[int, Sequence[str]]
    load: Callable[[str], Donor]
    seam: int | None = None

    def __post_init__(self) -> None:
        if self.seam is not None and self.seam < 0:
            raise UsageError(f"A seam of {self.seam} pixels is impossible.", "Use 0 or more.")

    def draw(self, scene: Scene) -> Drawn:
        """Paste a keyed donor's object, mirrored or not, at a keyed place where it covers least of the kept region.

        facts: donor, whole_donor (no mask: the whole image was blended in), hidden_share (of the object, behind what is
        kept and its soft edge), scale, flipped. Raises DataError where no other training image of the class can lend.
        """
        order = scene.order
        rng = rng_of(order.seed, order.source, order.label, "scgs.composite")
        donor, name = self._choose(scene, rng)
        flipped = bool(rng.integers(2))
        seam = seam_of(scene.keep.shape) if self.seam is None else self.seam
        facts: dict[str, Fact] = {"generator": "composite", "seam": seam, "donor": name, "flipped": flipped}
        bare = _without_object(scene)
        if donor.core is None:
            whole = _covering(donor.pixels, scene.keep.shape)
            pixels = paste_back(bare, whole[:, ::-1] if flipped else whole, seam)
            return Drawn(pixels, None, facts | {"whole_donor": True})
        kept = kept_opacity(scene.keep, seam)
        placed = _place(_cut_out(donor.pixels, donor.core, flipped), kept, rng)
        pixels = paste_back(bare, blend(bare.pixels, placed.object.pixels, placed.object.opacity), seam)
        core = np.rint(255 * placed.object.opacity * (1 - kept)).astype(np.uint8)
        if scene.core is not None:  # where the scene keeps some of the object, that part stays
            core = np.maximum(core, np.where(scene.keep, scene.core, 0).astype(np.uint8))
        facts |= {"whole_donor": False, "hidden_share": round(placed.hidden, 4), "scale": round(placed.scale, 4)}
        return Drawn(pixels, core, facts)

    def _choose(self, scene: Scene, rng: np.random.Generator) -> tuple[Donor, str]:
        order = scene.order
        # Sorted: which donor is drawn must not depend on the order of a file.
        able = sorted(name for name in self.donors.get(order.label, ()) if name != order.source)
        for at in rng.permutation(len(able)):
            donor = self.load(able[at])
            _check(donor, able[at])
            if donor.core is None or (donor.core > 255 * _CLEARLY_OBJECT).any():
                return donor, able[at]
        raise DataError(
            f"{order.source}: no other training image of class {order.name!r} can lend its object "
            f"({len(able)} looked at, all with a blank mask)."
            if able
            else f"{order.source}: the training images hold no other one of class {order.name!r} to lend its object.",
            "Composites need another image of each misclassified class; a diffusion pipeline needs none.",
        )


def _without_object(scene: Scene) -> Scene:
    """The scene with its own object painted out, where that is known: else each new image would show two."""
    if scene.core is None:
        return scene
    pixels = torch.from_numpy(scene.pixels).permute(2, 0, 1).float()
    bare = paint_out(pixels, torch.from_numpy(scene.core).float() / 255)
    painted = np.ascontiguousarray(bare.round().byte().permute(1, 2, 0).numpy())
    return replace(scene, pixels=np.where(scene.keep[..., None], scene.pixels, painted))


def _cut_out(pixels: NDArray[np.uint8], core: NDArray[np.uint8], flipped: bool) -> _Cutout:
    """The object, cut to the box around what is clearly it."""
    rows, columns = (np.flatnonzero((core > 255 * _CLEARLY_OBJECT).any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1), slice(None, None, -1 if flipped else 1))
    opacity = core[box[0], box[1]][:, box[2]] / 255
    share = (opacity.shape[0] / core.shape[0], opacity.shape[1] / core.shape[1])
    return _Cutout(pixels[box[0], box[1]][:, box[2]], opacity, share)


def _place(cutout: _Cutout, kept: NDArray[np.float64], rng: np.random.Generator) -> _Placed:
    """The object, smaller where too much of it would be hidden, at a keyed one of its best places."""
    scale, draw = 1.0, float(rng.random())
    best: _Placed | None = None
    while best is None or (best.hidden > _HIDDEN_AT_MOST and scale >= _SMALLEST):
        resized = _resized(cutout, kept.shape, scale)
        top, left, hidden = _spot(resized.opacity, kept, draw)
        if best is None or hidden < best.hidden:
            best = _Placed(_on_canvas(resized, top, left, kept.shape), hidden, scale)
        scale *= _SHRINK
    return best


def _resized(cutout: _Cutout, room: tuple[int, ...], scale: float) -> _Cutout:
    """The object with `scale` times its share of its photo, its proportions kept, at most as large as the room."""
    height, width = cutout.opacity.shape
    wished = scale * min(cutout.share[0] * room[0] / height, cutout.share[1] * room[1] / width)
    factor = min(wished, room[0] / height, room[1] / width)
    size = tuple(max(1, min(side, round(factor * own))) for side, own in ((room[1], width), (room[0], height)))
    pixels = Image.fromarray(np.ascontiguousarray(cutout.pixels)).resize(size, Image.Resampling.BILINEAR)
    soft = Image.fromarray(np.rint(255 * cutout.opacity).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    return _Cutout(np.asarray(pixels), _feathered(np.asarray(soft) / 255, min(room)), cutout.share)


def _feathered(opacity: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """A soft rim inside the object: outside it, its own surroundings would show."""
    feather = round(_FEATHER_SHARE * side)
    inside = np.pad(opacity >= _CLEARLY_OBJECT, 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    # an object thinner than the rim would have no solid pixel left
    rim = max(1.0, min(feather + 1.0, float(depth.max())))
    feathered: NDArray[np.float64] = np.minimum(np.clip(depth / rim, 0, 1), opacity)
    return feathered


def _spot(opacity: NDArray[np.float64], kept: NDArray[np.float64], draw: float) -> tuple[int, int, float]:
    """Top, left and the share hidden: of all places whose share is within 0.01 of the least, the draw's (0..1)."""
    total = opacity.sum()
    if total == 0:
        return 0, 0, 1.0
    behind = signal.fftconvolve(kept, opacity[::-1, ::-1], mode="valid") / total
    best = np.flatnonzero(behind <= behind.min() + _AS_GOOD)
    chosen = int(best[int(draw * len(best))])
    top, left = divmod(chosen, behind.shape[1])
    return top, left, float(np.clip(behind[top, left], 0, 1))


def _on_canvas(cutout: _Cutout, top: int, left: int, room: tuple[int, ...]) -> _Cutout:
    height, width = cutout.opacity.shape
    pixels, opacity = np.zeros((*room, 3), dtype=np.uint8), np.zeros(room)
    pixels[top : top + height, left : left + width] = cutout.pixels
    opacity[top : top + height, left : left + width] = cutout.opacity
    return _Cutout(pixels, opacity, cutout.share)


def _covering(pixels: NDArray[np.uint8], room: tuple[int, ...]) -> NDArray[np.uint8]:
    """The middle of an image, resized so that it covers the room."""
    height, width = pixels.shape[:2]
    factor = max(room[0] / height, room[1] / width)
    across, down = room[1] / factor, room[0] / factor
    box = ((width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2)
    box = (max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3]))
    resized = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (room[1], room[0]), Image.Resampling.BILINEAR, box=box
    )
    return np.asarray(resized)


def _check(donor: Donor, name: str) -> None:
    if donor.pixels.dtype != np.uint8 or donor.pixels.ndim != 3 or donor.pixels.shape[2] != 3 or not donor.pixels.size:
        raise DataError(
            f"{name}: a donor is 8-bit RGB (h, w, 3); got {donor.pixels.dtype} of shape {donor.pixels.shape}."
        )
    core = donor.core
    if core is not None and (core.dtype != np.uint8 or core.shape != donor.pixels.shape[:2]):
        raise DataError(
            f"{name}: a core mask is 8-bit of its photo's shape {donor.pixels.shape[:2]}; "
            f"got {core.dtype} of shape {core.shape}."
        )
