"""Relative core sensitivity, restated in exact fractions (CoRM paper, definition 6.3 and appendix H.1)."""

from __future__ import annotations

from fractions import Fraction


def largest_gap(mean: Fraction) -> Fraction:
    """Appendix H.1: the largest core - spurious that two accuracies of this mean can have, by its two cases."""
    if mean >= Fraction(1, 2):
        core, spurious = Fraction(1), 2 * mean - 1
    else:
        core, spurious = 2 * mean, Fraction(0)
    return core - spurious


def literal_rcs(core: Fraction, spurious: Fraction) -> Fraction | None:
    """Definition 6.3: the gap over twice the smaller of mean and 1 - mean; None for 0/0."""
    mean = (core + spurious) / 2
    below = 2 * min(mean, 1 - mean)
    return None if below == 0 else (core - spurious) / below
