"""Keys: a random draw is a function of what it is for, and of nothing else."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def key_of(*parts: str | int | float) -> int:
    """A 64-bit key of (seed, image id, condition, trial, ...). Equal parts give equal keys on every machine."""
    text = "\x1f".join(_written(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _written(part: str | int | float) -> str:
    """A part with its type (1 is not "1"), the same for numpy's numbers; the separator inside a text is doubled."""
    plain = part.item() if isinstance(part, np.generic) else part
    return f"{type(plain).__name__}:{plain}".replace("\x1f", "\x1f\x1f")
