"""Asks the model: pixels of many images in batches, rows out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import torch

from spuraudit.audits.base import Audit, Question, Shown, StochasticAudit
from spuraudit.models.mc_dropout import Draw, answers_of_passes
from spuraudit.runs.showing import Block, Done, make_block, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.models.class_map import Answers, ClassMap
    from spuraudit.models.dropout_plan import DropoutPlan
    from spuraudit.models.model import Model
    from spuraudit.runs.batching import Batches

Row = dict[str, Any]


class Asks(Protocol):
    """What is told of every image in turn: an `Asker`, or something that stands before one."""

    def begin_image(self) -> None:
        """What is taken from here on belongs to the next image."""
        ...

    def take(self, block: Block) -> None:
        """Answer a block of the image, now or later."""
        ...

    def end_image(self, done: Done, audits: Sequence[Audit], told: Callable[[int], None] | None = None) -> None:
        """Ask what follows from the image's answers. `told`: how many were asked."""
        ...


def ask_image(
    items: Iterator[Block | Done],
    askers: Sequence[Asks],
    audits: Sequence[Audit],
    told: Callable[[int], None] | None = None,
) -> None:
    """Give the blocks of the next image, made once, to every asker. `told`: how many questions each was asked."""
    for asker in askers:
        asker.begin_image()
    for item in items:
        if isinstance(item, Done):
            for asker in askers:
                asker.end_image(item, audits, told)
            return
        for asker in askers:
            asker.take(item)
        if told is not None:
            told(len(item.questions))
    raise RuntimeError("the blocks end before their image does")


