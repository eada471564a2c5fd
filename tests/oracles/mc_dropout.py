"""Monte Carlo dropout, restated slowly: the masks bit by bit, and whole passes of a rebuilt copy of the network.

No function mode and no hook: dropout modules of a deep copy are replaced by modules that multiply, a functional head
dropout by a multiplication before the classifier.
"""

from __future__ import annotations

import copy
import hashlib
import math

import numpy as np
import torch
from torch import Tensor, nn


def slow_masks(shapes: list[tuple[int, ...]], rates: list[float], key: int, passes: int) -> list[Tensor]:
    """Masks one value after the other, from 64-bit words of Philox, lowest bits first.

    Four 16-bit numbers per word, kept where they lie below the rate; at a rate of one half, 64 bits, kept where set.
    """
    masks = []
    for site, (shape, rate) in enumerate(zip(shapes, rates, strict=True)):
        digest = hashlib.blake2b(f"spuraudit mc-dropout {key} {site}".encode(), digest_size=16).digest()
        words = [int.from_bytes(digest[start : start + 8], "little") for start in (0, 8)]
        stream = np.random.Philox(key=np.array(words, dtype=np.uint64))
        kept = round((1 - rate) * 65536)
        values: list[float] = []
        while len(values) < passes * math.prod(shape):
            word = int(stream.random_raw())
            if 2 * kept == 65536:
                values += [2.0 if (word >> shift) & 1 else 0.0 for shift in range(64)]
                continue
            quarters = [(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
            values += [65536 / kept if quarter < kept else 0.0 for quarter in quarters]
        flat = values[: passes * math.prod(shape)]
        masks.append(torch.tensor(flat, dtype=torch.float32).reshape(passes, *shape))
    return masks


class Multiply(nn.Module):
    """x * mask, the same mask for every image of the batch."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        return torch.stack([image * self.mask for image in x])


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, module)


def naive_passes(network: nn.Module, inputs: Tensor, places: list[str], masks: list[Tensor]) -> Tensor:
    """(T, B, C) logits. places[i]: a dropout module to replace, or a layer before which mask i is multiplied."""
    answers = []
    for step in range(len(masks[0])):
        twin = copy.deepcopy(network)
        for name, mask in zip(places, masks, strict=True):
            old = twin.get_submodule(name)
            new = Multiply(mask[step])
            _replace(twin, name, new if isinstance(old, nn.Dropout) else nn.Sequential(new, old))
        with torch.no_grad():
            answers.append(twin(inputs))
    return torch.stack(answers)
