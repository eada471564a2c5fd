"""Settings of a training: what is refused, and how many steps there are."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from spuraudit.fix.settings import TrainingSettings, steps_per_epoch


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "AdamV"}, "Did you mean 'Adam'|Did you mean 'AdamW'"),
        ({"optimizer": "LBFGS"}, "cannot train"),
        ({"schedule": "CosineAnealingLR"}, "Did you mean 'CosineAnnealingLR'"),
        ({"patience": 2}, "patience needs a measure"),
        ({"lr": 0}, "greater than 0"),
        ({"crop": 1.5}, "less than or equal to 1"),
        ({"learning_rate": 1}, "learning_rate"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingSettings.model_validate(given)


@pytest.mark.parametrize(
    ("images", "size", "steps"), [(30, 8, 4), (32, 8, 4), (33, 8, 4), (34, 8, 5), (1, 8, 1), (3, 1, 3)]
)
def test_steps_of_an_epoch(images: int, size: int, steps: int) -> None:
    assert steps_per_epoch(images, size) == steps


def test_steps_stand_in_place_of_epochs() -> None:
    assert TrainingSettings(epochs=2.5, batch_size=8).total_steps(30) == 10
    assert TrainingSettings(steps=7).total_steps(30) == 7
    assert TrainingSettings(epochs=0.01).total_steps(30) == 1
    assert TrainingSettings(schedule="none").schedule is None
