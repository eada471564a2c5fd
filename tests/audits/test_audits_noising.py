"""Noise of an image: one draw per trial, whatever it is added to, and the right one at every place."""

from __future__ import annotations

import random

import pytest
import torch

from spuraudit.audits.base import Question
from spuraudit.audits.noising import noise_runs
from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import ImageRow
from spuraudit.perturb.draws import key_of, normal

SHAPE = (3, 8, 9)


def sample(image: str = "a.jpg") -> Sample:
    row = ImageRow(id=image, path=image, label=0, source="")
    return Sample(row, torch.rand(SHAPE), {})


def placed(questions: list[Question], seed: int = 0, image: str = "a.jpg") -> torch.Tensor:
    """The noise of every question, by its place."""
    found = torch.full((len(questions), *SHAPE), float("nan"))
    for condition, places, z in noise_runs(sample(image), seed, questions):
        assert {question.condition for question in questions[places]} == {condition}
        found[places] = z
    return found


@pytest.mark.parametrize("order", ["asked", "shuffled", "backwards", "every other", "one"])
def test_every_question_gets_the_draw_of_its_trial(order: str) -> None:
    questions = [Question(condition, trial) for condition in ("core", "spurious", "other") for trial in range(5)]
    if order == "shuffled":
        random.Random(0).shuffle(questions)
    questions = {"backwards": questions[::-1], "every other": questions[::2], "one": questions[7:8]}.get(
        order, questions
    )
    expected = [normal([key_of(0, "a.jpg", "noise", question.trial)], SHAPE)[0] for question in questions]
    assert torch.equal(placed(questions), torch.stack(expected))


def test_images_seeds_and_trials_have_noise_of_their_own() -> None:
    questions = [Question("core", trial) for trial in range(3)]
    drawn = torch.cat([placed(questions), placed(questions, seed=1), placed(questions, image="b.jpg")])
    assert len({row.numpy().tobytes() for row in drawn}) == 9
