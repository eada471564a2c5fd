"""Noise in a soft region against the formula, one number after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.noise import noised, norm_of_change
from torch import Tensor

from spuraudit.perturb.noise import add_noise, energy


def drawn(seed: int, height: int = 5, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, soft region, noise; float64, so that the formula holds to many digits."""
    rng = np.random.default_rng(seed)
    pixels, region = rng.random((3, height, width)), rng.random((height, width))
    region[region < 0.3] = 0
    region[region > 0.8] = 1
    return torch.from_numpy(pixels), torch.from_numpy(region), torch.from_numpy(rng.normal(size=pixels.shape))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 4), st.booleans())
def test_equals_the_formula(seed: int, sigma: float, clamp: bool) -> None:
    pixels, region, z = drawn(seed)
    expected = noised(pixels.numpy(), region.numpy(), z.numpy(), sigma, clamp)
    found = add_noise(pixels, region, z, sigma, clamp=clamp)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert float(energy(pixels, found)) == pytest.approx(norm_of_change(pixels.numpy(), expected), abs=1e-10)


def test_clamped_by_default() -> None:
    pixels, region, z = drawn(1)
    found = add_noise(pixels, region, z, 3.0)
    assert float(found.min()) == 0
    assert float(found.max()) == 1
    assert torch.equal(found, add_noise(pixels, region, z, 3.0, clamp=False).clamp(0, 1))
    assert float(energy(pixels, found)) < float(energy(pixels, add_noise(pixels, region, z, 3.0, clamp=False)))


@pytest.mark.parametrize("clamp", [True, False])
def test_nothing_changes_where_the_region_is_zero(clamp: bool) -> None:
    pixels, region, z = drawn(2)
    found = add_noise(pixels, region, z, 2.0, clamp=clamp)
    untouched = (region == 0).expand_as(pixels)
    assert bool(untouched.any())
    assert torch.equal(found[untouched], pixels[untouched])
    assert bool((found != pixels)[~untouched].all())


def test_a_soft_region_scales_the_noise() -> None:
    pixels, _, z = drawn(3)
    full = add_noise(pixels, torch.ones(5, 4).double(), z, 0.25, clamp=False) - pixels
    quarter = add_noise(pixels, torch.full((5, 4), 0.25).double(), z, 0.25, clamp=False) - pixels
    torch.testing.assert_close(quarter, full / 4)


def test_one_image_many_regions_draws_and_sigmas() -> None:
    pixels, _, _ = drawn(4)
    cases = [drawn(seed) for seed in (5, 6, 7)]
    regions = torch.stack([region for _, region, _ in cases])
    z = torch.stack([noise for _, _, noise in cases])
    sigmas = torch.tensor([0.1, 0.25, 2.0]).double()
    found = add_noise(pixels, regions, z, sigmas.view(-1, 1, 1, 1))
    energies = energy(pixels.expand_as(found), found)
    assert energies.shape == (3,)
    for i in range(3):
        alone = add_noise(pixels, regions[i], z[i], float(sigmas[i]))
        torch.testing.assert_close(found[i], alone)
        torch.testing.assert_close(energies[i], energy(pixels, alone))


def test_a_region_is_the_same_for_all_channels() -> None:
    pixels = torch.full((3, 5, 4), 0.5)
    _, region, z = drawn(8)
    same = z[:1].expand(3, -1, -1).float()
    found = add_noise(pixels, region.float(), same, 0.25)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_inputs_stay_as_they_were() -> None:
    pixels, region, z = drawn(9)
    copies = pixels.clone(), region.clone(), z.clone()
    add_noise(pixels, region, z, 1.0)
    assert all(torch.equal(a, b) for a, b in zip((pixels, region, z), copies, strict=True))


def test_energy_of_a_full_unclamped_mask() -> None:
    # sigma x sqrt(3 x 224 x 224) = 97.0 at sigma .25 (the magnitude Salient ImageNet's appendix L compares with).
    pixels = torch.full((3, 224, 224), 0.5)
    z = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    found = add_noise(pixels, torch.ones(224, 224), z, 0.25, clamp=False)
    assert float(energy(pixels, found)) == pytest.approx(97.0, abs=0.6)
    assert float(energy(pixels, pixels)) == 0
