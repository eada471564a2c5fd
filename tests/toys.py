"""Drawn datasets and hand-set networks whose audits have known answers.

An image is 28x28: a square object in the middle, a frame around it, and perhaps a small square ("tag") in the lower
left corner, cell 43 of the 7x7 grid. Each of the three may say the class by its colour. The moat between object and
frame is random grey that no network reads, so that no two images are alike; its width is the dilation at 28 pixels.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.models.model import Model
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.observations import read_parts
from spuraudit.record.scan import ModelRecord
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, prepare_scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from spuraudit.record.scan import Finding, Measurement, ScanRecord

SIDE, PATCH = 28, 4
TAG_CELL = 43
NAMES = ("red", "green", "blue", "yellow")
COLOURS = ((204, 51, 51), (51, 204, 51), (51, 51, 204), (204, 204, 51))


def _area(top: int, bottom: int, left: int, right: int) -> Tensor:
    area = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    area[top:bottom, left:right] = True
    return area


def cell_area(number: int) -> Tensor:
    """(28, 28) bool: a cell of the 7x7 grid, counted from 1, row by row."""
    row, column = divmod(number - 1, SIDE // PATCH)
    return _area(row * PATCH, (row + 1) * PATCH, column * PATCH, (column + 1) * PATCH)


OBJECT = _area(8, 20, 8, 20)
TAG = cell_area(TAG_CELL)
#: Outside the dilated object (4 pixels on each side) and outside the tag.
FRAME = ~_area(4, 24, 4, 24) & ~TAG


@dataclass(frozen=True)
class Toy:
    """What to draw. Ids are `red/test-003`; groups are `red/green`: colour of the object, colour of the frame."""

    classes: int = 3
    test: int = 12
    train: int = 6
    tag: bool = False
    masks: bool = True
    #: Say which model outputs the classes are (output k is class k anyway).
    outputs: bool = True
    #: Every n-th image of a class has the frame of the next class; 0: none.
    odd_every: int = 0
    #: So many test images of each class have no mask.
    unmasked: int = 0


def draw(folder: Path, toy: Toy | None = None) -> Path:
    """Write the pictures, masks, images.csv and dataset.yaml; return the folder, which `--data` takes."""
    toy = toy or Toy()
    rows = []
    for label, name in enumerate(NAMES[: toy.classes]):
        for split, count in (("train", toy.train), ("test", toy.test)):
            for number in range(count):
                odd = bool(toy.odd_every) and number % toy.odd_every == 1
                frame = (label + 1) % toy.classes if odd else label
                stem = f"{name}/{split}-{number:03d}"
                save(folder / "images" / f"{stem}.png", picture(label, frame, toy.tag, stem))
                if toy.masks and not (split == "test" and number < toy.unmasked):
                    save(folder / "masks" / "object" / f"{stem}.png", _mask(OBJECT))
                    if toy.tag:
                        save(folder / "masks" / "tag" / f"{stem}.png", _mask(TAG))
                rows.append((f"{stem}.png", name, split, f"{name}/{NAMES[frame]}", stem))
    write_list(folder, rows)
    write_yaml(folder, description(toy))
    return folder


def description(toy: Toy) -> dict[str, object]:
    """The content of dataset.yaml."""
    named = NAMES[: toy.classes]
    classes: list[object] = [{"name": n, "outputs": [k]} if toy.outputs else n for k, n in enumerate(named)]
    content: dict[str, object] = {
        "name": "toy",
        "classes": classes,
        "images": {"list": "images.csv", "folder": "images"},
    }
    features = [("object", "core"), *([("tag", "spurious")] if toy.tag else [])]
    if toy.masks:
        content["features"] = [
            {"name": n, "role": role, "masks": f"masks/{n}/{{class}}/{{stem}}.png", "optional": toy.unmasked > 0}
            for n, role in features
        ]
    return content


def write_yaml(folder: Path, content: dict[str, object]) -> None:
    """Write dataset.yaml."""
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def write_list(folder: Path, rows: Sequence[tuple[str, ...]]) -> None:
    """Write images.csv: image, class, split, group, id."""
    with (folder / "images.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "class", "split", "group", "id"), *rows])


def read_list(folder: Path) -> list[tuple[str, ...]]:
    """The rows of images.csv, without its header."""
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def picture(label: int, frame: int, tag: bool, key: str) -> NDArray[np.uint8]:
    """(28, 28, 3): object and tag in the colour of `label`, frame in that of `frame`, a moat of the image's own."""
    rng = np.random.default_rng(list(key.encode()))
    pixels = rng.integers(60, 196, size=(SIDE, SIDE, 1), dtype=np.uint8).repeat(3, axis=2)
    pixels[FRAME.numpy()] = COLOURS[frame]
    pixels[TAG.numpy()] = COLOURS[label] if tag else COLOURS[frame]
    pixels[OBJECT.numpy()] = COLOURS[label]
    return pixels


