"""Successive halving with paired exclusion, restated with plain loops over lists.

certainty[target][cell]: a number, or None where it was not asked.
"""

from __future__ import annotations

from statistics import mean, stdev

from scipy.stats import t as student

Table = list[list[float | None]]


def search(certainty: list[list[float]], start: int, confidence: float) -> tuple[int, int, bool]:
    """Look up answers in a whole table as the rule asks for them: (lowest cell, swaps asked, settled)."""
    targets, cells = len(certainty), list(range(len(certainty[0])))
    asked, until = 0, min(start, targets)
    swaps = 0
    while True:
        swaps += len(cells) * (until - asked)
        asked = until
        means = {cell: mean(certainty[target][cell] for target in range(asked)) for cell in cells}
        lowest = min(cells, key=lambda cell: (round(means[cell], 6), cell))
        leader = min(cells, key=lambda cell: (means[cell], cell))
        left = [
            cell
            for cell in cells
            if cell == leader or not excluded(certainty, cell, leader, asked, len(cells), confidence)
        ]
        keep = (len(cells) + 1) // 2
        survivors = sorted(sorted(left, key=lambda cell: (means[cell], cell))[:keep])
        if asked == targets or len(cells) == 1 or len(left) == 1 or len(survivors) == 1:
            return lowest, swaps, len(left) == 1
        cells = survivors
        until = min(2 * asked, targets)


def excluded(certainty: list[list[float]], cell: int, leader: int, asked: int, cells: int, confidence: float) -> bool:
    """One-sided paired t test of a cell against the leader, at a level shared among the other cells."""
    gaps = [certainty[target][cell] - certainty[target][leader] for target in range(asked)]
    if asked < 2:
        return False
    level = (1 - confidence) / max(cells - 1, 1)
    bar = float(student.ppf(1 - level, asked - 1))
    return mean(gaps) > bar * stdev(gaps) / asked**0.5