@dataclass
class Asker:
    """Collects blocks of pictures and answers them in batches; rows come back in the order asked."""

    model: Model
    class_map: ClassMap
    batches: Batches
    dropout: DropoutPlan | None = None
    _rows: list[Row] = field(default_factory=list)
    _waiting: list[tuple[Tensor, list[Row]]] = field(default_factory=list)
    _stochastic: list[tuple[Block, list[Row]]] = field(default_factory=list)
    _start: int = 0

    def begin_image(self) -> None:
        """What is taken from here on belongs to the next image."""
        self._start = len(self._rows)

    def take(self, block: Block) -> None:
        """Queue a block of the image; full batches are answered."""
        rows = _blank_rows(block.sample, block.questions, block.shown)
        self._rows += rows
        if not block.passes:
            self._waiting.append((block.shown.pixels, rows))
            waiting = _pictures(self._waiting)
            if waiting >= self.batches.size:
                self._flush(waiting - waiting % self.batches.size)
            return
        # Blocks of passes stay whole where they can: a mask is then drawn once. A batch has one number of passes.
        other = bool(self._stochastic) and self._stochastic[0][0].passes != block.passes
        if other or _pictures(self._stochastic) + len(rows) > self.batches.size:
            self._flush_stochastic()
        self._stochastic.append((block, rows))

    def end_image(self, done: Done, audits: Sequence[Audit], told: Callable[[int], None] | None = None) -> None:
        """Ask what follows from the image's answers. `told`: how many were asked."""
        for audit in audits:
            if isinstance(audit, StochasticAudit):
                self._ask_on(done, audit, told)

    def finish(self) -> list[Row]:
        """Answer what is waiting and hand over all rows of the shard."""
        self._flush(_pictures(self._waiting))
        self._flush_stochastic()
        rows, self._rows = self._rows, []
        return rows

    def _ask_on(self, item: Done, audit: StochasticAudit, told: Callable[[int], None] | None) -> None:
        """Rounds that depend on answers: the image's own, so it is answered before the next one begins."""
        row = item.loaded.sample.row
        most, asked = audit.most_questions(row), len(audit.questions(row))
        if asked == most:
            return
        while True:
            self._flush_stochastic()
            certainty = {
                Question(given["condition"], given["trial"], given["donor"], given["donor_label"]): given["p_true"]
                for given in self._rows[self._start :]
                if "p_sd" in given
            }
            questions = audit.follow_up(row, certainty)
            if not questions:
                break
            for task in parted(item.loaded, audit, questions, self.batches.size):
                self.take(make_block(task))
            asked += len(questions)
            if told is not None:
                told(len(questions))
        if told is not None:
            told(most - asked)

    def _flush(self, count: int) -> None:
        """Answer the first `count` pictures that wait; the rest fills the next batch."""
        if not count:
            return
        taken = self._taken(count)
        pixels = torch.cat([pixels for pixels, _ in taken])
        rows = [row for _, part in taken for row in part]

        def ask(part: slice) -> None:
            answers = self.class_map.answer(self.model.logits(pixels[part]))
            labels = torch.tensor([row["label"] for row in rows[part]], device=answers.probabilities.device)
            p_true = answers.probabilities.gather(1, labels[:, None])[:, 0]
            _fill(rows[part], predicted=answers.predicted, output=answers.output, p_true=p_true)
            _fill_given(rows[part], answers)

        for _ in self.batches.run(count, ask):
            pass

    def _taken(self, count: int) -> list[tuple[Tensor, list[Row]]]:
        """The first `count` pictures that wait; the rest of a block that is cut goes on waiting."""
        taken: list[tuple[Tensor, list[Row]]] = []
        while count:
            pixels, rows = self._waiting.pop(0)
            if len(rows) > count:
                self._waiting.insert(0, (pixels[count:], rows[count:]))
            taken.append((pixels[:count], rows[:count]))
            count -= len(taken[-1][1])
        return taken

    def _flush_stochastic(self) -> None:
        blocks, self._stochastic[:] = list(self._stochastic), []
        if not blocks:
            return
        pixels = torch.cat([block.shown.pixels for block, _ in blocks])
        rows = [row for _, part in blocks for row in part]
        keys = [block.key for block, part in blocks for _ in part]
        passes = blocks[0][0].passes

        def ask(part: slice) -> None:
            self._ask_passes(pixels[part], rows[part], keys[part], passes)

        for _ in self.batches.run(len(rows), ask):
            pass

    def _ask_passes(self, pixels: Tensor, rows: Sequence[Row], keys: Sequence[int], passes: int) -> None:
        """The predictive distribution is the mean over passes; its largest output is the answer."""
        assert self.dropout is not None  # runs prepare it before they ask
        draws = [Draw(key, len(list(group))) for key, group in groupby(keys)]
        answers = answers_of_passes(self.model, self.dropout, pixels, draws, passes)
        labels = torch.tensor([row["label"] for row in rows], device=pixels.device)

        def of_label(probabilities: Tensor) -> Tensor:
            classes = self.class_map.class_probabilities(probabilities)
            return classes.gather(-1, labels.expand(classes.shape[:-1]).unsqueeze(-1)).squeeze(-1)

        plain = of_label(self.class_map.probabilities(next(answers)[0]))
        total, certainty = torch.zeros(()), []
        for logits in answers:
            probabilities = self.class_map.probabilities(logits.flatten(0, 1)).view(logits.shape)
            certainty.append(of_label(probabilities))
            total = total.to(probabilities) + probabilities.sum(dim=0)
        mean = total / passes
        of_passes = torch.cat(certainty)
        decided = self.class_map.decide(mean)
        # A class of several outputs: the strongest of a sigmoid head's means, which is what decides that it is given.
        p_true = of_passes.mean(dim=0) if decided.given is None else of_label(mean)
        _fill(
            rows,
            predicted=decided.predicted,
            output=decided.output,
            p_true=p_true,
            p_sd=of_passes.std(dim=0),
            p_plain=plain,
            entropy=self.class_map.entropy(mean),
        )
        _fill_given(rows, decided)


def _pictures(queue: Sequence[tuple[object, list[Row]]]) -> int:
    return sum(len(rows) for _, rows in queue)


def _blank_rows(sample: Sample, questions: Sequence[Question], shown: Shown) -> list[Row]:
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


def _fill(rows: Sequence[Row], **answers: Tensor) -> None:
    for name, values in answers.items():
        for row, value in zip(rows, values.tolist(), strict=True):
            row[name] = value


def _fill_given(rows: Sequence[Row], answers: Answers) -> None:
    """The labels that a sigmoid head gives each image."""
    if answers.given is not None:
        for row, given in zip(rows, answers.given.cpu(), strict=True):
            row["given"] = given.nonzero()[:, 0].tolist()
