"""Augmentation: photos, masks, regions and maps of an image move alike."""

from __future__ import annotations

import pytest
import torch
from fix.trainings import feed_of, settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from spuraudit.data.dataset import Dataset
from spuraudit.fix import regions
from spuraudit.fix.batch import AROUND, REGION, Batch, View, draw_view

CPU = torch.device("cpu")


def ramp(height: int, width: int) -> Tensor:
    """Each pixel knows its place, in 0..1: (2, H, W), rows and columns of pixel centres."""
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    return torch.stack([rows[:, None].expand(height, width), columns[None].expand(height, width)])


@given(key=st.integers(0, 10**6), height=st.integers(8, 40), width=st.integers(8, 40))
@examples(max_examples=50, deadline=None)
def test_a_view_shows_its_crop(key: int, height: int, width: int) -> None:
    view = draw_view(True, 0.3, key)
    assert view.crop is not None
    top, left, tall, wide = view.crop
    assert 0 <= top <= top + tall <= 1 + 1e-9
    assert 0 <= left <= left + wide <= 1 + 1e-9
    assert tall * wide >= 0.25  # a side is cut at the image's where the aspect asks for more
    seen = view.of(ramp(height, width))
    assert seen.shape == (2, height, width)
    expected = ramp(height, width)
    across = expected[1].flip(-1) if view.mirrored else expected[1]
    expected = torch.stack([top + tall * expected[0], left + wide * across])
    assert (seen - expected).abs().max() < 1.5 / min(height, width)


def test_a_flat_map_stays_flat_at_any_resolution() -> None:
    for side in range(1, 12):
        for key in range(100):
            seen = draw_view(True, 0.08, key).of(torch.ones(side, side))
            assert torch.allclose(seen, torch.ones(side, side)), (side, key)


@given(st.integers(0, 1000))
@examples(max_examples=30, deadline=None)
def test_a_mirror_is_exact_and_its_own_inverse(seed: int) -> None:
    maps = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(seed))
    view = View(mirrored=True)
    assert torch.equal(view.of(maps)[..., 0], maps[..., -1])
    assert torch.equal(view.of(view.of(maps)), maps)
    assert torch.equal(View().of(maps), maps)


def test_views_are_keyed_and_half_are_mirrored() -> None:
    views = [draw_view(True, 0.5, "k", number) for number in range(400)]
    assert views == [draw_view(True, 0.5, "k", number) for number in range(400)]
    assert 160 < sum(view.mirrored for view in views) < 240
    assert len({view.crop for view in views}) == 400
    assert draw_view(False, 1.0, "k") == View()


@pytest.mark.parametrize("crop", [1.0, 0.4])
def test_a_batch_moves_everything_alike(tagged: Dataset, crop: float) -> None:
    plain = feed_of(tagged, settings(flip=False), region=regions.background)
    moved = feed_of(tagged, settings(flip=True, crop=crop), region=regions.background)
    (before,) = plain.batches(CPU, 1, 2)
    (after,) = moved.batches(CPU, 1, 2)
    assert before.ids == after.ids
    assert any(view.mirrored for view in after.views)
    for number, view in enumerate(after.views):
        sample, stored = after.samples[number], before.samples[number]
        assert set(sample.masks) == {"object", "tag", REGION, AROUND}
        for name, mask in stored.masks.items():
            assert torch.allclose(sample.masks[name], view.of(mask), atol=1e-6)
        assert torch.allclose(after.pixels[number], view.of(stored.pixels), atol=1e-5)
        assert sample.core is not None
        if crop == 1.0:
            assert torch.equal(sample.background, after.region[number])
        else:
            assert torch.allclose(sample.background, after.region[number], atol=0.05)
    assert torch.allclose(after.placed(before.region), after.region, atol=1e-5)
    assert after.has_region.all()


def test_parts_keep_their_places(tagged: Dataset) -> None:
    (batch,) = feed_of(tagged, settings()).batches(CPU, 0, 1)
    parts = batch.parts(3)
    assert [len(part) for part in parts] == [3, 3, 2]
    assert [place for part in parts for place in part.places] == list(range(8))
    assert tuple(name for part in parts for name in part.ids) == batch.ids
    odd = batch.taken(1, 2)
    assert odd.places == (1, 3, 5, 7)
    assert torch.equal(odd.pixels, batch.pixels[1::2])
    assert odd.whole == 8
    assert torch.equal(odd.labels, batch.labels[1::2])


def test_a_device_may_get_no_image() -> None:
    batch = Batch.of([], [], [], (0, 0), 1)
    assert batch.masks(lambda sample: sample.core, absent=1.0).shape[0] == 0
