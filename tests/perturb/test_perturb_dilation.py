"""Dilation against repeated square maxima, bit for bit, on both of its paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.dilation import dilate_once, dilate_once_by_shifts, dilate_repeatedly
from torch import Tensor

from spuraudit.perturb.dilation import _pooled_maximum, _running_maximum, dilate, radius_for


def soft_mask(height: int, width: int, seed: int) -> Tensor:
    """Smooth blobs and single pixels, some at the border; values of an 8-bit file."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width))
    for _ in range(3):
        y, x, size = rng.random() * height, rng.random() * width, rng.random() * min(height, width) / 6 + 0.5
        mask = np.maximum(mask, rng.random() * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / size**2))
    for _ in range(4):
        mask[rng.integers(height), rng.integers(width)] = rng.random()
    mask[0, -1] = 0.8
    return torch.from_numpy((np.round(mask * 255) / 255).astype(np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_fifteen_maxima_of_five_at_224(seed: int) -> None:
    mask = soft_mask(224, 224, seed)
    expected = torch.from_numpy(dilate_repeatedly(mask.numpy(), 15, 2))
    radius = radius_for(224)
    assert radius == 30
    assert torch.equal(dilate(mask, radius), expected)
    assert torch.equal(_pooled_maximum(mask, 2 * radius + 1), expected)
    assert not torch.equal(dilate(mask, radius - 1), expected)


def test_the_oracles_agree() -> None:
    mask = soft_mask(11, 14, 5).numpy()
    for k in (1, 2, 3):
        assert np.array_equal(dilate_once(mask, k), dilate_once_by_shifts(mask, k))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (1, 2), (2, 2), (4, 1), (15, 2)]),
)
def test_any_size_and_iterations(height: int, width: int, seed: int, steps: tuple[int, int]) -> None:
    iterations, k = steps
    mask = soft_mask(height, width, seed)
    expected = torch.from_numpy(dilate_repeatedly(mask.numpy(), iterations, k))
    side = 2 * iterations * k + 1
    assert torch.equal(dilate(mask, iterations * k), expected)
    assert torch.equal(_running_maximum(mask, side), expected)
    assert torch.equal(_pooled_maximum(mask, side), expected)


def test_one_pixel_becomes_a_61_pixel_square() -> None:
    mask = torch.zeros(224, 224)
    mask[100, 90] = 0.7
    found = dilate(mask, 30)
    assert int((found == 0.7).sum()) == int((found > 0).sum()) == 61 * 61
    assert torch.equal(found[70:131, 60:121], torch.full((61, 61), 0.7))


def test_radius_zero_is_a_copy() -> None:
    mask = soft_mask(9, 9, 1)
    found = dilate(mask, 0)
    assert torch.equal(found, mask)
    found[0, 0] = 1
    assert mask[0, 0] != 1


def test_the_mask_stays_as_it_was_and_only_grows() -> None:
    mask = soft_mask(40, 30, 2)
    before = mask.clone()
    found = dilate(mask, 4)
    assert torch.equal(mask, before)
    assert bool((found >= mask).all())
    assert float(found.max()) == float(mask.max())


@pytest.mark.parametrize(("size", "radius"), [(224, 30), (256, 34), (299, 40), (384, 51), (28, 4)])
def test_radius_scales_with_the_input(size: int, radius: int) -> None:
    # 30 x size / 224: 30, 34.3, 40.04, 51.4, 3.75.
    assert radius_for(size) == radius


def test_radius_of_other_settings() -> None:
    assert radius_for(224, iterations=0) == 0
    assert radius_for(224, iterations=10, k=1) == 10
    assert radius_for(448, iterations=15, k=2) == 60
