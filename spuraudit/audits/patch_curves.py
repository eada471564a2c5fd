"""From the rows of a patch swap to curves: certainty over cells of one source image against one target class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spuraudit.audits.patch_search import lowest_cell
from spuraudit.record.scan import PatchCurve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.audits.patch_search import Halving
    from spuraudit.audits.rows import Rows
    from spuraudit.perturb.exchange import Grid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sweep:
    """One source image and the cells of one target class. Arrays have one entry per cell.

    Means over targets; core_share is NaN without a core mask. A cell that an adaptive search dropped early saw fewer
    targets: its drop is the mean over these, and its certainty the unperturbed one minus that drop, so that cells stay
    comparable.
    """

    image: int
    label: int
    target: int
    unperturbed: float
    plain_unperturbed: float
    entropy_unperturbed: float
    certainty: Floats
    plain: Floats
    entropy: Floats
    core_share: Floats
    targets: NDArray[np.int64]
    #: Index of the lowest cell, with and without dropout.
    argmin: int
    plain_argmin: int
    settled: bool | None

    @property
    def drops(self) -> Floats:
        """(cells,) certainty lost."""
        return self.unperturbed - self.certainty

    def record(self, rows: Rows, names: Sequence[str], grid: Grid) -> PatchCurve:
        """The curve for people and reports."""
        return PatchCurve(
            image=rows.images[self.image].id,
            class_name=names[self.label],
            target_class=names[self.target],
            rows=grid.rows,
            columns=grid.columns,
            unperturbed=round(self.unperturbed, 5),
            plain_unperturbed=round(self.plain_unperturbed, 5),
            certainty=[round(float(value), 5) for value in self.certainty],
            plain_certainty=[round(float(value), 5) for value in self.plain],
            targets=self.targets.tolist(),
            argmin=self.argmin + 1,
            plain_argmin=self.plain_argmin + 1,
            settled=self.settled,
        )


def sweeps_of(rows: Rows, grid: Grid, search: Halving | None) -> list[Sweep]:
    """All sweeps, by class, target class and image id. `search`: of an adaptive sweep, to say whether it settled."""
    table = _Answers.of(rows, len(grid.cells))
    if not len(table.image):
        return []
    pair = np.stack([table.image, table.donor_label], axis=1)
    order = np.lexsort((table.donor_label, table.image))
    borders = np.flatnonzero((np.diff(pair[order], axis=0) != 0).any(axis=1)) + 1
    found = [_sweep(table.take(places), rows, len(grid.cells), search) for places in np.split(order, borders)]
    return sorted(found, key=lambda sweep: (sweep.label, sweep.target, rows.images[sweep.image].id))


@dataclass(frozen=True)
class _Answers:
    """Rows of the patch conditions; cell 0 is the unperturbed image."""

    image: NDArray[np.int64]
    donor_label: NDArray[np.int64]
    trial: NDArray[np.int64]
    cell: NDArray[np.int64]
    p_true: Floats
    p_plain: Floats
    entropy: Floats
    core_share: Floats

    @classmethod
    def of(cls, rows: Rows, cells: int) -> _Answers:
        blocks = [rows.block(f"patch:{cell}") for cell in range(cells + 1)]
        return cls(
            np.concatenate([block.image for block in blocks]),
            np.concatenate([block.donor_label for block in blocks]),
            np.concatenate([block.trial for block in blocks]),
            np.repeat(np.arange(cells + 1), [len(block.image) for block in blocks]),
            np.concatenate([block.p_true for block in blocks]),
            np.concatenate([block.p_plain for block in blocks]),
            np.concatenate([block.entropy for block in blocks]),
            np.concatenate([block.core_share for block in blocks]),
        )

    def take(self, places: NDArray[np.int64]) -> _Answers:
        return _Answers(
            self.image[places],
            self.donor_label[places],
            self.trial[places],
            self.cell[places],
            self.p_true[places],
            self.p_plain[places],
            self.entropy[places],
            self.core_share[places],
        )

    def matrix(self, values: Floats, cells: int) -> Floats:
        """(targets, 1 + cells): targets in the order in which they were asked."""
        trials = np.unique(self.trial)
        dense = np.full((len(trials), cells + 1), np.nan)
        dense[np.searchsorted(trials, self.trial), self.cell] = values
        return dense


def _sweep(answers: _Answers, rows: Rows, cells: int, search: Halving | None) -> Sweep:
    certainty = answers.matrix(answers.p_true, cells)
    plain = answers.matrix(answers.p_plain, cells)
    entropy = answers.matrix(answers.entropy, cells)
    core_share = np.full(cells + 1, np.nan)
    core_share[answers.cell] = answers.core_share
    image = int(answers.image[0])
    return Sweep(
        image=image,
        label=int(rows.labels[image]),
        target=int(answers.donor_label[0]),
        unperturbed=float(certainty[:, 0].mean()),
        plain_unperturbed=float(plain[:, 0].mean()),
        entropy_unperturbed=float(entropy[:, 0].mean()),
        certainty=_compared(certainty),
        plain=_compared(plain),
        entropy=_compared(entropy),
        core_share=core_share[1:],
        targets=(~np.isnan(certainty[:, 1:])).sum(axis=0),
        argmin=lowest_cell(certainty[:, 1:]),
        plain_argmin=lowest_cell(plain[:, 1:]),
        settled=None if search is None else search.settled(certainty[:, 1:]),
    )


def _compared(values: Floats) -> Floats:
    """(cells,) mean over a cell's targets, moved by how much these targets' unperturbed answers differ from all."""
    change = np.nanmean(values[:, 1:] - values[:, :1], axis=0)
    return np.asarray(values[:, 0].mean() + change)
