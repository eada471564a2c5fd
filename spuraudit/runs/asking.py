"""Asks the model: pixels of many images in batches, rows out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch

from spuraudit.audits.base import CLEAN, Audit, Question, Shown, StochasticAudit
from spuraudit.models.mc_dropout import DropoutPlan, draw_masks, mc_logits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.model import Model
    from spuraudit.runs.loader import Loaded

Row = dict[str, Any]


@dataclass
class Asker:
    """Collects questions of one shard and answers them in batches; rows come back in the order asked."""

    model: Model
    class_map: ClassMap
    batch_size: int
    dropout: DropoutPlan | None = None
    _rows: list[Row] = field(default_factory=list)
    _waiting: list[tuple[Tensor, list[Row]]] = field(default_factory=list)
    _count: int = 0

    def ask(self, loaded: Loaded, audits: Sequence[Audit]) -> None:
        """All questions of one image: clean first, then each audit's."""
        sample = loaded.sample
        self._enqueue(sample, [Question(CLEAN)], Shown(sample.pixels[None]))
        for audit in audits:
            questions = audit.questions(sample.row)
            if isinstance(audit, StochasticAudit):
                self._ask_stochastic(loaded, audit, questions)
                continue
            for chunk in _chunks(questions, self.batch_size):
                self._enqueue(sample, chunk, audit.show(sample, chunk, loaded.donors))

    def finish(self) -> list[Row]:
        """Answer what is waiting and hand over all rows of the shard."""
        self._flush()
        rows, self._rows = self._rows, []
        return rows

    def _enqueue(self, sample: Sample, questions: Sequence[Question], shown: Shown) -> None:
        rows = self._blank_rows(sample, questions, shown)
        self._rows += rows
        self._waiting.append((shown.pixels, rows))
        self._count += len(rows)
        if self._count >= self.batch_size:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        pixels = torch.cat([pixels for pixels, _ in self._waiting])
        rows = [row for _, part in self._waiting for row in part]
        self._waiting, self._count = [], 0
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            answers = self.class_map.answer(self.model.logits(pixels[start : start + self.batch_size]))
            labels = torch.tensor([row["label"] for row in part], device=answers.probabilities.device)
            p_true = answers.probabilities.gather(1, labels[:, None])[:, 0]
            _fill(part, answers.predicted, answers.output, p_true)

    def _ask_stochastic(self, loaded: Loaded, audit: StochasticAudit, questions: Sequence[Question]) -> None:
        """MC dropout: the cells of one (source, target) pair share their masks, so a pair is answered together."""
        assert self.dropout is not None  # runs prepare it before they ask
        sample = loaded.sample
        for _, pair in groupby(questions, key=lambda question: question.donor):
            cells = list(pair)
            key = audit.mask_key(sample.row, cells[0])
            masks = draw_masks(self.dropout, key, audit.passes)
            for chunk in _chunks(cells, self.batch_size):
                shown = audit.show(sample, chunk, loaded.donors)
                rows = self._blank_rows(sample, chunk, shown)
                self._rows += rows
                self._answer_stochastic(shown.pixels, rows, masks)

    def _answer_stochastic(self, pixels: Tensor, rows: list[Row], masks: tuple[Tensor, ...]) -> None:
        assert self.dropout is not None
        logits = mc_logits(self.model, self.dropout, pixels, masks)
        passes, images = logits.shape[:2]
        answers = self.class_map.answer(logits.flatten(0, 1))
        label = rows[0]["label"]
        probabilities = answers.probabilities.view(passes, images, -1)
        certainty = probabilities[:, :, label]
        plain = self.class_map.answer(self.model.logits(pixels))
        # The predictive distribution is the mean over passes; its largest class is the answer.
        _fill(rows, probabilities.mean(dim=0).argmax(dim=1), plain.output, certainty.mean(dim=0))
        for row, sd, single in zip(
            rows, certainty.std(dim=0).tolist(), plain.probabilities[:, label].tolist(), strict=True
        ):
            row["p_sd"], row["p_plain"] = sd, single

    def _blank_rows(self, sample: Sample, questions: Sequence[Question], shown: Shown) -> list[Row]:
        facts = [
            values.tolist() if values is not None else [None] * len(questions)
            for values in (shown.energy, shown.region_share, shown.core_share)
        ]
        return [
            {
                "image": sample.row.id,
                "label": sample.row.label,
                "group": sample.row.group,
                "condition": question.condition,
                "trial": question.trial,
                "donor": question.donor,
                "donor_label": question.donor_label,
                "energy": energy,
                "region_share": region_share,
                "core_share": core_share,
            }
            for question, energy, region_share, core_share in zip(questions, *facts, strict=True)
        ]


def _fill(rows: Sequence[Row], predicted: Tensor, output: Tensor, p_true: Tensor) -> None:
    answers = zip(predicted.tolist(), output.tolist(), p_true.tolist(), strict=True)
    for row, (answer, raw, probability) in zip(rows, answers, strict=True):
        row.update(predicted=answer, output=raw, p_true=probability)


def _chunks(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), size):
        yield questions[start : start + size]
