"""Patch swap of one cell: certainty lost per source image, in one run and in both."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spuraudit.compare.joined import Floats, Ints, Joined

Drops = dict[int, float]
"""Image to certainty lost."""


def own_drops(joined: Joined, side: int, label: int, target: int, cell: int) -> Drops:
    """Of the sources that this run (0 = before) swept and its model classifies right."""
    whole, swapped = (_of_pair(joined, label, target, *joined.own(f"patch:{c}", side)) for c in (0, cell))
    found = _drops(whole, swapped)
    return {image: drop for image, drop in found.items() if joined.clean[side, image]}


def common_drops(joined: Joined, label: int, target: int, cell: int) -> tuple[Drops, Drops]:
    """Before and after, of sources that both models classify right, over the targets that both were asked with."""
    whole, swapped = joined.block("patch:0"), joined.block(f"patch:{cell}")
    sides = []
    for side in (0, 1):
        rows = (
            _of_pair(joined, label, target, block.image, block.trial, block.donor_label, block.p_true[side])
            for block in (whole, swapped)
        )
        sides.append(_drops(*rows))
    before, after = sides
    both = [image for image in sorted(before) if joined.clean[:, image].all()]
    return {image: before[image] for image in both}, {image: after[image] for image in both}


def _of_pair(
    joined: Joined, label: int, target: int, image: Ints, trial: Ints, donor_label: Ints, p_true: Floats
) -> dict[tuple[int, int], float]:
    """(image, trial) to certainty, of one class with cells of another; a trial is one target."""
    chosen = (joined.labels[image] == label) & (donor_label == target)
    keys = zip(image[chosen].tolist(), trial[chosen].tolist(), strict=True)
    return dict(zip(keys, p_true[chosen].tolist(), strict=True))


def _drops(whole: dict[tuple[int, int], float], swapped: dict[tuple[int, int], float]) -> Drops:
    """Mean over targets of unperturbed minus swapped, with the same dropout masks."""
    lost: dict[int, list[float]] = defaultdict(list)
    for key, certainty in swapped.items():
        lost[key[0]].append(whole[key] - certainty)
    return {image: float(np.mean(drops)) for image, drops in lost.items()}
