"""A sample's regions: unions of soft masks by role, and what neither covers."""

from __future__ import annotations

import numpy as np
import torch

from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import ImageRow, MaskRow
from spuraudit.data.decode import Decoded


def _sample(*roles: tuple[str, str]) -> Sample:
    rng = np.random.default_rng(0)
    masks = {name: rng.integers(0, 256, (6, 7), dtype=np.uint8) for name, _ in roles}
    rows = tuple(MaskRow(name, role, "root", f"{name}.png") for name, role in roles)
    pixels = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Sample.of(Decoded(ImageRow("i", 0, "root", "i.png", masks=rows), pixels, masks), torch.device("cpu"))


def test_pixels_are_channels_first_in_0_to_1() -> None:
    sample = _sample()
    assert sample.pixels.shape == (3, 6, 7)
    assert 0 <= float(sample.pixels.min()) < float(sample.pixels.max()) <= 1


def test_core_is_the_soft_union_of_core_masks() -> None:
    sample = _sample(("head", "core"), ("leaf", "spurious"), ("body", "core"))
    assert sample.core is not None
    assert torch.equal(sample.core, torch.maximum(sample.masks["head"], sample.masks["body"]))
    assert torch.equal(sample.background, 1 - torch.maximum(sample.core, sample.masks["leaf"]))


def test_without_core_masks_there_is_no_core() -> None:
    sample = _sample(("leaf", "spurious"))
    assert sample.core is None
    assert torch.equal(sample.without_object, sample.pixels)
