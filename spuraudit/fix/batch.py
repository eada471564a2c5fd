"""What one step trains on: samples with their masks, after the augmentation that both went through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torchvision.transforms.v2 import functional as TF

from spuraudit.audits.sample import Sample
from spuraudit.perturb.draws import rng_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

#: Under these names a sample carries the region of its method, and the same where it surrounds the object; no feature
#: of a dataset can be called so.
REGION, AROUND = "\0region", "\0around"
_RATIO = (3 / 4, 4 / 3)


class View(NamedTuple):
    """An augmentation of one image: a crop, as shares of height and width (top, left, height, width), then a mirror."""

    mirrored: bool = False
    crop: tuple[float, float, float, float] | None = None

    def of(self, maps: Tensor) -> Tensor:
        """(..., h, w) -> the same shape. Any resolution: photos, masks and heat maps of one image stay aligned."""
        height, width = maps.shape[-2:]
        if self.crop is not None:
            top, left, tall, wide = self.crop
            high, broad = max(1, round(tall * height)), max(1, round(wide * width))
            box = [min(round(top * height), height - high), min(round(left * width), width - broad), high, broad]
            flat = maps.reshape(-1, 1, height, width) if maps.ndim == 2 else maps
            maps = TF.resized_crop(flat, *box, size=[height, width], antialias=True).reshape(maps.shape)
        return maps.flip(-1) if self.mirrored else maps


def draw_view(flip: bool, smallest: float, *key: str | int) -> View:
    """A keyed augmentation. smallest: least area of the crop as a share of the image, 1 for none.

    Area, aspect (3/4 to 4/3, logarithmic) and place are uniform, as in the usual training on ImageNet.
    """
    rng = rng_of("view", *key)
    mirrored = bool(flip and rng.random() < 0.5)
    if smallest >= 1:
        return View(mirrored)
    area = rng.uniform(smallest, 1)
    ratio = _RATIO[0] * (_RATIO[1] / _RATIO[0]) ** rng.random()
    tall, wide = min(1.0, (area / ratio) ** 0.5), min(1.0, (area * ratio) ** 0.5)
    return View(mirrored, (rng.uniform(0, 1 - tall), rng.uniform(0, 1 - wide), tall, wide))


@dataclass(frozen=True)
class Batch:
    """The samples of a step, or of a device's part of it, in the geometry of the model, on its device.

    key: (seed, step), and places: of each image among those of the step, for keyed draws (an image may come twice).
    whole: images of the step on all devices.
    """

    samples: tuple[Sample, ...]
    views: tuple[View, ...]
    places: tuple[int, ...]
    key: tuple[int, int]
    whole: int
    #: (B, 3, H, W) float32 in [0, 1]: what is shown. An objective may change it before the pass.
    pixels: Tensor

    @classmethod
    def of(
        cls, samples: list[Sample], views: list[View], places: Sequence[int], key: tuple[int, int], whole: int
    ) -> Batch:
        """Views are applied here, to pixels and masks alike."""
        seen = tuple(_viewed(sample, view) for sample, view in zip(samples, views, strict=True))
        pixels = torch.stack([sample.pixels for sample in seen]) if seen else torch.empty(0, 3, 1, 1)
        return cls(seen, tuple(views), tuple(places), key, whole, pixels)

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the images."""
        return tuple(sample.row.id for sample in self.samples)

    @cached_property
    def labels(self) -> Tensor:
        """(B,) int64: classes of the dataset."""
        return torch.tensor([sample.row.label for sample in self.samples], device=self.pixels.device)

    @cached_property
    def region(self) -> Tensor:
        """(B, H, W) soft, 1 = the region of the method; 0 where `has_region` is not."""
        return self.masks(lambda sample: sample.masks.get(REGION), absent=0.0)

    @cached_property
    def has_region(self) -> Tensor:
        """(B,) bool."""
        return torch.tensor([REGION in sample.masks for sample in self.samples], device=self.pixels.device)

    def masks(self, of: Callable[[Sample], Tensor | None], absent: float) -> Tensor:
        """(B, H, W) of what `of` gives for each sample; `absent` everywhere where it gives nothing."""
        if not self.samples:
            return self.pixels[:, 0]
        given = [of(sample) for sample in self.samples]
        empty = torch.full_like(self.pixels[0, 0], absent)
        return torch.stack([empty if one is None else one for one in given])

    def placed(self, maps: Tensor) -> Tensor:
        """Maps of the images as stored, (B, h, w) at any resolution -> as the images are seen."""
        return torch.stack([view.of(one) for view, one in zip(self.views, maps, strict=True)])

    def shown(self, pixels: Tensor) -> Batch:
        """The same samples, shown otherwise."""
        return replace(self, pixels=pixels)

    def taken(self, first: int, every: int) -> Batch:
        """A device's part of a whole batch."""
        return self._some(slice(first, None, every))

    def cut(self, first: int) -> tuple[Batch, Batch]:
        """The first images, and the rest."""
        return self._some(slice(first)), self._some(slice(first, None))

    def parts(self, count: int) -> list[Batch]:
        """At most so many parts of equal size, in order."""
        size = max(1, -(-len(self) // count))
        return [self._some(slice(start, start + size)) for start in range(0, len(self), size)]

    def _some(self, which: slice) -> Batch:
        return replace(
            self,
            samples=self.samples[which],
            views=self.views[which],
            places=self.places[which],
            pixels=self.pixels[which],
        )


def _viewed(sample: Sample, view: View) -> Sample:
    if view == View():
        return sample
    masks = {name: view.of(mask).clamp_(0, 1) for name, mask in sample.masks.items()}
    return Sample(sample.row, view.of(sample.pixels).clamp_(0, 1), masks)
