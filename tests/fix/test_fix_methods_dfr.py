"""DFR: the folded layer is scaler and regression in one, drawn, chosen and averaged as the paper says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import toys
from oracles import dfr as oracle
from torch import nn
from trainings import job_of, seeded

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.fix.job import Job
from spuraudit.fix.last_layer import GRID, Scores, balanced, fit_last_layer
from spuraudit.fix.methods.dfr import Dfr, DfrOptions, pool
from spuraudit.models.model import Model
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.perturb.draws import key_of, rng_of

SEED = 5


@pytest.fixture(scope="module")
def minority(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """In train and test, 30 images of each of three classes, 6 of them with the frame of the next class."""
    toy = toys.Toy(train=30, test=30, odd_every=5)
    return open_dataset(str(toys.draw(tmp_path_factory.mktemp("toy"), toy)))


class Twofold(nn.Module):
    """Features are what its linear layer reads: colours of object and frame."""

    def __init__(self, outputs: int = 3, frame: float = 3.0, bias: bool = True) -> None:
        super().__init__()
        self.classifier = nn.Linear(6, outputs, bias)
        self.register_buffer("areas", torch.stack([toys.OBJECT, toys.FRAME]).float())
        with torch.no_grad():
            self.classifier.weight.zero_()
            for k in range(min(3, outputs)):
                self.classifier.weight[k, k], self.classifier.weight[k, 3 + k] = 1.0, frame

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        areas = self.get_buffer("areas")
        means = (x[:, None] * areas[None, :, None]).sum(dim=(3, 4)) / areas.sum(dim=(1, 2))[None, :, None]
        logits: torch.Tensor = self.classifier(means.flatten(1))
        return logits


def frame_reader(outputs: int = 3, *, bias: bool = True) -> Model:
    return toys.as_model(Twofold(outputs, bias=bias))


def job(dataset: Dataset, folder: Path, model: Model | None = None, **more: Any) -> Job:
    return job_of(model or frame_reader(), dataset, folder, **more)


def worst_group(job: Job, model: Model) -> float:
    rows = job.dataset.in_split("test")
    right = defaultdict(list)
    for row, answer in zip(rows, job.predicted(model, rows).tolist(), strict=True):
        right[row.group].append(answer == row.label)
    return min(sum(answers) / len(answers) for answers in right.values())


def clouds(sizes: dict[str, int], dimensions: int = 6) -> tuple[np.ndarray, list[int], list[str]]:
    """Groups 'a/x', 'a/y', 'b/x', 'b/y' around points of their own, in mixed order; features differ in scale."""
    rng = np.random.default_rng(3)
    names = [name for name, size in sizes.items() for _ in range(size)]
    names = [names[at] for at in rng.permutation(len(names))]
    features = rng.normal(size=(len(names), dimensions)) * 1.5
    for row, name in zip(features, names, strict=True):
        row[0] += 2.0 * (name[0] == "b")
        row[1] += 4.0 * (name[-1] == "y")
    features = features * 10.0 ** np.arange(-2, dimensions - 2) + np.arange(dimensions)
    return features, [int(name[0] == "b") for name in names], names


UNEQUAL = {"a/x": 40, "a/y": 9, "b/x": 11, "b/y": 35}


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_choice_and_averaging_equal_the_oracle(penalty: Literal["l1", "l2"]) -> None:
    features, labels, groups = clouds(UNEQUAL)
    fitted = fit_last_layer(features, labels, groups, seed=SEED, penalty=penalty, averages=7)

    def shuffle(purpose: str | int, group: str, count: int) -> Sequence[int]:
        key = ("dfr.halves", group) if purpose == "halves" else ("dfr.balanced", purpose, group)
        order: list[int] = rng_of(SEED, *key).permutation(count).tolist()
        return order

    state = key_of(SEED, "dfr.liblinear") & 0xFFFFFFFF
    best, worst, z_of = oracle.two_class_dfr(features, labels, groups, GRID, 7, penalty == "l1", state, shuffle)
    assert fitted.strength == best
    assert fitted.worst == pytest.approx(worst)
    if penalty == "l1":
        assert len(set(worst.values())) > 1  # there was something to choose
    assert (fitted.averaged, fitted.images) == (7, 4 * 9)
    mine = features @ fitted.scores.weights[0] + fitted.scores.bias[0]
    assert np.allclose(mine, [z_of(image) for image in features], rtol=0, atol=1e-6)


def test_balanced_draws_take_the_smallest_groups_size_and_differ() -> None:
    _, _, groups = clouds(UNEQUAL)
    names = np.array(groups)
    first, second = balanced(names, SEED, 0), balanced(names, SEED, 1)
    for drawn in (first, second):
        assert len(set(drawn.tolist())) == 36
        assert {str(name): int((names[drawn] == name).sum()) for name in set(groups)} == dict.fromkeys(UNEQUAL, 9)
    assert first.tolist() != second.tolist()
    assert first.tolist() == balanced(names, SEED, 0).tolist()


def test_equal_groups_need_one_regression() -> None:
    fitted = fit_last_layer(*clouds(dict.fromkeys(UNEQUAL, 12)), seed=SEED)
    assert (fitted.averaged, fitted.images) == (1, 48)


def test_two_classes_get_logits_whose_softmax_is_the_regressions_probability() -> None:
    scores = Scores(np.array([[0.5, -2.0]]), np.array([0.25]))
    features = np.random.default_rng(0).normal(size=(9, 2))
    z = features @ scores.weights[0] + 0.25
    softmax = scores.layer()
    logits = features @ softmax.weights.T + softmax.bias
    assert np.allclose(np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1), 1 / (1 + np.exp(-z)))
    assert np.allclose(logits, np.stack([-z / 2, z / 2], axis=1))
    own = scores.layer(sigmoid=True)
    assert np.allclose(1 / (1 + np.exp(-(features @ own.weights.T + own.bias)))[:, 1], 1 / (1 + np.exp(-z)))
    assert scores.answers(features).tolist() == (z > 0).astype(int).tolist()


def test_a_feature_that_never_changes_is_left_alone() -> None:
    features, labels, groups = clouds(UNEQUAL)
    features[:, 2] = 1e9
    fitted = fit_last_layer(features, labels, groups, seed=SEED)
    assert np.isfinite(fitted.scores.weights).all()
    assert fitted.scores.weights[0, 2] == 0


def test_it_repairs_a_model_that_reads_frames_and_leaves_the_rest_of_it(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    assert worst_group(made, made.model) == 0
    prepared = Dfr(DfrOptions()).prepare(made)
    assert prepared.steps == 0
    assert worst_group(made, prepared.model) == 1
    assert torch.equal(made.model.network.get_buffer("areas"), prepared.model.network.get_buffer("areas"))
    assert float(made.model.network.get_parameter("classifier.weight")[0, 3]) == 3.0  # the delivered one is as it was
    assert "training images: blue/blue 24, blue/red 6" in prepared.notes[0]
    assert "36 in each of 20 regressions" in prepared.notes[0]
    chosen = pool(made, DfrOptions())
    assert not isinstance(chosen, str)
    features = made.features(made.model, chosen.rows).double().numpy()
    worst = fit_last_layer(features, [row.label for row in chosen.rows], chosen.groups, seed=made.seed).worst
    says_nothing = len(set(worst.values())) == 1
    assert ("is no choice" in prepared.notes[1]) == says_nothing
    assert ("had the highest accuracy" in prepared.notes[1]) != says_nothing


def test_a_choice_of_c_that_says_nothing_is_said_to(
    minority: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything of the class in the features, the worst group is never right, whatever C."""
    made = job(minority, tmp_path)
    width = made.model.network.get_parameter("classifier.weight").shape[1]
    monkeypatch.setattr(Job, "features", lambda *given: torch.zeros(len(given[-1]), width))
    note = Dfr(DfrOptions()).prepare(made).notes[1]
    assert note.startswith("C = 1 is no choice: with every C tried, the worst of these has an accuracy of 0.000")
    assert note.endswith("The smallest has 3 images there.")


