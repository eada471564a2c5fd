"""Keyed draws: every random number is a function of what it is for, and of nothing else.

A generator seeded once per batch would make the numbers depend on batch size, order, workers and restarts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spuraudit.stats.keys import key_of as key_of


def normal(keys: list[int], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, one independent draw per key: (len(keys), *shape) float32 on the CPU.

    Drawn on the CPU whatever the model's device, so that a GPU sees the same noise. The whole shape is drawn in
    one call per key: torch's stream for a smaller shape is not a prefix of a larger one's.
    """
    noise = torch.empty((len(keys), *shape), dtype=torch.float32)
    generator = torch.Generator("cpu")
    for row, key in zip(noise, keys, strict=True):
        # torch's CPU generator reads 32 bits of its seed. Two keys in 2**32 may share noise; averages do not mind.
        generator.manual_seed(key & 0xFFFFFFFF)
        torch.randn(shape, generator=generator, out=row)
    return noise


def rng_of(*parts: str | int | float) -> np.random.Generator:
    """A numpy generator keyed on `parts`, for choices (donors, targets, order)."""
    return np.random.Generator(np.random.Philox(key_of(*parts)))