def save(file: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a PNG and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def _mask(area: Tensor) -> NDArray[np.uint8]:
    return np.where(area.numpy(), 255, 0).astype(np.uint8)


class Reader(nn.Module):
    """Knows a class by the colour of one area, and says "none of them" (the last output) for any other colour.

    Belief in class k = exp(-mean squared distance of the area's pixels to colour k / 0.004): 1 for the clean colour,
    below 0.01 under noise of sigma 0.25, whose variance alone is at least five times 0.004. The rest of the image
    does not reach the output at all. Sixteen copies of each belief pass a 50 % dropout.
    """

    COPIES, GAIN, DOUBT, WIDTH = 16, 8.0, 0.3, 0.004
    area: Tensor
    colours: Tensor

    def __init__(self, area: Tensor, classes: int = 3, guess: int | None = None) -> None:
        """`guess`: the class that is answered where none is recognised, instead of "none of them"."""
        super().__init__()
        self.guess = guess
        self.register_buffer("area", area.clone())
        self.register_buffer("colours", torch.tensor(COLOURS[:classes]) / 255)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(classes * self.COPIES, classes + 1)
        with torch.no_grad():
            self.classifier.weight.zero_()
            self.classifier.bias.zero_()
            self.classifier.bias[classes] = self.GAIN * self.DOUBT
            for k in range(classes):
                self.classifier.weight[k, k * self.COPIES : (k + 1) * self.COPIES] = self.GAIN / self.COPIES

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes + 1); with a guess (B, classes)."""
        seen = x[:, :, self.area]
        distance = (seen[:, None] - self.colours[None, :, :, None]).square().mean(dim=(2, 3))
        belief = (-distance / self.WIDTH).exp().repeat_interleave(self.COPIES, dim=1)
        logits: Tensor = self.classifier(self.dropout(belief))
        if self.guess is None:
            return logits
        logits[:, self.guess] = torch.maximum(logits[:, self.guess], logits[:, -1])
        return logits[:, :-1]


class Constant(nn.Module):
    """Always the same answer: class 0, whatever it is shown."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.arange(classes, 0, -1).float())

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        return self.bias.expand(len(x), -1)


