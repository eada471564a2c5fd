"""The fine-tuning loop: kill and resume, parts, devices, what it leaves, when it stops."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import timm
import torch
import toys
from fix.trainings import (
    Smooth,
    dropping,
    job_of,
    largest_difference,
    same_weights,
    seeded,
    settings,
    smooth,
    train_on_devices,
    train_once,
)
from torch import nn

from spuraudit.data.dataset import Dataset
from spuraudit.errors import FixError
from spuraudit.fix import loop
from spuraudit.fix.batch import Batch
from spuraudit.fix.curve import Curve, Epoch
from spuraudit.fix.head import Redrawn
from spuraudit.fix.job import Job, Prepared
from spuraudit.fix.learner import Learner
from spuraudit.fix.objective import Objective, Outcome
from spuraudit.fix.state import TrainingFolder
from spuraudit.models.model import Model

if TYPE_CHECKING:
    from spuraudit.fix.objective import Backward


def run_process(*args: Any) -> int | None:
    """`train_once` in a process of its own; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["spuraudit.fix.catalogue", "spuraudit.fix.job", "spuraudit.data"])
    process = context.Process(target=train_once, args=args)
    process.start()
    process.join(120)
    return process.exitcode


# 30 images in batches of 8: 4 steps per epoch, so states are saved after steps 4, 8 and 12.
@pytest.mark.parametrize(
    ("options", "kill", "at"),
    [
        ({"optimizer": "SGD", "optimizer_args": {"momentum": 0.9}}, "step", 6),
        ({"optimizer": "Adam", "crop": 0.5}, "saved", 4),
        pytest.param({"optimizer": "AdamW", "clip_norm": 1.0, "accumulate": 3}, "measure", 2, marks=pytest.mark.slow),
        pytest.param({"optimizer": "RMSprop", "schedule": "OneCycleLR"}, "step", 1, marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_goes_on_to_the_same_weights(
    tagged: Dataset, tmp_path: Path, options: dict[str, Any], kill: str, at: int
) -> None:
    data = str(tagged.origin)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cut.mkdir()
    assert run_process(data, str(cut), options, kill, at) == -signal.SIGKILL
    assert not (cut / "result").exists()
    assert (cut / "it" / "state.pt").exists() == (kill != "step" or at > 3)
    assert run_process(data, str(cut), options, "", 0) == 0
    whole.mkdir()
    assert run_process(data, str(whole), options, "", 0) == 0
    resumed, expected = torch.load(cut / "result"), torch.load(whole / "result")
    assert resumed["curve"] == expected["curve"]
    assert resumed["best"] == expected["best"]
    for name, value in expected["weights"].items():
        assert torch.equal(resumed["weights"][name], value), name


def test_a_state_is_saved_within_an_epoch_and_taken_up(
    tagged: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 3)

    @dataclass(frozen=True)
    class Stop(Objective):
        def check(self, step: int, terms: dict[str, float]) -> str | None:
            steps.append(step)
            if step == 6 and len(steps) == 7:
                raise KeyboardInterrupt
            return None

    steps: list[int] = []
    job = job_of(dropping(), tagged, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        job.fit("it", Prepared(job.started(), Stop()))
    resumed, whole = job.started(), job.started()
    curve = job.fit("it", Prepared(resumed, Stop()))
    assert steps[7] == 6  # step 6 was saved: nothing before it is done again
    expected = job.fit("whole", Prepared(whole))
    assert same_weights(resumed.network, whole.network)
    assert [e.sums for e in curve.epochs] == [e.sums for e in expected.epochs]
    assert [e.seen for e in curve.epochs] == [e.seen for e in expected.epochs]


def test_a_finished_training_is_not_trained_again(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(dropping(), tagged, tmp_path)
    first, second = job.started(), job.started()
    curve = job.fit("it", Prepared(first))
    again = job.fit("it", Prepared(second))
    assert same_weights(first.network, second.network)
    assert again.dump() == curve.dump()
    assert curve.steps == job.steps == 12


def gradients(job: Job, model: Model) -> list[torch.Tensor]:
    """Of one step of plain gradient descent with rate 1."""
    start = [p.clone() for p in model.network.parameters()]
    job.fit(f"parts-{job.settings.accumulate}", Prepared(model))
    return [a - b for a, b in zip(start, model.network.parameters(), strict=True)]


@pytest.mark.parametrize("parts", [4, 7, 100])
def test_parts_give_the_gradients_of_the_whole(tagged: Dataset, tmp_path: Path, parts: int) -> None:
    """30 images: parts of 8, 8, 8, 6 weigh by their size."""
    plain = settings(batch_size=30, steps=1, optimizer="SGD", lr=1.0, weight_decay=0, schedule=None)
    job = job_of(smooth(), tagged, tmp_path, plain)
    whole = gradients(job, job.started())
    parted = gradients(replace(job, settings=plain.model_copy(update={"accumulate": parts})), job.started())
    assert max(float(one.abs().max()) for one in whole) > 1e-3
    for one, other in zip(whole, parted, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [("erm", {}), ("swap", {}), ("corm", {"sigma": 0.25, "withhold": 0.3, "weight": 1.0, "derivative": "double"})],
)
def test_two_devices_take_the_steps_of_one(
    tagged: Dataset, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    data = str(tagged.origin)
    one = train_on_devices(data, str(tmp_path / "one"), 1, method, options)
    two = train_on_devices(data, str(tmp_path / "two"), 2, method, options)
    assert largest_difference(one, seeded(Smooth)) > 0.01
    assert largest_difference(one, two) < 2e-5


def test_frozen_statistics_stay_and_trained_ones_move(tagged: Dataset, tmp_path: Path) -> None:
    for mode in ("frozen", "train"):
        job = job_of(smooth(), tagged, tmp_path, settings(batch_norm=mode))
        model = job.started()
        before = {name: buffer.clone() for name, buffer in model.network.named_buffers()}
        job.fit(mode, Prepared(model))
        same = [torch.equal(before[name], buffer) for name, buffer in model.network.named_buffers()]
        assert same == [mode == "frozen"] * 3
        assert not torch.equal(model.network.norm.weight, job.model.network.norm.weight)


def test_frozen_statistics_of_timm_layers_stay(tagged: Dataset, tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv2_050", num_classes=3)
    job = job_of(toys.as_model(network), tagged, tmp_path, settings(steps=2))
    model = job.started()
    before = {name: buffer.clone() for name, buffer in model.network.named_buffers()}
    assert before
    job.fit("it", Prepared(model))
    assert all(torch.equal(before[name], buffer) for name, buffer in model.network.named_buffers())


def is_at_rest(network: nn.Module) -> bool:
    """In eval mode, without gradients wanted."""
    return not any(m.training for m in network.modules()) and not any(p.requires_grad for p in network.parameters())


@dataclass(frozen=True)
class Failing(Objective):
    """Breaks in its second pass."""

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        if batch.key[1] == 1:
            raise ValueError("broken")
        return super().accumulate(learner, batch, backward)


def test_the_delivered_model_is_never_touched_and_the_trained_one_is_left_at_rest(
    tagged: Dataset, tmp_path: Path
) -> None:
    delivered, twin = dropping(), dropping()
    job = job_of(delivered, tagged, tmp_path)
    model = job.started()
    job.fit("fine", Prepared(model))
    assert is_at_rest(model.network)
    broken = job.started()
    with pytest.raises(ValueError, match="broken"):
        job.fit("broken", Prepared(broken, Failing()))
    assert is_at_rest(broken.network)
    job.early("new-head", 1)
    job.predicted(delivered, job.train)
    assert same_weights(delivered.network, twin.network)
    assert not same_weights(model.network, twin.network)
    assert is_at_rest(delivered.network)


def test_only_the_named_parameters_are_trained(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path)
    model = job.started()
    job.fit("it", Prepared(model, trained=lambda name: name.startswith("fc")))
    changed = {
        name
        for (name, a), b in zip(model.network.named_parameters(), job.model.network.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert changed == {"fc.weight", "fc.bias"}


def test_a_loss_that_is_not_finite_stops(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path, settings(optimizer="SGD", lr=1e38))
    with pytest.raises(FixError, match="step 2 of 12: loss is not finite") as caught:
        job.fit("it", Prepared(job.started()))
    assert "learning rate" in str(caught.value.hint)
    assert TrainingFolder(tmp_path / "it").last_good is None


def test_non_finite_after_a_good_epoch_names_weights_that_load(tagged: Dataset, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Late(Objective):
        def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
            outcome = super().accumulate(learner, batch, backward)
            bad = batch.key[1] == 6
            return Outcome({"loss": outcome.terms["loss"] * (float("nan") if bad else 1)}, outcome.logits)

    job = job_of(smooth(), tagged, tmp_path)
    with pytest.raises(FixError, match="step 7 of 12") as caught:
        job.fit("it", Prepared(job.started(), Late()))
    good = TrainingFolder(tmp_path / "it").last_good
    assert good is not None
    assert str(good) in caught.value.message
    loaded, twin = job.started(), job.started()
    loaded.network.load_state_dict(torch.load(good, weights_only=True))
    shorter = replace(job, settings=job.settings.model_copy(update={"schedule_args": {"T_max": 12}, "steps": 4}))
    shorter.fit("one-epoch", Prepared(twin))
    assert same_weights(loaded.network, twin.network)


@pytest.mark.parametrize("steps", [1, 4])
def test_weights_that_the_last_step_ruined_are_refused(tagged: Dataset, tmp_path: Path, steps: int) -> None:
    """A step's loss is that of the weights before it: nobody saw what the last step made of them."""

    @dataclass(frozen=True)
    class Last(Objective):
        def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
            scale = float("inf") if batch.key[1] == steps - 1 else 1.0
            return super().accumulate(learner, batch, lambda loss: backward(loss * scale))

    job = job_of(smooth(), tagged, tmp_path, settings(steps=steps))
    with pytest.raises(FixError, match="finite"):
        job.fit("it", Prepared(job.started(), Last()))


@dataclass(frozen=True)
class Ruined(Objective):
    """Learns the labels, then that everything is class 0."""

    since: int = 0

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        logits = learner.logits(batch.pixels)
        labels = batch.labels if batch.key[1] < self.since else torch.zeros_like(batch.labels)
        loss = learner.losses(logits, labels).mean()
        backward(loss)
        return Outcome({"loss": loss.detach()}, logits.detach())


def test_a_collapse_names_the_last_good_weights(many: Dataset, tmp_path: Path) -> None:
    job = job_of(dropping(), many, tmp_path, settings(epochs=4, lr=0.02, schedule=None))
    with pytest.raises(FixError, match="the model collapsed") as caught:
        job.fit("it", Prepared(job.started(), Ruined(since=8)))
    good = TrainingFolder(tmp_path / "it").last_good
    assert good is not None
    assert str(good) in caught.value.message
    job.started().network.load_state_dict(torch.load(good, weights_only=True))


def test_a_new_head_may_begin_at_chance(many: Dataset, tmp_path: Path) -> None:
    job = job_of(dropping(), many, tmp_path, settings(lr=1e-9, epochs=1))
    model = job.started()
    with torch.no_grad():
        model.network.classifier.bias.copy_(torch.tensor([9.0, 0, 0]))
    curve = job.fit("it", Prepared(Redrawn(model.network, model.record, model.device)))
    assert curve.epochs[0].collapse is not None


def test_a_good_model_that_collapses_in_its_first_epoch_is_stopped(many: Dataset, tmp_path: Path) -> None:
    """The usual case of a learning rate that is too large: no epoch is ever above chance."""
    job = job_of(dropping(), many, tmp_path, settings(epochs=6, lr=3e-3, flip=False))
    good = job.started()
    job.fit("good", Prepared(good))
    assert (job.predicted(good, many.in_split("test")) == torch.tensor([0, 1, 2]).repeat_interleave(4)).all()
    trained = replace(job, model=good, settings=settings(epochs=4, lr=0.2, schedule=None, batch_size=2))
    with pytest.raises(FixError, match="collapsed"):
        trained.fit("ruined", Prepared(trained.started(), Ruined()))


def curve_of(*alive: bool, steps: int = 3) -> Curve:
    """Epochs of 60 images of two classes, right or answered at random; the last one is open."""
    curve, answers = Curve(2), torch.arange(60) % 2
    for number, right in enumerate(alive, start=1):
        epoch = curve.open
        epoch.count(answers if right else torch.arange(60) // 2 % 2, answers)
        for _ in range(steps):
            epoch.add({}, 0.0, 0.0)
        if number < len(alive):
            curve.close(number * steps, None)
    return curve


def test_a_ruin_is_two_epochs_after_a_quarter_of_the_steps() -> None:
    """On images without their shortcut, a model that reads nothing else begins at chance: no collapse yet."""
    assert curve_of(False).ruin(60, delivered=True) is None
    assert curve_of(False, False).ruin(60, delivered=True) is None  # 6 of 60 steps
    assert curve_of(False, False).ruin(24, delivered=True) is not None
    assert curve_of(False, False).ruin(24, delivered=False) is None  # a new head, never above chance
    assert curve_of(True, False).ruin(6, delivered=True) is None
    assert curve_of(True, False, False).ruin(9, delivered=False) is not None
    assert curve_of(False, True, False).ruin(9, delivered=True) is None


def test_one_answer_in_the_last_epoch_is_a_ruin() -> None:
    curve = Curve(2)
    curve.open.count(torch.zeros(60, dtype=torch.int64), torch.arange(60) % 2)
    curve.open.add({}, 0.0, 0.0)
    assert curve.ruin(1, delivered=True) == "all 60 images of the last epoch got one answer, class 0"
    assert curve.ruin(2, delivered=True) is None
    assert curve.ruin(1, delivered=False) is None


def test_a_collapse_needs_enough_images() -> None:
    few = Epoch(2)
    few.count(torch.zeros(40, dtype=torch.int64), torch.arange(40) % 2)
    assert few.collapse is None
    few.count(torch.zeros(10, dtype=torch.int64), torch.arange(10) % 2)
    assert few.collapse is not None
    alive = Epoch(2)
    alive.count(torch.arange(60) % 2, torch.arange(60) % 2)
    assert alive.collapse is None


@dataclass(frozen=True)
class Given:
    """A measure with values chosen beforehand; remembers the weights that it was asked about."""

    values: tuple[float, ...]
    asked: list[dict[str, torch.Tensor]]

    def __call__(self, model: Model) -> float:
        assert is_at_rest_but_for_gradients(model.network)
        self.asked.append({name: value.clone() for name, value in model.network.state_dict().items()})
        return self.values[len(self.asked) - 1]


def is_at_rest_but_for_gradients(network: nn.Module) -> bool:
    return not any(module.training for module in network.modules())


def test_selection_keeps_the_best_epochs_weights(tagged: Dataset, tmp_path: Path) -> None:
    measure = Given((0.2, 0.8, 0.8, 0.1), [])
    job = job_of(dropping(), tagged, tmp_path, settings(epochs=4, select="accuracy"), validate=measure)
    model = job.started()
    curve = job.fit("it", Prepared(model))
    assert curve.best == 1  # of equals the first
    assert all(torch.equal(value, measure.asked[1][name]) for name, value in model.network.state_dict().items())
    assert is_at_rest(model.network)


def test_patience_stops(tagged: Dataset, tmp_path: Path) -> None:
    measure = Given((0.2, 0.8, 0.5, 0.7, 0.9), [])
    job = job_of(dropping(), tagged, tmp_path, settings(epochs=9, select="accuracy", patience=2), validate=measure)
    model = job.started()
    curve = job.fit("it", Prepared(model))
    assert len(curve.epochs) == 4
    assert curve.steps == 16
    assert curve.stopped == "Stopped after step 16: 2 epochs without a better one."
    again = job.started()
    assert job.fit("it", Prepared(again)).steps == 16
    assert same_weights(model.network, again.network)


def test_a_measure_that_is_undefined_selects_nothing() -> None:
    curve = Curve(2)
    for step, value in enumerate((float("nan"), 0.5), 1):
        curve.open.add({"loss": 1.0}, 0.1, 0.1)
        curve.close(step, value)
    assert curve.best == 1


def test_a_steps_cost_and_terms_are_counted(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(dropping(), tagged, tmp_path, settings(epochs=1.5))
    curve = job.fit("it", Prepared(job.started()))
    assert [epoch.step for epoch in curve.epochs] == [4, 6]
    assert [epoch.steps for epoch in curve.epochs] == [4, 2]
    assert sum(curve.epochs[0].seen) == 30
    assert 0 < curve.epochs[0].terms["loss"] < 5
    assert curve.cpu_seconds > 0
    assert Curve.of(curve.dump()).dump() == curve.dump()
