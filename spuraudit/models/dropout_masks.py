"""Dropout masks: a pure function of (key, site, pass).

Which images share masks is the caller's choice of keys; batch size, order and chunks do not change a single bit.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from spuraudit.errors import UsageError
from spuraudit.models.dropout_calls import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spuraudit.models.dropout_calls import DropoutSite

_BLOCK_BITS = 256  # of one step of Philox's counter: four words of 64


def draw_kept(site: DropoutSite, index: int, key: int, start: int, stop: int) -> Tensor:
    """Which values passes start to stop - 1 keep: (stop - start, *site.shape) bool on the CPU.

    index: the site's place in its plan. 16 bits of a numpy Philox stream per value, so p is rounded to a multiple of
    1/65536; one bit where p is 0.5. Rows lie one after the other in the stream, so passes may be drawn in any chunks.
    """
    digest = hashlib.blake2b(f"spuraudit mc-dropout {key} {index}".encode(), digest_size=16).digest()
    stream = np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))
    even = 2 * site.levels_kept == LEVELS
    bits = 1 if even else 16
    first, last = start * site.size * bits, stop * site.size * bits
    stream.advance(first // _BLOCK_BITS)
    first, last = first % _BLOCK_BITS, last - first + first % _BLOCK_BITS
    words = stream.random_raw(-(-last // 64)).astype("<u8", copy=False)
    if even:
        kept = np.unpackbits(words.view(np.uint8), bitorder="little")[first:last].view(np.bool_)
    elif site.levels_kept == LEVELS:
        kept = np.ones((last - first) // bits, dtype=np.bool_)
    else:
        kept = words.view("<u2")[first // bits : last // bits] < np.uint16(site.levels_kept)
    return torch.from_numpy(kept.reshape(stop - start, *site.shape))


def scale_of(site: DropoutSite) -> float:
    """What kept values are multiplied with: 1 / (1 - p), for the p that 16 bits can draw; 0 where nothing is kept."""
    return LEVELS / site.levels_kept if site.levels_kept else 0.0


def draw_masks(sites: Sequence[DropoutSite], key: int, passes: int) -> tuple[Tensor, ...]:
    """Masks of all sites: (passes, *site.shape) float32 on the CPU, 0 or 1 / (1 - p). Row t belongs to pass t.

    Raises UsageError below one pass.
    """
    if passes < 1:
        raise UsageError(f"At least one pass is needed; got {passes}.")
    return tuple(draw_kept(site, index, key, 0, passes) * scale_of(site) for index, site in enumerate(sites))
