"""Adaptive search for the cell with the lowest certainty, with a quarter of an exhaustive sweep's swaps.

Successive halving (Karnin, Koren & Somekh 2013; Jamieson & Talwalkar 2016): every round asks the cells that are left
about as many targets again as there were before, then keeps the better half. All cells see the same targets in the
same order, so differences between cells are paired, and a round ends earlier where every other cell is excluded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Family-wise: of all cells that are left, none that is truly lowest is excluded with a probability above 1 - this.
CONFIDENCE = 0.99
START = 4


class Round(NamedTuple):
    """What to ask next: cells (indices from 0) under the targets start to stop - 1."""

    cells: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Halving:
    """The rule. `start` targets for all cells, then twice as many for the better half of them, up to `targets`."""

    cells: int
    targets: int
    start: int = START
    confidence: float = CONFIDENCE

    def first(self) -> Round:
        """All cells under the first targets."""
        return Round(tuple(range(self.cells)), 0, min(self.start, self.targets))

    def after(self, certainty: Floats) -> Round | None:
        """The next round, or None where the search is over.

        certainty (targets, cells): NaN where not asked. Asked are, for each cell, the targets 0 to some number.
        """
        left, asked = standing(certainty)
        if asked >= self.targets or len(left) <= 1:
            return None
        open_cells = left[~self._excluded(certainty[:asked][:, left])]
        if len(open_cells) <= 1:
            return None
        order = open_cells[np.argsort(certainty[:asked][:, open_cells].mean(axis=0), kind="stable")]
        kept = np.sort(order[: (len(left) + 1) // 2])
        return Round(tuple(kept.tolist()), asked, min(2 * asked, self.targets)) if len(kept) > 1 else None

    def settled(self, certainty: Floats) -> bool:
        """Whether the lowest cell is told from all others that were left, at the stated confidence."""
        left, asked = standing(certainty)
        return int((~self._excluded(certainty[:asked][:, left])).sum()) == 1

    def most_swaps(self) -> int:
        """Swaps of a search that never ends early: its fixed cost."""
        total, left, asked, stop = 0, self.cells, 0, min(self.start, self.targets)
        while True:
            total += left * (stop - asked)
            if stop >= self.targets:
                return total
            left, asked, stop = (left + 1) // 2, stop, min(2 * stop, self.targets)
            if left <= 1:
                return total

    def _excluded(self, certainty: Floats) -> NDArray[np.bool_]:
        """(cells,) whether a cell's mean gap to the lowest one exceeds chance: paired t, Bonferroni over cells."""
        asked, cells = certainty.shape
        lowest = int(certainty.mean(axis=0).argmin())
        gaps = certainty - certainty[:, [lowest]]
        mean = gaps.mean(axis=0)
        if asked < 2:
            return np.zeros(cells, dtype=bool)
        error = gaps.std(axis=0, ddof=1) / np.sqrt(asked)
        bar = float(student.ppf(1 - (1 - self.confidence) / max(cells - 1, 1), asked - 1))
        # Equal cells (a swap that changed no pixel) have no gap and no error: they stay.
        excluded: NDArray[np.bool_] = mean > bar * error
        excluded[lowest] = False
        return excluded


def standing(certainty: Floats) -> tuple[Ints, int]:
    """The cells that were asked under most targets, and how many these are."""
    asked = (~np.isnan(certainty)).sum(axis=0)
    most = int(asked.max())
    return np.flatnonzero(asked == most), most


def lowest_cell(certainty: Floats) -> int:
    """Index of the argmin cell: lowest mean over targets, of the cells that were left at the end."""
    left, asked = standing(certainty)
    # Cells that change nothing differ in the last bits alone: the first of them, whatever the batches were.
    return int(left[certainty[:asked][:, left].mean(axis=0).round(6).argmin()])
