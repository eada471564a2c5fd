"""The paired sign-flip test by writing down every way to flip the signs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product


def enumerated_p(differences: Sequence[float]) -> float:
    """Share of the 2^n sign choices whose sum is at least as far from 0 as the sum observed."""
    observed = abs(sum(differences))
    choices = list(product((-1, 1), repeat=len(differences)))
    # Sums of the same numbers in another order may differ in the last bit.
    beyond = [
        signs
        for signs in choices
        if abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed - 1e-9
    ]
    return len(beyond) / len(choices)
