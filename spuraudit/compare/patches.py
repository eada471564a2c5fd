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
    trial = _trials(*joined.own("patch:0", side))
    found = _drops(trial, _trials(*joined.own(f"patch:{cell}", side)), joined, label, target)
    return {image: drop for image, drop in found.items() if joined.clean[side, image]}


def common_drops(joined: Joined, label: int, target: int, cell: int) -> tuple[Drops, Drops]:
    """Before and after, of sources that both models classify right, over the targets that both were asked with."""
    whole, swapped = joined.block("patch:0"), joined.block(f"patch:{cell}")
    before, after = (
        _drops(
            _trials(whole.image, whole.trial, whole.donor_label, whole.p_true[side]),
            _trials(swapped.image, swapped.trial, swapped.donor_label, swapped.p_true[side]),
            joined,
            label,
            target,
        )
        for side in (0, 1)
    )
    both = [image for image in sorted(before) if joined.clean[:, image].all()]
    return {image: before[image] for image in both}, {image: after[image] for image in both}


def _trials(image: Ints, trial: Ints, donor_label: Ints, p_true: Floats) -> dict[tuple[int, int, int], float]:
    keys = zip(image.tolist(), donor_label.tolist(), trial.tolist(), strict=True)
    return dict(zip(keys, p_true.tolist(), strict=True))


def _drops(
    whole: dict[tuple[int, int, int], float],
    swapped: dict[tuple[int, int, int], float],
    joined: Joined,
    label: int,
    target: int,
) -> Drops:
    """Mean over targets of unperturbed minus swapped, with the same dropout masks."""
    lost: dict[int, list[float]] = defaultdict(list)
    for key, certainty in swapped.items():
        image, donor, _ = key
        if donor == target and joined.labels[image] == label:
            lost[image].append(whole[key] - certainty)
    return {image: float(np.mean(drops)) for image, drops in lost.items()}
