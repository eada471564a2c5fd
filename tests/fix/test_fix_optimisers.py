"""Optimisers and schedules of torch by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fix.trainings import job_of, same_weights, settings, smooth
from torch import nn

from spuraudit.data.dataset import Dataset
from spuraudit.errors import UsageError
from spuraudit.fix.job import Prepared
from spuraudit.fix.optimisers import make_optimizer, make_schedule
from spuraudit.fix.prepare import check_training
from spuraudit.fix.settings import TrainingSettings

OPTIMISERS = ("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "SGD")
SCHEDULES = {
    "ConstantLR": {},
    "CosineAnnealingLR": {"eta_min": 1e-4},
    "CosineAnnealingWarmRestarts": {"T_0": 5},
    "CyclicLR": {"base_lr": 1e-3},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [3, 6]},
    "OneCycleLR": {},
    "PolynomialLR": {},
    "StepLR": {"step_size": 3},
}


@pytest.mark.parametrize("name", [*OPTIMISERS, "Rprop"])
def test_every_optimiser_trains(tagged: Dataset, tmp_path: Path, name: str) -> None:
    chosen = settings(optimizer=name, steps=2, weight_decay=0 if name == "Rprop" else 1e-4)
    job = job_of(smooth(), tagged, tmp_path, chosen)
    model = job.started()
    job.fit("it", Prepared(model))
    assert not same_weights(model.network, job.model.network)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_lasts_and_can_be_taken_up(tagged: Dataset, tmp_path: Path, name: str) -> None:
    chosen = settings(schedule=name, schedule_args=SCHEDULES[name], optimizer="SGD", optimizer_args={"momentum": 0.9})
    job = job_of(smooth(), tagged, tmp_path, chosen)
    first, second = job.started(), job.started()
    assert job.fit("it", Prepared(first)).steps == 12
    job.fit("it", Prepared(second))
    assert same_weights(first.network, second.network)


def test_a_cosine_ends_at_zero() -> None:
    weights = [nn.Parameter(torch.zeros(2))]
    chosen = settings(optimizer="SGD", lr=0.1)
    optimizer = make_optimizer(chosen, weights)
    schedule = make_schedule(chosen, optimizer, 10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert abs(optimizer.param_groups[0]["lr"]) < 1e-9
    assert make_schedule(settings(schedule="none"), optimizer, 10) is None


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"optimizer_args": {"momentun": 0.9}, "optimizer": "SGD"}, "SGD refuses .*momentun"),
        ({"optimizer": "Rprop"}, "Rprop knows no weight decay"),
        ({"optimizer": "SGD", "optimizer_args": {"momentum": -1}}, "momentum"),
    ],
)
def test_wrong_arguments_are_named(chosen: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_optimizer(settings(**chosen), [nn.Parameter(torch.zeros(2))])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"optimizer_args": {"lr": 0.5}, "lr": 0.1}, "lr is given twice: as lr=0.1 and as optimizer_args.lr=0.5"),
        (
            {"optimizer": "Rprop", "optimizer_args": {"weight_decay": 1}, "weight_decay": 0},
            "weight_decay is given twice: as weight_decay=0.0 and as optimizer_args.weight_decay=1",
        ),
        ({"schedule": "none", "schedule_args": {"gamma": 0.5}}, "no schedule .* could go to: gamma=0.5"),
        (
            {"schedule": "OneCycleLR", "schedule_args": {"max_lr": 0.5}, "lr": 0.1},
            "lr is given twice: as lr=0.1 and as schedule_args.max_lr=0.5",
        ),
    ],
)
def test_arguments_that_would_be_overruled_or_not_read(chosen: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_training(settings(**chosen), smooth())


def test_the_largest_rate_of_a_schedule_may_stand_alone() -> None:
    chosen = TrainingSettings(schedule="OneCycleLR", schedule_args={"max_lr": 0.5, "div_factor": 5})
    optimizer = make_optimizer(chosen, [nn.Parameter(torch.zeros(2))])
    make_schedule(chosen, optimizer, 10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize(("name", "args"), [("StepLR", {}), ("LambdaLR", {}), ("ExponentialLR", {"gama": 0.9})])
def test_wrong_arguments_of_schedules_are_named(name: str, args: dict[str, object]) -> None:
    chosen = settings(schedule=name, schedule_args=args)
    with pytest.raises(UsageError, match=f"{name} refuses"):
        make_schedule(chosen, make_optimizer(chosen, [nn.Parameter(torch.zeros(2))]), 10)
