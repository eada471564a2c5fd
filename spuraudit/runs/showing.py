"""From images to blocks of pixels that wait for the model: made ahead of it, in another thread."""

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


def show_images(images: Iterable[Loaded], audits: Sequence[Audit], size: int) -> Iterator[Block | Done]:
    """All questions of each image: clean first, then each audit's, in blocks of at most `size` pictures."""
    for loaded in images:
        sample = loaded.sample
        yield Block(sample, [Question(CLEAN)], Shown(sample.pixels[None]))
        for audit in audits:
            questions = audit.questions(sample.row)
            if isinstance(audit, StochasticAudit):
                yield from show_passes(loaded, audit, questions, size)
                continue
            for part in _parts(questions, size):
                yield Block(sample, part, audit.show(sample, part, loaded.donors))
        yield Done(loaded)


def show_passes(loaded: Loaded, audit: StochasticAudit, questions: Sequence[Question], size: int) -> Iterator[Block]:
    """Questions with the same donor share their masks: they stay together as far as a block can hold them."""
    for _, group in groupby(questions, key=lambda question: question.donor):
        for part in _parts(list(group), size):
            shown = audit.show(loaded.sample, part, loaded.donors)
            yield Block(loaded.sample, part, shown, audit.passes, audit.mask_key(loaded.sample.row, part[0]))


def _parts(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    """As few parts as possible, of sizes as equal as possible."""
    count = -(-len(questions) // size)
    for part in range(count):
        yield questions[part * len(questions) // count : (part + 1) * len(questions) // count]
