"""What masks answer about a map, cell by cell."""

from __future__ import annotations

from fractions import Fraction

from oracles.fix_losses import Floats


def answer(heat: Floats, core: Floats) -> str:
    """yes, no or maybe: by the share on the core of all that lies in cells of at least half the largest value."""
    largest = max(float(value) for row in heat for value in row)
    on = whole = Fraction(0)
    for heats, cores in zip(heat, core, strict=True):
        for value, part in zip(heats, cores, strict=True):
            if 2 * float(value) >= largest:
                on += Fraction(float(value)) * Fraction(float(part))
                whole += Fraction(float(value))
    if whole == 0:
        return "maybe"
    if 2 * on >= whole:
        return "yes"
    return "no" if 10 * on <= 3 * whole else "maybe"
