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
from spuraudit.audits.patch_curves import Sweep, sweeps_of
from spuraudit.audits.patch_findings import Pair, measure_pair, pair_finding
from spuraudit.audits.patch_search import Halving, Round
from spuraudit.perturb.draws import key_of
from spuraudit.perturb.exchange import Grid, GridCell, grid, paste_cell
from spuraudit.record.scan import AuditRecord, Finding, Measurement
from spuraudit.stats.multiple import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.patch_pairs import Pairing
    from spuraudit.audits.rows import Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.record.scan import Scope

#: Curves of so many source images per class pair go into the record.
CURVES_EACH = 12


@dataclass(frozen=True)
class PatchSwapAudit:
    """Source images of each class against target images of other classes, `passes` MC-dropout passes each.

    adaptive: ask only the cells that may still be the lowest, instead of every cell under every target.
    dropout_note: which dropout is active. notes and budget_note: what else a reader must know, none of which changes a
    number: how passes are computed, how reduced precision agrees, what a budget pays for.
    """

    cohort: Cohort
    pairing: Pairing
    passes: int = 100
    patch: int | None = None
    adaptive: bool = False
    dropout_note: str = ""
    notes: tuple[str, ...] = ()
    budget_note: str = ""

    @cached_property
    def grid(self) -> Grid:
        """Cells of `patch` pixels; by default a seventh of the shorter side, as 4 of 28 in the paper."""
        side = min(self.cohort.height, self.cohort.width)
        return grid(self.cohort.height, self.cohort.width, self.patch or max(1, round(side / 7)))

    @property
    def search(self) -> Halving | None:
        """The rule of an adaptive search."""
        return self._rule(self.pairing.targets)

    def _rule(self, targets: int) -> Halving | None:
        """The same for a class that has fewer images than targets are wanted."""
        return Halving(len(self.grid.cells), targets) if self.adaptive else None

    def _everything(self, targets: int) -> Round:
        return Round(tuple(range(len(self.grid.cells))), 0, targets)

    def questions(self, row: ImageRow) -> list[Question]:
        """Per target: the unperturbed source under this target's dropout masks, then the cells."""
        found = []
        for place, (target, images) in enumerate(self.pairing.targets_for.get(row.id, ())):
            rule = self._rule(len(images))
            first = self._everything(len(images)) if rule is None else rule.first()
            found += self._ask(place, target, images, first)
        return found

    def _ask(self, place: int, target: int, images: Sequence[ImageRow], wanted: Round) -> list[Question]:
        cells = (-1, *wanted.cells)
        return [
            Question(f"patch:{cell + 1}", place * self.pairing.targets + number, image.id, target)
            for number, image in enumerate(images[wanted.start : wanted.stop], start=wanted.start)
            for cell in cells
        ]

    def follow_up(self, row: ImageRow, certainty: Mapping[Question, float]) -> list[Question]:
        """The next round of an adaptive search, of each target class by itself."""
        if not self.adaptive:
            return []
        dense: dict[int, NDArray[np.float64]] = {}
        for question, value in certainty.items():
            place, number = divmod(question.trial, self.pairing.targets)
            shape = (self.pairing.targets, len(self.grid.cells) + 1)
            dense.setdefault(place, np.full(shape, np.nan))[number, _cell_of(question)] = value
        found = []
        for place, (target, images) in enumerate(self.pairing.targets_for.get(row.id, ())):
            rule = self._rule(len(images))
            wanted = rule.after(dense[place][: len(images), 1:]) if rule is not None else None
            found += self._ask(place, target, images, wanted) if wanted is not None else []
        return found

    def most_questions(self, row: ImageRow) -> int:
        """Swaps and unperturbed images of a search that never ends early."""
        total = 0
        for _, images in self.pairing.targets_for.get(row.id, ()):
            rule = self._rule(len(images))
            total += len(images) + (len(self.grid.cells) * len(images) if rule is None else rule.most_swaps())
        return total

    def donors(self, row: ImageRow) -> tuple[str, ...]:
        """Ids of all its target images."""
        return tuple(image.id for _, images in self.pairing.targets_for.get(row.id, ()) for image in images)

    def mask_key(self, row: ImageRow, question: Question) -> int:
        """Key of the dropout masks: shared by all cells of a (source, target) pair."""
        return key_of(self.cohort.seed, row.id, question.donor or "", "mc dropout")

    def show(self, sample: Sample, questions: Sequence[Question], donors: Mapping[str, Sample]) -> Shown:
        """The source with one of the target's cells pasted in; itself for cell 0."""
        core = sample.core
        shown = sample.pixels.expand(len(questions), -1, -1, -1).clone()
        core_share = []
        for pixels, question in zip(shown, questions, strict=True):
            number = _cell_of(question)
            if number == 0:
                core_share.append(float("nan"))
                continue
            cell = self.grid.cells[number - 1]
            paste_cell(pixels, donors[question.donor or ""].pixels, cell)
            core_share.append(float("nan") if core is None else float(_inside(core, cell).mean()))
        return Shown(shown, core_share=torch.tensor(core_share))

    @property
    def definition(self) -> str:
        """Everything a number of this audit depends on."""
        height, width = self.cohort.height, self.cohort.width
        cell, pairing = self.grid.cells[0], self.pairing
        rule = self.search
        search = f"halving from {rule.start} targets at {rule.confidence:.0%}" if rule is not None else "full"
        sources = f"{pairing.sources}" if pairing.limit is None else f"{pairing.sources}, {pairing.limit} in all"
        return (
            f"patch_swap/hagos-2022;patch={cell.bottom - cell.top}px@{height}x{width};passes={self.passes};"
            f"targets={pairing.targets};sources={sources};search={search};donors={self.cohort.donors_from};"
            f"certainty=mean softmax of the source's class;seed={self.cohort.seed};{self.dropout_note};"
            f"{self.cohort.suffix}"
        )

    def summarise(self, rows: Rows) -> Summary:
        """Curves, drops and consistency per class pair; the argmin cell of each pair as a finding."""
        measurements: list[Measurement] = []
        tested: list[tuple[Finding, float]] = []
        names = self.cohort.class_names
        pairs = self._pairs(rows)
        for pair in pairs:
            scope: Scope = {"class": names[pair.label], "target_class": names[pair.target]}
            measurements += measure_pair(pair, self.grid, self.definition, scope, self.cohort.seed)
            tested.append(pair_finding(pair, self.grid, self.cohort))
        q_values = benjamini_hochberg([p for _, p in tested])
        findings = [
            finding.model_copy(
                update={"q": q, "suspected": finding.role != "core" and finding.effect > 0 and q <= SUSPECT_Q}
            )
            for (finding, _), q in zip(tested, q_values, strict=True)
        ]
        definitions = {
            self.definition: "Mean softmax probability (sigmoid of a multi-label head) of the source image's class "
            "over MC-dropout passes and target images, with one cell exchanged (Hagos et al. 2022); drop = unperturbed "
            "- exchanged. Only source images that the model classifies right count."
        }
        curves = tuple(sweep.record(rows, names, self.grid) for pair in pairs for sweep in pair.sweeps[:CURVES_EACH])
        return Summary(measurements, findings, definitions, self._record(rows, pairs), curves=curves)

    def _pairs(self, rows: Rows) -> list[Pair]:
        by_pair: dict[tuple[int, int], list[Sweep]] = {}
        for sweep in sweeps_of(rows, self.grid, self.search):
            if rows.clean[sweep.image]:
                by_pair.setdefault((sweep.label, sweep.target), []).append(sweep)
        return [Pair(label, target, sweeps) for (label, target), sweeps in sorted(by_pair.items())]

    def _record(self, rows: Rows, pairs: Sequence[Pair]) -> AuditRecord:
        asked = [row for row in rows.images if row.id in self.pairing.targets_for]
        names, pairing = self.cohort.class_names, self.pairing
        notes = [note for note in (self.dropout_note, *self.notes, self.budget_note) if note]
        none_right, without_images = pairing.none_right(), pairing.without_images()
        notes += [
            f"None of the {tried} source images of {names[label]} that were tried is classified right: not swept."
            for label, tried in none_right
        ]
        notes += [
            f"{names[label]} with cells of {names[target]} was not swept: there are no images of one of the two."
            for label, target in without_images
        ]
        sweeps = [sweep for pair in pairs for sweep in pair.sweeps]
        differ = sum(sweep.argmin != sweep.plain_argmin for sweep in sweeps)
        if sweeps:
            notes.append(
                f"Without dropout, the lowest cell is another one in {differ} of {len(sweeps)} sweeps of single images."
            )
        answers = sum(len(rows.block(f"patch:{cell}").image) for cell in range(len(self.grid.cells) + 1))
        return AuditRecord(
            name="patch_swap",
            status="run",
            params={
                "passes": self.passes,
                "targets": pairing.targets,
                "sources_per_class": pairing.sources,
                "target_classes": max((len(found) for found in pairing.targets_of.values()), default=0),
                "grid": f"{self.grid.rows}x{self.grid.columns}",
                "patch": self.grid.cells[0].bottom - self.grid.cells[0].top,
                "search": "adaptive" if self.adaptive else "full",
            },
            images=len(asked),
            passes=answers * (self.passes + 1),
            notes=notes,
            unmeasured=[names[label] for label in sorted({label for label, _ in (*none_right, *without_images)})],
        )

    def panels(self, finding: Finding, row: ImageRow) -> list[tuple[str, Question]]:
        """The source with the suspected cell of its first target."""
        if finding.cell is None:
            return []
        for place, (target, images) in enumerate(self.pairing.targets_for.get(row.id, ())):
            if self.cohort.class_names[target] == finding.target_class:
                trial = place * self.pairing.targets
                return [("swapped", Question(f"patch:{finding.cell.number}", trial, images[0].id, target))]
        return []

    def region(self, sample: Sample, finding: Finding) -> Tensor:
        """The cell."""
        area = torch.zeros(sample.pixels.shape[-2:])
        if finding.cell is not None:
            _inside(area, self.grid.cells[finding.cell.number - 1]).fill_(1.0)
        return area


def _cell_of(question: Question) -> int:
    """Number of the cell, 0 for the unperturbed image."""
    return int(question.condition.partition(":")[2])


def _inside(area: Tensor, cell: GridCell) -> Tensor:
    return area[cell.top : cell.bottom, cell.left : cell.right]
