"""The noise that audits add: drawn once per image and trial, whatever it is added to."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from spuraudit.perturb.draws import key_of, normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from spuraudit.audits.base import Question
    from spuraudit.audits.sample import Sample


def noise_runs(sample: Sample, seed: int, questions: Sequence[Question]) -> Iterator[tuple[str, slice, Tensor]]:
    """Neighbouring questions of the same condition: (condition, their places, noise (N, 3, H, W) of their trials).

    Standard normal, one draw per (seed, image, trial), whatever it is added to: regions and sigmas that are compared,
    such as an object and its surroundings, or a feature and its control, get common random numbers. Every noised image
    is distributed as with a draw of its own.
    """
    trials = sorted({question.trial for question in questions})
    keys = [key_of(seed, sample.row.id, "noise", trial) for trial in trials]
    noise = normal(keys, tuple(sample.pixels.shape)).to(sample.pixels.device)
    first = 0
    for condition, group in groupby(questions, key=lambda question: question.condition):
        wanted = [trials.index(question.trial) for question in group]
        low, high = wanted[0], wanted[-1] + 1
        # A view where the trials are neighbours, as they nearly always are: copies would take as long as the draws.
        z = noise[low:high] if wanted == list(range(low, high)) else noise[wanted]
        yield condition, slice(first, first + len(wanted)), z
        first += len(wanted)
