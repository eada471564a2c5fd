"""Small trainings on drawn images, in this process or in one that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import toys
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset, ImageRow
from spuraudit.fix.catalogue import make_method
from spuraudit.fix.devices import train_on
from spuraudit.fix.feed import Feed
from spuraudit.fix.job import Job, Prepared
from spuraudit.fix.objective import Objective
from spuraudit.fix.settings import TrainingSettings
from spuraudit.fix.state import TrainingFolder
from spuraudit.models.model import Model
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.runs.loader import Kept
from spuraudit.runs.prepare import Machine
from spuraudit.runs.progress import Silent

if TYPE_CHECKING:
    from spuraudit.fix.regions import Region


class Smooth(nn.Module):
    """Convolution, batch normalisation, SiLU, mean, linear: everything differentiable at every point."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.fc = nn.Linear(54, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        logits: Tensor = self.fc(self.pool(nn.functional.silu(self.norm(self.conv(x)))).flatten(1))
        return logits


def seeded(kind: type[nn.Module], *args: Any, seed: int = 1) -> nn.Module:
    """A network whose weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(*args)


def smooth() -> Model:
    return toys.as_model(seeded(Smooth), outputs=3)


def dropping() -> Model:
    """With 50 % dropout."""
    return toys.as_model(seeded(PaperCNN, 3, 4), outputs=3)


def settings(**chosen: Any) -> TrainingSettings:
    """Quick ones."""
    return TrainingSettings(**{"epochs": 3, "batch_size": 8, "lr": 1e-2, **chosen})


def job_of(model: Model, dataset: Dataset, folder: Path, chosen: TrainingSettings | None = None, **more: Any) -> Job:
    """On all training images."""
    given: dict[str, Any] = {"start": "model", "seed": 0, "progress": Silent(), "validation": (), **more}
    machine = Machine(32, 1)
    return Job(
        model,
        dataset,
        dataset.in_split("train"),
        settings=chosen or settings(),
        folder=folder,
        machine=machine,
        **given,
    )


def feed_of(
    dataset: Dataset,
    chosen: TrainingSettings,
    *,
    rows: Sequence[ImageRow] | None = None,
    seed: int = 0,
    threads: int = 1,
    room: int = 2**20,
    region: Region | None = None,
    model: Model | None = None,
) -> Feed:
    """Of the training images."""
    given = tuple(dataset.in_split("train") if rows is None else rows)
    preprocess = (model or smooth()).record.preprocess
    return Feed(dataset, given, preprocess, chosen, seed, Kept(room), threads, region)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Bit for bit, buffers too."""
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == key and torch.equal(a, b) for (name, a), (key, b) in pairs)


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    """Over all weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def zigzag(model: Model) -> float:
    """A measure that prefers weights in the middle of a training, as a function of the weights alone."""
    return -abs(float(model.network.state_dict()["classifier.bias"].abs().sum()) - 0.12)


@dataclass(frozen=True)
class Killing(Objective):
    """Ends its process, as the kernel would for want of memory, after a step."""

    at: int = -1

    def check(self, step: int, terms: dict[str, float]) -> str | None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return None


class KillingWhenSaved(Silent):
    """Ends its process right after the state of an epoch was saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def say(self, text: str) -> None:
        if f"step {self.step} of" in text:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class KillingMeasure:
    """Ends its process while the weights of an epoch are judged."""

    calls: list[int]
    at: int

    def __call__(self, model: Model) -> float:
        self.calls.append(1)
        if len(self.calls) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return zigzag(model)


def train_once(data: str, folder: str, options: dict[str, Any], kill: str, at: int) -> None:
    """A training with dropout and selection in a folder; kill: '', 'step', 'saved' or 'measure'."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    progress = KillingWhenSaved(at) if kill == "saved" else Silent()
    chosen = settings(select="accuracy", **options)
    job = job_of(dropping(), dataset, Path(folder), chosen, progress=progress)
    prepared = Prepared(job.started(), Killing(at) if kill == "step" else Objective())
    measure = KillingMeasure([], at) if kill == "measure" else zigzag
    training = replace(job.training("it", prepared), validate=measure)
    curve = train_on(1, training, TrainingFolder(job.folder / "it"), progress)
    seen = [(e.step, e.steps, e.sums, e.right, e.validation) for e in curve.epochs]
    torch.save(
        {"weights": prepared.model.network.state_dict(), "curve": repr(seen), "best": curve.best},
        Path(folder) / "result",
    )


def train_on_devices(data: str, folder: str, devices: int, method: str, options: dict[str, Any]) -> nn.Module:
    """The network after a few steps of a method; 26 images in batches of 8: the last one is of 2."""
    dataset = open_dataset(data)
    job = job_of(
        smooth(), dataset, Path(folder), settings(flip=True, crop=0.6, optimizer="SGD", lr=0.2), devices=devices
    )
    job = replace(job, train=job.train[:26])
    prepared = make_method(method, options).prepare(job)
    job.fit("it", prepared)
    return prepared.model.network
