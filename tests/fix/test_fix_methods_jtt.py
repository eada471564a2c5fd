"""JTT: the errors of an early model are the planted minority, and are repeated."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toys
from torch import nn
from trainings import job_of, seeded, settings

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.errors import FixError
from spuraudit.fix.job import Job
from spuraudit.fix.methods.jtt import Jtt, JttOptions
from spuraudit.models.paper_cnn import PaperCNN

EARLY = settings(epochs=6, batch_size=16, lr=3e-3)


class Kernel(nn.Module):
    """A network whose logits no linear layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(3, 3, 28)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(x).flatten(1)
        return logits


@pytest.fixture(scope="module")
def minority(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 images of each of three classes, 6 of them with the frame of the next class."""
    return open_dataset(str(toys.draw(tmp_path_factory.mktemp("toy"), toys.Toy(train=60, test=4, odd_every=10))))


def job(dataset: Dataset, folder: Path) -> Job:
    return job_of(toys.as_model(seeded(PaperCNN, 3, 8, 28, 3, True), outputs=3), dataset, folder, EARLY)


def odd_ids(dataset: Dataset) -> set[str]:
    groups = {row.id: (row.group or "").split("/") for row in dataset.in_split("train")}
    return {name for name, (own, frame) in groups.items() if own != frame}


def early_options(**chosen: object) -> JttOptions:
    return JttOptions.model_validate({"early_start": "new-head", **chosen})


def test_the_errors_are_the_minority_and_each_is_there_upweight_and_one_times(
    minority: Dataset, tmp_path: Path
) -> None:
    prepared = Jtt(early_options(upweight=7)).prepare(job(minority, tmp_path))
    assert prepared.rows is not None
    times = Counter(row.id for row in prepared.rows)
    assert {name for name, count in times.items() if count == 8} == odd_ids(minority)
    assert {name for name, count in times.items() if count == 1} == {
        row.id for row in minority.in_split("train")
    } - odd_ids(minority)
    assert prepared.steps is None  # the control's
    assert "18 of 180" in prepared.notes[0]
    assert "red 6 of 60" in prepared.notes[0]
    assert "red/green 6 of 6, red/red 0 of 54" in prepared.notes[1]
    assert "47%" in prepared.notes[-1]  # 8 * 18 / (180 + 7 * 18) = 0.47


def test_the_second_training_begins_where_the_fix_does(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    prepared = Jtt(early_options()).prepare(made)
    for name, weight in prepared.model.network.state_dict().items():
        assert torch.equal(weight, made.model.network.state_dict()[name])


def test_an_early_model_is_trained_once(minority: Dataset, tmp_path: Path) -> None:
    first = Jtt(early_options()).prepare(job(minority, tmp_path))
    state = tmp_path / "early-new-head-1.0" / "state.pt"
    written = state.stat().st_mtime_ns
    second = Jtt(early_options()).prepare(job(minority, tmp_path))
    assert state.stat().st_mtime_ns == written
    assert first.rows == second.rows


def test_a_delivered_model_that_errs_gives_its_own_errors(minority: Dataset, tmp_path: Path) -> None:
    """It reads frames alone, so that its errors are the minority; no early model is trained."""
    network = toys.Mixture(frame=3.0)
    prepared = Jtt(JttOptions()).prepare(job_of(toys.as_model(network), minority, tmp_path))
    assert prepared.rows is not None
    assert {row.id for row, count in Counter(prepared.rows).items() if count > 1} == odd_ids(minority)
    assert "Errors of the delivered model" in prepared.notes[0]
    assert not list(tmp_path.iterdir())


def test_a_delivered_model_without_errors_gives_way_to_an_early_one(minority: Dataset, tmp_path: Path) -> None:
    made = job_of(toys.as_model(toys.Mixture(frame=0.0)), minority, tmp_path, EARLY)
    with pytest.raises(FixError, match="no misclassified training images: jtt has nothing to work with"):
        Jtt(JttOptions(early_start="model", early_epochs=0)).prepare(made)
    with pytest.raises(FixError, match="after 8 epochs from new-head"):
        Jtt(JttOptions(early_epochs=8)).prepare(made)


def test_without_errors_the_methods_that_would_work_are_named(minority: Dataset, tmp_path: Path) -> None:
    made = job_of(toys.as_model(toys.Mixture(frame=0.0)), minority, tmp_path)
    with pytest.raises(FixError) as caught:
        Jtt(JttOptions(early_start="model", early_epochs=0)).prepare(made)
    assert caught.value.hint is not None
    assert "These would work here: swap" in caught.value.hint
    assert "jtt" not in caught.value.hint
    assert "scgs" not in caught.value.hint


def test_an_early_model_that_knows_nothing_is_warned_of(minority: Dataset, tmp_path: Path) -> None:
    made = job_of(toys.as_model(toys.Constant()), minority, tmp_path)
    prepared = Jtt(JttOptions(early_start="model", early_epochs=0)).prepare(made)
    assert any("67% of the training images wrong" in note for note in prepared.notes)


def test_classes_are_the_new_heads_and_not_the_delivered_models(minority: Dataset, tmp_path: Path) -> None:
    """The delivered model has the classes at other outputs; a new head has class k at output k."""
    turned = replace(
        minority, classes=tuple(replace(info, outputs=((info.index + 1) % 3,)) for info in minority.classes)
    )
    prepared = Jtt(early_options(upweight=1)).prepare(job(turned, tmp_path))
    assert "18 of 180" in prepared.notes[0]


def test_what_is_refused(minority: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs early_start=model"):
        JttOptions(early_epochs=0)
    made = job_of(toys.as_model(Kernel()), minority, tmp_path)
    lack = Jtt(JttOptions()).lacks(made)
    assert lack is not None
    assert "early_start=scratch" in lack
    assert Jtt(JttOptions(early_start="scratch")).lacks(made) is None
