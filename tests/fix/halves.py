"""Images whose halves both tell the class, each in colours of its own, and a network that can read either.

Class a: left red, right magenta. Class b: left green, right yellow. A mask covers exactly one half.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import toys
import yaml
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.fix.job import Job
from spuraudit.fix.settings import TrainingSettings
from spuraudit.models.model import Model
from spuraudit.runs.prepare import Machine
from spuraudit.runs.progress import Silent

SIDE = toys.SIDE
LEFT, RIGHT = ((204, 51, 51), (51, 204, 51)), ((204, 51, 204), (204, 204, 51))
QUICK = TrainingSettings(
    steps=40, batch_size=16, lr=0.01, optimizer="Adam", weight_decay=0.0, schedule=None, flip=False
)


def picture(left: int, right: int, key: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(28, 28, 3): colours of class `left` and class `right`, with a grain."""
    pixels = np.empty((SIDE, SIDE, 3), dtype=np.int64)
    pixels[:, : SIDE // 2], pixels[:, SIDE // 2 :] = LEFT[left], RIGHT[right]
    grain = np.random.default_rng(key).integers(-12, 13, pixels.shape)
    return (pixels + grain).clip(0, 255).astype(np.uint8)


def draw(folder: Path, half: str | None, role: str = "spurious", images: int = 32) -> Dataset:
    """A dataset whose masks cover the `half`: 'left', 'right'; None: there are none."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[:, slice(SIDE // 2) if half == "left" else slice(SIDE // 2, None)] = 255
    rows = []
    for number in range(images):
        label = number % 2
        stem = f"{number:03d}"
        toys.save(folder / "images" / f"{stem}.png", picture(label, label, number))
        if half:
            toys.save(folder / "masks" / f"{stem}.png", mask)
        rows.append((f"{stem}.png", "ab"[label], "train", "", stem))
    toys.write_list(folder, rows)
    content: dict[str, object] = {
        "name": "halves",
        "classes": ["a", "b"],
        "images": {"list": "images.csv", "folder": "images"},
    }
    if half:
        content["features"] = [{"name": half, "role": role, "masks": "masks/{stem}.png"}]
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return open_dataset(str(folder))


class Halves(nn.Module):
    """Four channels, one per colour, averaged over the image before one linear layer."""

    def __init__(self, left: float = 4.0, right: float = 4.0, cells: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.act = nn.ReLU()
        self.pool = nn.AvgPool2d(SIDE // cells)
        self.classifier = nn.Linear(4, 2)
        with torch.no_grad():
            self.conv.weight[:, :, 0, 0] = torch.tensor([[1, -1, -1], [-1, 1, -1], [1, -1, 1], [1, 1, -1]])
            self.conv.bias = nn.Parameter(torch.tensor([0.0, 0.0, -1.0, -1.0]))
            self.classifier.weight.copy_(torch.tensor([[left, 0, right, 0], [0, left, 0, right]]))
            self.classifier.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 2)."""
        logits: Tensor = self.classifier(self.pool(self.act(self.conv(x))).mean(dim=(2, 3)))
        return logits


class Board(nn.Module):
    """Linear in the pixels, each place by itself."""

    def __init__(self, left: float, right: float) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(3 * SIDE * SIDE, 2)
        weight = torch.zeros(2, 3, SIDE, SIDE)
        weight[0, 0, :, : SIDE // 2] = weight[1, 1, :, : SIDE // 2] = left
        weight[0, 2, :, SIDE // 2 :] = weight[1, 1, :, SIDE // 2 :] = right
        with torch.no_grad():
            self.classifier.weight.copy_(weight.flatten(1) / (SIDE * SIDE))
            self.classifier.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 2)."""
        logits: Tensor = self.classifier(self.flatten(x))
        return logits


def job(folder: Path, dataset: Dataset, network: nn.Module, **given: Any) -> Job:
    """A job on all training images; `given`: other fields, `settings` among them."""
    settings = given.pop("settings", QUICK)
    rows = dataset.in_split("train")
    made = Job(
        model=toys.as_model(network),
        dataset=dataset,
        train=rows,
        validation=(),
        settings=settings,
        start="model",
        seed=0,
        folder=folder,
        machine=Machine(16, 1),
        progress=Silent(),
    )
    return replace(made, **given)


def reads_left(model: Model) -> float:
    """Of images whose halves contradict each other, the share that is answered by the left half."""
    shown = torch.stack(
        [torch.from_numpy(picture(left, 1 - left, 900 + left + 2 * number)) for number in range(20) for left in (0, 1)]
    )
    answers = model.logits(shown.permute(0, 3, 1, 2).float() / 255).argmax(dim=1)
    return float((answers == torch.tensor([0, 1] * 20)).float().mean())