def test_the_layer_written_is_the_regression(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    prepared = Dfr(DfrOptions(averages=3)).prepare(made)
    chosen = pool(made, DfrOptions())
    assert not isinstance(chosen, str)
    features = made.features(made.model, chosen.rows).double().numpy()
    labels = [row.label for row in chosen.rows]
    fitted = fit_last_layer(features, labels, chosen.groups, seed=made.seed, averages=3)
    pixels = torch.stack([sample.pixels for sample in made.samples(chosen.rows)])
    logits = prepared.model.logits(pixels).numpy()
    assert np.allclose(logits, features @ fitted.scores.weights.T + fitted.scores.bias, atol=1e-4)


def test_classes_at_other_outputs_are_written_there(minority: Dataset, tmp_path: Path) -> None:
    infos = tuple(replace(info, outputs=((info.index + 1) % 3,)) for info in minority.classes)
    made = job(replace(minority, classes=infos), tmp_path)
    assert worst_group(made, Dfr(DfrOptions()).prepare(made).model) == 1


def test_validation_images_come_first_and_the_record_says_so(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    blind = replace(made, validation=tuple(replace(row, group=None) for row in minority.in_split("test")))
    whole = replace(made, validation=minority.in_split("test"))
    notes = Dfr(DfrOptions()).prepare(whole).notes
    assert "fitted to validation images" in notes[0]
    assert "no longer held out" in notes[-1]
    chosen = pool(blind, DfrOptions())
    assert not isinstance(chosen, str)
    assert chosen.split == "training"


def test_classes_alone_are_balanced_where_that_is_asked_for(minority: Dataset, tmp_path: Path) -> None:
    rows = tuple(replace(row, group=None) for row in minority.in_split("train"))
    made = replace(job(minority, tmp_path), train=rows)
    lack = Dfr(DfrOptions()).lacks(made)
    assert lack == (
        "there are no validation images, and no training image has a group; balance=classes balances classes alone."
    )
    by_class = Dfr(DfrOptions(balance="classes"))
    assert by_class.lacks(made) is None
    assert "blue 30, green 30, red 30" in by_class.prepare(made).notes[0]


def test_what_it_lacks(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    train = minority.in_split("train")

    def lack(given: Job, **options: object) -> str:
        return Dfr(DfrOptions.model_validate(options)).lacks(given) or ""

    assert Dfr(DfrOptions()).lacks(made) is None
    assert lack(made, fit_on="validation").startswith("there are no validation images;")
    alike = tuple(row for row in train if row.group in ("red/red", "green/green", "blue/blue"))
    assert "every class of the training images has one group only" in lack(replace(made, train=alike))
    odd = [row for row in train if row.group == "red/green"]
    lone = tuple(row for row in train if row not in odd[1:])
    assert "red/green has a single training image" in lack(replace(made, train=lone))
    assert "no training image with a group is of class 'red'" in lack(
        replace(made, train=tuple(row for row in train if row.label))
    )
    assert "leaves nothing trained" in lack(replace(made, start="scratch"))
    assert "has no bias" in lack(replace(made, model=frame_reader(bias=False)))
    wide = replace(made, model=frame_reader(outputs=4))
    assert "4 outputs for 3 classes" in lack(wide)
    assert lack(replace(wide, start="new-head")) == ""
    assert "no linear layer" in lack(replace(made, model=toys.as_model(toys.Constant())))


def test_a_new_heads_features_are_those_of_the_given_weights(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path, toys.as_model(seeded(PaperCNN, 5, 4, 28, 3, True), outputs=5), start="new-head")
    prepared = Dfr(DfrOptions(penalty="l2")).prepare(made)
    assert prepared.model.record.num_classes == 3
    assert worst_group(made, prepared.model) == 1


def test_a_fit_without_steps_leaves_the_layer_as_it_was_fitted(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    prepared = Dfr(DfrOptions()).prepare(made)
    before = {name: weight.clone() for name, weight in prepared.model.network.state_dict().items()}
    curve = made.fit("fixed", prepared)
    assert curve.steps == 0
    assert all(torch.equal(weight, before[name]) for name, weight in prepared.model.network.state_dict().items())
