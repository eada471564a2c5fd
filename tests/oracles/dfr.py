"""DFR (Kirichenko et al., section 4 and the authors' dfr_evaluate_spurious.py), restated image by image.

The draws are given: which permutation of a group's images belongs to which step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
#: (purpose, group, number of images) -> an order of them.
Shuffle = Callable[[str | int, str, int], Sequence[int]]


def mean_and_deviation(rows: list[Floats]) -> tuple[Floats, Floats]:
    mean = np.zeros(len(rows[0]))
    for row in rows:
        mean = mean + row / len(rows)
    variance = np.zeros(len(rows[0]))
    for row in rows:
        variance = variance + (row - mean) ** 2 / len(rows)
    return mean, np.sqrt(variance)


def members(groups: Sequence[str], among: Sequence[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in among:
        found.setdefault(groups[row], []).append(row)
    return found


def drawn_equally(groups: Sequence[str], among: Sequence[int], purpose: str | int, shuffle: Shuffle) -> list[int]:
    of_group = members(groups, among)
    smallest = min(len(rows) for rows in of_group.values())
    chosen = []
    for name, rows in of_group.items():
        order = shuffle(purpose, name, len(rows))
        chosen += [rows[order[place]] for place in range(smallest)]
    return sorted(chosen)


def regression(rows: list[Floats], targets: list[int], strength: float, l1: bool, state: int) -> tuple[Floats, float]:
    model = LogisticRegression(
        C=strength, l1_ratio=float(l1), solver="liblinear", max_iter=1000, random_state=state
    ).fit(np.array(rows), np.array(targets))
    return model.coef_[0], float(model.intercept_[0])


def two_class_dfr(
    features: Floats,
    labels: Sequence[int],
    groups: Sequence[str],
    grid: Sequence[float],
    averages: int,
    l1: bool,
    state: int,
    shuffle: Shuffle,
) -> tuple[float, dict[float, float], Callable[[Floats], float]]:
    """The chosen C, each C's worst accuracy, and z of an image: standardised, then w . x + b, both averaged."""
    fitting: list[int] = []
    choosing: list[int] = []
    for name, rows in members(groups, range(len(groups))).items():
        order = shuffle("halves", name, len(rows))
        for place in range(len(rows)):
            (fitting if place < (len(rows) + 1) // 2 else choosing).append(rows[order[place]])
    fitting, choosing = sorted(fitting), sorted(choosing)

    mean, deviation = mean_and_deviation([features[row] for row in fitting])
    chosen = drawn_equally(groups, fitting, "choice", shuffle)
    worst = {}
    for strength in grid:
        w, b = regression(
            [(features[row] - mean) / deviation for row in chosen], [labels[row] for row in chosen], strength, l1, state
        )
        right: dict[str, list[bool]] = {}
        for row in choosing:
            z = float(np.dot(w, (features[row] - mean) / deviation)) + b
            right.setdefault(groups[row], []).append((z > 0) == (labels[row] == 1))
        worst[strength] = min(sum(answers) / len(answers) for answers in right.values())
    best = grid[0]
    for strength in grid:
        if worst[strength] > worst[best]:
            best = strength

    mean, deviation = mean_and_deviation(list(features))
    total_w, total_b = np.zeros(features.shape[1]), 0.0
    for number in range(averages):
        some = drawn_equally(groups, range(len(groups)), number, shuffle)
        w, b = regression(
            [(features[row] - mean) / deviation for row in some], [labels[row] for row in some], best, l1, state
        )
        total_w, total_b = total_w + w / averages, total_b + b / averages

    def z_of(image: Floats) -> float:
        return float(np.dot(total_w, (image - mean) / deviation)) + total_b

    return best, worst, z_of
