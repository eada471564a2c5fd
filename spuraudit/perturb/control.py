"""The control of a feature drop: noise of equal clamped energy in another region of the same image.

Different masks have different norms, so the same sigma puts more noise into a larger feature (Salient ImageNet,
appendix L). A drop says something about *this* region only beyond the drop that the same energy causes elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spuraudit.perturb.noise import add_noise, energy

#: The largest share of the image that a region may cover for a moved copy of it to be "elsewhere".
MOVABLE_SHARE = 0.4
TOLERANCE = 0.01
MAX_SIGMA = 16.0
_RATIO_STEPS = 12
_ATTEMPTS = 40


def control_region(feature: Tensor, core: Tensor | None) -> Tensor:
    """Where to put the control noise: (H, W) soft, zero on the feature.

    A copy of the feature's mask, flipped or rolled to where it overlaps least with the feature and with the core
    (noise on the object would hurt by right); the whole rest of the image where the feature is too large to move.
    """
    if float(feature.mean()) > MOVABLE_SHARE:
        return 1 - feature
    height, width = feature.shape
    rolls = [(0, width // 2), (height // 2, 0), (height // 2, width // 2), (height // 3, width // 3)]
    moved = [feature.flip(-1), feature.flip(-2), feature.flip(-1, -2)]
    moved += [feature.roll(shift, (-2, -1)) for shift in rolls]
    avoid = feature if core is None else torch.maximum(feature, core)
    overlap = torch.stack([(copy * avoid).sum() for copy in moved])
    region = moved[int(overlap.argmin())] * (1 - feature)
    # A centred feature covers all its copies: then the rest of the image is the only elsewhere.
    return region if float(region.sum()) >= 0.25 * float(feature.sum()) else 1 - feature


def match_energy(pixels: Tensor, region: Tensor, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Noise in `region` whose clamped L2 norm equals `target` within 1 %.

    pixels (3, H, W) in [0, 1]; region (H, W); z (N, 3, H, W); target (N,) L2 norms. Returns the noised pixels
    (N, 3, H, W) and their energies (N,). Where clamping caps the energy below the target, the nearest reachable
    energy comes back: the caller compares and excludes.
    """
    wanted = target.view(-1, 1, 1, 1)
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, MAX_SIGMA)
    norm = energy(torch.zeros_like(z), region * z).view_as(wanted).clamp_min(1e-12)
    sigma = (wanted / norm).clamp(1e-6, MAX_SIGMA)
    for attempt in range(_ATTEMPTS):
        noised = add_noise(pixels, region, z, sigma)
        reached = energy(pixels, noised).view_as(wanted)
        # A trial that has arrived stays as it is, whatever the others of the batch still need.
        searching = ((reached - wanted).abs() > TOLERANCE * wanted) & (high - low > 1e-4 * high)
        if not bool(searching.any()):
            break
        too_low = reached < wanted
        low, high = torch.where(too_low, sigma, low), torch.where(too_low, high, sigma)
        # Energy grows nearly in proportion to sigma: step by the ratio. Near the cap it hardly grows at all and such
        # steps creep: bisect then, and where a step leaves the bracket.
        step = sigma * wanted / reached.clamp_min(1e-12)
        by_ratio = (step > low) & (step < high) & (attempt < _RATIO_STEPS)
        sigma = torch.where(searching, torch.where(by_ratio, step, (low + high) / 2), sigma)
    return noised, reached.view(-1)
