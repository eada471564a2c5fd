"""What a patch swap says about one pair of classes: measurements per cell, and the worst cell as a finding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spuraudit.audits.findings import fingerprint
from spuraudit.audits.measure import accuracy
from spuraudit.audits.measure import mean as mean_of
from spuraudit.perturb.draws import key_of
from spuraudit.record.scan import Cell, Finding, Measurement
from spuraudit.stats.intervals import mean_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spuraudit.audits.base import Cohort
    from spuraudit.audits.patch_curves import Sweep
    from spuraudit.perturb.exchange import Grid
    from spuraudit.record.scan import Scope

#: A cell that is core for more than this share of its area is expected to matter.
CORE_SHARE = 0.25
PERMUTATIONS = 9999


@dataclass(frozen=True)
class Pair:
    """Sweeps of one (source class, target class): sources that the model classifies right."""

    label: int
    target: int
    sweeps: list[Sweep]

    @cached_property
    def drops(self) -> NDArray[np.float64]:
        """(sources, cells) certainty lost."""
        return np.stack([sweep.drops for sweep in self.sweeps])

    @cached_property
    def worst(self) -> NDArray[np.int64]:
        """(sources,) index of each one's own lowest cell."""
        return np.array([sweep.argmin for sweep in self.sweeps], dtype=np.int64)

    @cached_property
    def unperturbed(self) -> NDArray[np.float64]:
        """(sources,) certainty without any swap."""
        return np.array([sweep.unperturbed for sweep in self.sweeps])

    @cached_property
    def core_share(self) -> NDArray[np.float64]:
        """(cells,) mean over the sources that have a core mask, NaN where none has."""
        shares = np.stack([sweep.core_share for sweep in self.sweeps])
        masked = shares[~np.isnan(shares).all(axis=1)]
        return np.nanmean(masked, axis=0) if len(masked) else np.full(shares.shape[1], np.nan)


def measure_pair(pair: Pair, grid: Grid, definition: str, scope: Scope, seed: int) -> list[Measurement]:
    """Certainties, drops and shares of one class pair, whole and per cell."""

    def measured(metric: str, where: Scope, values: NDArray[np.float64], low: float) -> Measurement:
        return mean_of(metric, definition, where, [values], (low, 1.0), seed)

    same = np.array([sweep.plain_argmin == sweep.argmin for sweep in pair.sweeps], dtype=float)
    found = [
        measured("patch_certainty_unperturbed", scope, pair.unperturbed, 0.0),
        measured("patch_argmin_drop", scope, pair.drops[np.arange(len(pair.worst)), pair.worst], -1.0),
        measured("patch_mean_absolute_change", scope, np.abs(pair.drops).mean(axis=1), 0.0),
        accuracy("patch_argmin_agreement", definition, scope, [same]),
    ]
    if all(sweep.settled is not None for sweep in pair.sweeps):
        settled = np.array([bool(sweep.settled) for sweep in pair.sweeps], dtype=float)
        found.append(accuracy("patch_settled", definition, scope, [settled]))
    for index, cell in enumerate(grid.cells):
        where: Scope = {
            **scope,
            "cell": cell.number,
            "row": cell.row,
            "column": cell.column,
            "rows": grid.rows,
            "columns": grid.columns,
        }
        found.append(measured("patch_certainty", where, pair.unperturbed - pair.drops[:, index], 0.0))
        found.append(measured("patch_drop", where, pair.drops[:, index], -1.0))
        found.append(measured("patch_consistency", where, (pair.worst == index).astype(float), 0.0))
    return found


def pair_finding(pair: Pair, grid: Grid, cohort: Cohort) -> tuple[Finding, float]:
    """The cell with the largest mean drop, and its p against the other cells; q comes with all pairs."""
    drops = pair.drops
    index = int(drops.mean(axis=0).argmax())
    cell = grid.cells[index]
    key = key_of(cohort.seed, "patch", pair.label, pair.target)
    estimate = mean_interval([drops[:, index]], (-1.0, 1.0), key)
    p = cell_permutation(drops, key_of(cohort.seed, "patch test", pair.label, pair.target))
    is_core = bool(pair.core_share[index] > CORE_SHARE)
    names = cohort.class_names
    name = f"cell {cell.number}"
    finding = Finding(
        id="F000",
        fingerprint=fingerprint("patch_swap", cohort.dataset.name, names[pair.label], name),
        audit="patch_swap",
        suspected=False,
        class_name=names[pair.label],
        target_class=names[pair.target],
        feature=name,
        role="core" if is_core else "unnamed",
        effect=estimate.value,
        effect_ci=(estimate.low, estimate.high),
        n=len(drops),
        p=p,
        q=1.0,
        numbers=_numbers(pair, index),
        cell=Cell(number=cell.number, row=cell.row, column=cell.column, rows=grid.rows, columns=grid.columns),
        flags=_flags(pair, index, is_core),
    )
    return finding, p


def _flags(pair: Pair, index: int, is_core: bool) -> list[str]:
    flags = ["The cell lies on the object: losing certainty there is expected."] if is_core else []
    plain = np.stack([sweep.plain_unperturbed - sweep.plain for sweep in pair.sweeps])
    plain_worst = int(plain.mean(axis=0).argmax())
    if plain_worst != index:
        flags.append(f"Without dropout the worst cell would be {plain_worst + 1}.")
    return flags


def _numbers(pair: Pair, index: int) -> dict[str, float | None]:
    return {
        "unperturbed": float(np.mean(pair.unperturbed)),
        "swapped": float(np.mean(pair.unperturbed - pair.drops[:, index])),
        "drop": float(np.mean(pair.drops[:, index])),
        "consistency": float((pair.worst == index).mean()),
        "mean_absolute_change": float(np.abs(pair.drops).mean()),
        "plain_drop": float(np.mean([sweep.plain_unperturbed - sweep.plain[index] for sweep in pair.sweeps])),
        "entropy_unperturbed": float(np.mean([sweep.entropy_unperturbed for sweep in pair.sweeps])),
        "entropy_swapped": float(np.mean([sweep.entropy[index] for sweep in pair.sweeps])),
    }


def cell_permutation(drops: NDArray[np.float64], seed: int, draws: int = PERMUTATIONS) -> float:
    """p of the largest mean drop over cells, against the same sources with their cells shuffled independently.

    drops (sources, cells). Null: no cell is special, each source's drops could lie anywhere. Taking the maximum in
    every shuffle pays for having looked at all cells. Smallest p: 1 / (draws + 1).
    """
    rng = np.random.Generator(np.random.Philox(seed))
    observed = drops.mean(axis=0).max() - 1e-12
    beyond = 0
    for start in range(0, draws, 500):
        size = min(500, draws - start)
        order = rng.random((size, *drops.shape)).argsort(axis=2)
        shuffled = np.take_along_axis(np.broadcast_to(drops, order.shape), order, axis=2)
        beyond += int((shuffled.mean(axis=1).max(axis=1) >= observed).sum())
    return (beyond + 1) / (draws + 1)
