"""From images to blocks of pixels that wait for the model."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from spuraudit.audits.base import CLEAN, Audit, Question, Shown, StochasticAudit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spuraudit.audits.sample import Sample
    from spuraudit.runs.loader import Loaded


class Block(NamedTuple):
    """Questions about one image, with their pixels.

    passes: of MC dropout, whose mean is the answer, all under the masks of `key`; 0: one pass without dropout.
    """

    sample: Sample
    questions: Sequence[Question]
    shown: Shown
    passes: int = 0
    key: int = 0


class Done(NamedTuple):
    """After the last block of an image."""

    loaded: Loaded


class Task(NamedTuple):
    """A block to be made: questions about one image, of an audit (None: the clean image)."""

    loaded: Loaded
    audit: Audit | None
    questions: Sequence[Question]


def tasks(images: Iterable[Loaded], audits: Sequence[Audit], size: int) -> Iterator[Task | Done]:
    """All questions of each image: clean first, then each audit's, in blocks of at most `size` pictures."""
    for loaded in images:
        yield Task(loaded, None, [Question(CLEAN)])
        for audit in audits:
            yield from parted(loaded, audit, audit.questions(loaded.sample.row), size)
        yield Done(loaded)


def parted(loaded: Loaded, audit: Audit, questions: Sequence[Question], size: int) -> Iterator[Task]:
    """In blocks; questions that share their dropout masks, those with the same donor, stay together where they fit."""
    groups = [questions]
    if isinstance(audit, StochasticAudit):
        groups = [list(group) for _, group in groupby(questions, key=lambda question: question.donor)]
    for group in groups:
        count = -(-len(group) // size)
        for part in range(count):  # as few parts as possible, of sizes as equal as possible
            yield Task(loaded, audit, group[part * len(group) // count : (part + 1) * len(group) // count])


def make(task: Task | Done) -> Block | Done:
    """The block of a task; `Done` as it is."""
    return task if isinstance(task, Done) else make_block(task)


def make_block(task: Task) -> Block:
    """Questions with their pixels."""
    sample, audit, questions = task.loaded.sample, task.audit, task.questions
    if audit is None:
        return Block(sample, questions, Shown(sample.pixels[None]))
    shown = audit.show(sample, questions, task.loaded.donors)
    if isinstance(audit, StochasticAudit):
        return Block(sample, questions, shown, audit.passes, audit.mask_key(sample.row, questions[0]))
    return Block(sample, questions, shown)


def pictures(task: Task | Done) -> int:
    """How many pictures a task makes."""
    return len(task.questions) if isinstance(task, Task) else 0