class Mixture(nn.Module):
    """Linear in the pixels: the object's colour counts 1, the frame's `frame`, and noise of the weights disturbs both.

    On noised images it is right sometimes, so that its accuracies lie inside 0 and 1. It has no dropout of its own.
    """

    def __init__(self, classes: int = 3, disturbance: float = 0.05, frame: float = 0.7) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(3 * SIDE * SIDE, classes)
        drawn = torch.randn(classes, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7)) * disturbance
        wild = torch.zeros_like(drawn)
        for area in (OBJECT, FRAME, TAG):
            # Zero mean over each area: an area of one colour is not disturbed, a noised one is.
            wild[:, :, area] = drawn[:, :, area] - drawn[:, :, area].mean(dim=2, keepdim=True)
        with torch.no_grad():
            self.classifier.bias.zero_()
            self.classifier.weight.copy_((templates(classes, {"object": 1.0, "frame": frame}) + wild).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        logits: Tensor = self.classifier(self.flatten(x))
        return logits


def templates(classes: int, shares: dict[str, float]) -> Tensor:
    """(classes, 3, 28, 28) weights whose product with an image is the likeness of its areas to each class colour."""
    areas = {"object": OBJECT, "frame": FRAME, "tag": TAG}
    weights = torch.zeros(classes, 3, SIDE, SIDE)
    # Colours of equal length, so that the largest product belongs to the nearest colour.
    colours = nn.functional.normalize(torch.tensor(COLOURS[:classes]) / 255 - 0.4, dim=1)
    for name, share in shares.items():
        weights[:, :, areas[name]] += share * colours[:, :, None] / areas[name].sum()
    return weights


def as_model(network: nn.Module, name: str = "toy", outputs: int | None = None) -> Model:
    """The network as a model of 28x28 images without normalisation."""
    network = network.eval().requires_grad_(False)
    if outputs is None:
        outputs = int(network(torch.zeros(1, 3, SIDE, SIDE)).shape[1])
    record = ModelRecord(
        name=name,
        source="file",
        file=f"{name}.pt",
        sha256="0" * 64,
        arch="toy",
        arch_origin="checkpoint",
        parameters=sum(p.numel() for p in network.parameters()),
        num_classes=outputs,
        preprocess=Preprocess(
            geometry=Geometry(height=SIDE, width=SIDE, crop_pct=1.0), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        ),
    )
    return Model(network, record, torch.device("cpu"))


class Scanned(NamedTuple):
    """A finished scan: its record, all its observations, and the run folder."""

    record: ScanRecord
    table: pa.Table
    folder: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The observations as plain dicts."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

    def measured(self, metric: str, **scope: str | float) -> Measurement:
        """The one measurement with this metric and exactly this scope (`class_` for class)."""
        wanted = {key.rstrip("_"): value for key, value in scope.items()}
        (found,) = [m for m in self.record.measurements if m.metric == metric and m.scope == wanted]
        return found

    def value(self, metric: str, **scope: str | float) -> float | None:
        """Its value."""
        return self.measured(metric, **scope).value

    def findings(self, audit: str, feature: str | None = None) -> dict[str, Finding]:
        """Findings of an audit (about one feature) by class."""
        chosen = [f for f in self.record.findings if f.audit == audit and feature in (None, f.feature)]
        found = {finding.class_name: finding for finding in chosen}
        assert len(found) == len(chosen)
        return found


def scan(
    model: nn.Module | Model, data: Path | Dataset, run: Path, *, batch_size: int = 32, **settings: Any
) -> Scanned:
    """Prepare and execute a scan in-process."""
    prepared = prepare_scan(
        model if isinstance(model, Model) else as_model(model),
        data if isinstance(data, Dataset) else open_dataset(str(data)),
        ScanSettings(**settings),
        Machine(batch_size=batch_size, workers=1),
    )
    record = execute(prepared, run)
    return Scanned(record, read_parts([run / part.file for part in record.observations]), run)


def save_cnn(file: Path, shares: dict[str, float], classes: int = 3, gain: float = 8.0) -> Path:
    """A checkpoint of `paper_cnn` that hands the pixels through its convolution and compares areas with the colours.

    `shares`: how much object, frame and tag count. The convolution has no padding: the outermost pixels are not seen.
    """
    network = PaperCNN(num_classes=classes, width=3, img_size=SIDE)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for channel in range(3):
            network.conv.weight[channel, channel, 1, 1] = 1.0
        network.classifier.weight.copy_(gain * templates(classes, shares)[:, :, 1:-1, 1:-1].flatten(1))
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"arch": "paper_cnn", "model_kwargs": {"width": 3}, "state_dict": network.state_dict()}, file)
    return file
