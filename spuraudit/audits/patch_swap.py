"""Patch swap with MC dropout (Hagos et al. 2022): which cell of the image carries the model's certainty?

For each source image and each target image of another class, one grid cell of the source is replaced by the target's,
and the mean softmax probability of the source's class over T MC-dropout passes is taken. The cell whose exchange costs
most certainty, over targets and sources, is a suspect. It needs no masks. Open points of the paper and what was
decided: docs/design/architecture.md, "Patch swap".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from spuraudit.audits.base import SUSPECT_Q, Cohort, Question, Shown, Summary
from spuraudit.audits.findings import fingerprint
from spuraudit.audits.measure import mean as mean_of
from spuraudit.perturb.draws import key_of, rng_of
from spuraudit.perturb.exchange import Grid, GridCell, grid, swap_patch
from spuraudit.record.scan import AuditRecord, Cell, Finding, Measurement
from spuraudit.stats.intervals import mean_interval
from spuraudit.stats.multiple import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.rows import Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.record.scan import Scope

UNPERTURBED = "patch:0"
#: A cell that is core for more than this share of its area is expected to matter.
CORE_SHARE = 0.25
PERMUTATIONS = 9999


@dataclass(frozen=True)
class _Pair:
    """Curves of one (source class, target class): sources that the model classifies right."""

    label: int
    target: int
    unperturbed: NDArray[np.float64]  # (sources,)
    curves: NDArray[np.float64]  # (sources, cells)
    plain: NDArray[np.float64]  # (sources, 1 + cells): without dropout, unperturbed first
    core_share: NDArray[np.float64]  # (cells,) NaN without core masks
    asked: int

    @property
    def drops(self) -> NDArray[np.float64]:
        """(sources, cells) certainty lost."""
        return self.unperturbed[:, None] - self.curves


@dataclass(frozen=True)
class PatchSwapAudit:
    """`sources` images per class against `targets` images of one other class each, `passes` MC-dropout passes."""

    cohort: Cohort
    passes: int = 100
    targets: int = 50
    sources: int = 4
    patch: int | None = None
    source_classes: tuple[int, ...] | None = None
    dropout_note: str = ""

    @cached_property
    def grid(self) -> Grid:
        """Cells of `patch` pixels; by default a seventh of the shorter side, as 4 of 28 in the paper."""
        side = min(self.cohort.height, self.cohort.width)
        return grid(self.cohort.height, self.cohort.width, self.patch or max(1, round(side / 7)))

    @cached_property
    def _plan(self) -> dict[str, tuple[ImageRow, ...]]:
        """Targets of each source image, by source id; drawn without replacement, keyed on seed, class and image."""
        seed = self.cohort.seed
        by_class: dict[int, list[ImageRow]] = {}
        pool: dict[int, list[ImageRow]] = {}
        for row in self.cohort.rows:
            by_class.setdefault(row.label, []).append(row)
        for row in self.cohort.donors:
            pool.setdefault(row.label, []).append(row)
        plan = {}
        for label in sorted(by_class):
            others = [other for other in sorted(pool) if other != label]
            if not others or (self.source_classes is not None and label not in self.source_classes):
                continue
            target = others[int(rng_of(seed, "patch target class", label).integers(len(others)))]
            sources = _draw(by_class[label], self.sources, seed, "patch source")
            targets = _draw(pool[target], self.targets, seed, f"patch target of {label}")
            plan.update({row.id: tuple(targets) for row in sources})
        return plan

    def questions(self, row: ImageRow) -> list[Question]:
        """Per target: the unperturbed source under this target's dropout masks, then every cell."""
        cells = range(len(self.grid.cells) + 1)
        return [
            Question(f"patch:{cell}", trial, target.id, target.label)
            for trial, target in enumerate(self._plan.get(row.id, ()))
            for cell in cells
        ]

    def mask_key(self, row: ImageRow, question: Question) -> int:
        """Key of the dropout masks: shared by all cells of a (source, target) pair."""
        return key_of(self.cohort.seed, row.id, question.donor or "", "mc dropout")

    def show(self, sample: Sample, questions: Sequence[Question], donors: Mapping[str, Sample]) -> Shown:
        """The source with one of the target's cells pasted in; itself for cell 0."""
        core = sample.core
        shown, core_share = [], []
        for question in questions:
            number = int(question.condition.partition(":")[2])
            if number == 0:
                shown.append(sample.pixels)
                core_share.append(float("nan"))
                continue
            cell = self.grid.cells[number - 1]
            shown.append(swap_patch(sample.pixels, donors[question.donor or ""].pixels, cell))
            core_share.append(float("nan") if core is None else float(_inside(core, cell).mean()))
        return Shown(torch.stack(shown), core_share=torch.tensor(core_share))

    @property
    def definition(self) -> str:
        """Everything a number of this audit depends on."""
        height, width = self.cohort.height, self.cohort.width
        cell = self.grid.cells[0]
        return (
            f"patch_swap/hagos-2022;patch={cell.bottom - cell.top}px@{height}x{width};passes={self.passes};"
            f"targets={self.targets};sources={self.sources};donors={self.cohort.donors_from};"
            f"certainty=mean softmax of the source's class;seed={self.cohort.seed};{self.dropout_note};"
            f"{self.cohort.suffix}"
        )

    def summarise(self, rows: Rows) -> Summary:
        """Curves, drops and consistency per class pair; the argmin cell of each pair as a finding."""
        measurements: list[Measurement] = []
        tested: list[tuple[Finding, float]] = []
        notes = [self.dropout_note] if self.dropout_note else []
        for pair in self._pairs(rows):
            names = self.cohort.class_names
            if not len(pair.curves):
                notes.append(
                    f"None of the {pair.asked} source images of {names[pair.label]} is classified right: not swept."
                )
                continue
            scope: Scope = {"class": names[pair.label], "target_class": names[pair.target]}
            measurements += self._measure(pair, scope)
            tested.append(self._finding(pair))
        q_values = benjamini_hochberg([p for _, p in tested])
        findings = [
            finding.model_copy(
                update={"q": q, "suspected": finding.role != "core" and finding.effect > 0 and q <= SUSPECT_Q}
            )
            for (finding, _), q in zip(tested, q_values, strict=True)
        ]
        definitions = {
            self.definition: "Mean softmax probability of the source image's class over MC-dropout passes and target "
            "images, with one cell exchanged (Hagos et al. 2022); drop = unperturbed - exchanged. Only source images "
            "that the model classifies right count."
        }
        return Summary(measurements, findings, definitions, self._record(rows, notes))

    def _pairs(self, rows: Rows) -> list[_Pair]:
        """Means over targets, per source and cell, by (class, target class)."""
        cells = len(self.grid.cells)
        mean = np.full((rows.count, cells + 1), np.nan)
        plain = np.full_like(mean, np.nan)
        core_share = np.full_like(mean, np.nan)
        target = np.full(rows.count, -1, dtype=np.int64)
        for cell in range(cells + 1):
            block = rows.block(f"patch:{cell}")
            asked = np.bincount(block.image, minlength=rows.count)
            kept = asked > 0
            mean[kept, cell] = block.per_image(block.p_true, rows.count)[kept] / asked[kept]
            plain[kept, cell] = block.per_image(block.p_plain, rows.count)[kept] / asked[kept]
            core_share[block.image, cell] = block.core_share
            target[block.image] = block.donor_label
        pairs = sorted({(int(rows.labels[i]), int(target[i])) for i in np.flatnonzero(target >= 0)})
        found = []
        for label, other in pairs:
            asked_here = (rows.labels == label) & (target == other)
            right = rows.sorted(asked_here & rows.clean)
            cores = core_share[right, 1:]
            masked = cores[~np.isnan(cores).any(axis=1)]
            shares = masked.mean(axis=0) if len(masked) else np.full(cells, np.nan)
            found.append(
                _Pair(label, other, mean[right, 0], mean[right, 1:], plain[right], shares, int(asked_here.sum()))
            )
        return found

    def _measure(self, pair: _Pair, scope: Scope) -> list[Measurement]:
        seed = self.cohort.seed

        def measured(metric: str, where: Scope, values: NDArray[np.float64], low: float) -> Measurement:
            return mean_of(metric, self.definition, where, [values], (low, 1.0), seed)

        found = [measured("patch_certainty_unperturbed", scope, pair.unperturbed, 0.0)]
        worst = pair.drops.argmax(axis=1)
        for index, cell in enumerate(self.grid.cells):
            where: Scope = {
                **scope,
                "cell": cell.number,
                "row": cell.row,
                "column": cell.column,
                "rows": self.grid.rows,
                "columns": self.grid.columns,
            }
            found.append(measured("patch_certainty", where, pair.curves[:, index], 0.0))
            found.append(measured("patch_drop", where, pair.drops[:, index], -1.0))
            found.append(measured("patch_consistency", where, (worst == index).astype(float), 0.0))
        return found

    def _finding(self, pair: _Pair) -> tuple[Finding, float]:
        drops = pair.drops
        index = int(drops.mean(axis=0).argmax())
        cell = self.grid.cells[index]
        key = key_of(self.cohort.seed, "patch", pair.label, pair.target)
        estimate = mean_interval([drops[:, index]], (-1.0, 1.0), key)
        p = cell_permutation(drops, key_of(self.cohort.seed, "patch test", pair.label, pair.target))
        plain = pair.plain[:, 0] - pair.plain[:, 1 + index]
        plain_worst = int((pair.plain[:, :1] - pair.plain[:, 1:]).mean(axis=0).argmax())
        is_core = bool(pair.core_share[index] > CORE_SHARE)
        names = self.cohort.class_names
        name = f"cell {cell.number}"
        flags = ["The cell lies on the object: losing certainty there is expected."] if is_core else []
        if plain_worst != index:
            flags.append(f"Without dropout the worst cell would be {plain_worst + 1}.")
        finding = Finding(
            id="F000",
            fingerprint=fingerprint("patch_swap", self.cohort.dataset.name, names[pair.label], name),
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
            numbers={
                "unperturbed": float(pair.unperturbed.mean()),
                "swapped": float(pair.curves[:, index].mean()),
                "drop": estimate.value,
                "consistency": float((drops.argmax(axis=1) == index).mean()),
                "mean_absolute_change": float(np.abs(drops).mean()),
                "plain_drop": float(plain.mean()),
            },
            cell=Cell(
                number=cell.number, row=cell.row, column=cell.column, rows=self.grid.rows, columns=self.grid.columns
            ),
            flags=flags,
        )
        return finding, p

    def _record(self, rows: Rows, notes: list[str]) -> AuditRecord:
        asked = [row for row in rows.images if row.id in self._plan]
        questions = sum(len(self.questions(row)) for row in asked)
        return AuditRecord(
            name="patch_swap",
            status="run",
            params={
                "passes": self.passes,
                "targets": self.targets,
                "sources_per_class": self.sources,
                "grid": f"{self.grid.rows}x{self.grid.columns}",
            },
            images=len(asked),
            passes=questions * (self.passes + 1),
            notes=notes,
        )

    def panels(self, finding: Finding, row: ImageRow) -> list[tuple[str, Question]]:
        """The source with the suspected cell of its first target."""
        if finding.cell is None or row.id not in self._plan:
            return []
        target = self._plan[row.id][0]
        return [("swapped", Question(f"patch:{finding.cell.number}", 0, target.id, target.label))]

    def region(self, sample: Sample, finding: Finding) -> Tensor:
        """The cell."""
        area = torch.zeros(sample.pixels.shape[-2:])
        if finding.cell is not None:
            _inside(area, self.grid.cells[finding.cell.number - 1]).fill_(1.0)
        return area


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


def _draw(rows: list[ImageRow], count: int, seed: int, purpose: str) -> list[ImageRow]:
    """The rows with the smallest keys: whatever the order of the file, and fewer images give a subset."""
    return sorted(rows, key=lambda row: key_of(seed, purpose, row.id))[:count]


def _inside(area: Tensor, cell: GridCell) -> Tensor:
    return area[cell.top : cell.bottom, cell.left : cell.right]
