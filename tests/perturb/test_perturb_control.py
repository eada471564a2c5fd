"""The control of a feature drop: elsewhere in the image, with the feature's energy, each trial on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles.control import clamped_energy, copies, overlap
from torch import Tensor

from spuraudit.perturb.control import MAX_SIGMA, MOVABLE_SHARE, control_region, match_energy
from spuraudit.perturb.draws import normal
from spuraudit.perturb.noise import add_noise, energy


def block(height: int, width: int, top: int, left: int, size: int) -> Tensor:
    mask = torch.zeros(height, width)
    mask[top : top + size, left : left + size] = 1
    return mask


# Where


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(6, 14), st.integers(6, 14), st.booleans())
def test_least_overlapping_copy(seed: int, height: int, width: int, with_core: bool) -> None:
    rng = np.random.default_rng(seed)

    def quarters(share: float) -> np.ndarray:
        # Multiples of 1/4: sums are exact, so both sides break ties alike.
        return rng.integers(1, 5, (height, width)) / 4 * (rng.random((height, width)) < share)

    feature, core = quarters(rng.random() * 0.5), quarters(0.2) if with_core else np.zeros((height, width))
    assume(feature.mean() <= MOVABLE_SHARE)
    moved = copies(feature)
    best = min(moved, key=lambda copy: overlap(copy, feature, core))
    expected = best * (1 - feature)
    if expected.sum() < 0.25 * feature.sum():
        expected = 1 - feature
    found = control_region(torch.from_numpy(feature), torch.from_numpy(core) if with_core else None)
    np.testing.assert_array_equal(found.numpy(), expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.floats(0.02, 0.98))
def test_zero_on_the_feature(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    feature = torch.from_numpy((rng.random((12, 10)) < share) * 1.0)
    feature[0, 0], feature[5, 3] = 0.0, 1.0
    found = control_region(feature, None)
    assert bool((found[feature == 1] == 0).all())
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float(found.sum()) > 0


def test_a_corner_block_moves_as_it_is() -> None:
    feature = block(28, 28, 24, 0, 4)
    found = control_region(feature, None)
    assert float(found.sum()) == 16
    assert float((found * feature).sum()) == 0


def test_keeps_off_the_core() -> None:
    # The mirror images lie on the core, the rolls do not.
    feature = block(28, 28, 2, 2, 5)
    core = torch.zeros(28, 28)
    core[:, 18:] = 1
    core[18:, :] = 1
    found = control_region(feature, core)
    assert float(found.sum()) == 25
    assert float((found * torch.maximum(core, feature)).sum()) == 0


def test_a_feature_that_covers_its_copies_leaves_the_rest_of_the_image() -> None:
    # Squares at every fourth pixel, symmetric: flips and rolls by 12 and 8 lie on the feature itself.
    feature = torch.zeros(24, 24)
    for row in (1, 2):
        for column in (1, 2):
            feature[row::4, column::4] = 1
    assert float(feature.mean()) < MOVABLE_SHARE
    assert torch.equal(control_region(feature, None), 1 - feature)


def test_a_centred_feature_keeps_what_a_copy_has_elsewhere() -> None:
    feature = block(30, 30, 6, 6, 18)
    found = control_region(feature, None)
    # Rolled by half the image both ways it overlaps least.
    outside = float((feature.roll((15, 15), (0, 1)) * (1 - feature)).sum())
    assert float(found.sum()) == outside > 81
    assert float((found * feature).sum()) == 0


def test_a_large_feature_leaves_its_complement() -> None:
    feature = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.5
    assert torch.equal(control_region(feature, None), 1 - feature)


# How much


def scene(seed: int, trials: int, side: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An image, two disjoint soft regions, keyed noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.random((3, side, side)) ** rng.choice([0.2, 1.0, 5.0])
    if rng.random() < 0.3:
        pixels = pixels.round()
    first = np.zeros((side, side))
    first[: side // 2, : rng.integers(2, side)] = rng.uniform(0.2, 1)
    second = np.zeros((side, side))
    second[side // 2 + rng.integers(0, 3) :, : rng.integers(2, side)] = rng.uniform(0.2, 1)
    z = normal([seed + trial for trial in range(trials)], (3, side, side))
    return torch.from_numpy(pixels).float(), torch.from_numpy(first).float(), torch.from_numpy(second).float(), z


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**31), st.floats(0.02, 4), st.integers(1, 4))
def test_within_one_percent_or_the_nearest_below(seed: int, sigma: float, trials: int) -> None:
    pixels, feature, elsewhere, z = scene(seed, trials)
    noised = add_noise(pixels, feature, z, sigma)
    target = energy(pixels.expand_as(noised), noised)
    found, reached = match_energy(pixels, elsewhere, z, target)
    for trial in range(trials):
        wanted = float(target[trial])
        image, region, noise = (t.double().numpy() for t in (pixels, elsewhere, z[trial]))
        most = clamped_energy(image, region, noise, MAX_SIGMA)
        if wanted <= most:
            assert float(reached[trial]) == pytest.approx(wanted, rel=0.0101)
        else:
            assert float(reached[trial]) < wanted
            assert float(reached[trial]) == pytest.approx(min(most, wanted), rel=0.0101)
        # What came back is what was measured, and lies in the region alone.
        assert float(energy(pixels, found[trial])) == pytest.approx(float(reached[trial]), rel=1e-5)
        outside = (elsewhere == 0).expand_as(pixels)
        assert torch.equal(found[trial][outside], pixels[outside])
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_noise_is_the_given_draw_at_one_sigma() -> None:
    pixels = torch.full((3, 10, 10), 0.5)
    region = block(10, 10, 0, 0, 6) * 0.5
    z = normal([1], (3, 10, 10)) * 0.1
    found, _ = match_energy(pixels, region, z, torch.tensor([0.3]))
    change = (found[0] - pixels)[:, :6, :6]
    ratio = change / z[0, :, :6, :6]
    # Nothing is cut off here: change = sigma x .5 x z everywhere.
    torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-3, atol=1e-4)
    assert float(energy(pixels, found[0])) == pytest.approx(0.3, rel=0.01)


@pytest.mark.parametrize("margin", [0.97, 0.985, 0.999])
def test_just_below_the_cap_is_reached(margin: float) -> None:
    # Near its cap the energy hardly grows with sigma: steps in proportion alone would creep.
    pixels, _, region, z = scene(5, 1)
    image, where, noise = (t.double().numpy() for t in (pixels, region, z[0]))
    most = clamped_energy(image, where, noise, MAX_SIGMA)
    _, reached = match_energy(pixels, region, z, torch.tensor([most * margin]))
    assert float(reached[0]) == pytest.approx(most * margin, rel=0.0101)


def test_capped_energy_is_the_nearest_reachable() -> None:
    pixels, _, region, z = scene(6, 2)
    caps = [clamped_energy(pixels.double().numpy(), region.double().numpy(), n.double().numpy(), MAX_SIGMA) for n in z]
    for factor in (1.02, 1.5, 40):
        _, reached = match_energy(pixels, region, z, torch.tensor(caps) * factor)
        assert reached.tolist() == pytest.approx(caps, rel=2e-3)


def test_no_region_no_energy() -> None:
    pixels, _, _, z = scene(7, 2)
    found, reached = match_energy(pixels, torch.zeros(12, 12), z, torch.tensor([1.0, 2.0]))
    assert reached.tolist() == [0, 0]
    assert torch.equal(found, pixels.expand_as(found))


def test_no_energy_wanted_no_noise() -> None:
    pixels, _, region, z = scene(8, 1)
    found, reached = match_energy(pixels, region, z, torch.zeros(1))
    assert float(reached[0]) < 1e-5
    torch.testing.assert_close(found[0], pixels, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31))
def test_a_trial_does_not_depend_on_the_others(seed: int) -> None:
    pixels, _, region, z = scene(seed, 5)
    # From easily reached to beyond the cap: the trials need different numbers of steps.
    target = torch.tensor([0.05, 0.5, 2.0, 6.0, 50.0])
    found, reached = match_energy(pixels, region, z, target)
    for trial in range(5):
        alone, alone_reached = match_energy(pixels, region, z[trial : trial + 1], target[trial : trial + 1])
        torch.testing.assert_close(alone[0], found[trial], atol=1e-5, rtol=0)
        assert float(alone_reached[0]) == pytest.approx(float(reached[trial]), rel=1e-5)
    order = [3, 0, 4, 2, 1]
    shuffled, _ = match_energy(pixels, region, z[order], target[order])
    torch.testing.assert_close(shuffled, found[order], atol=1e-5, rtol=0)
