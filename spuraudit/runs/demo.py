"""The built-in example: digits with a class-wise decoy square, and the paper's CNN trained on them.

The layout is that of Hagos et al. 2022 (28x28 images, 4x4 decoys in a place of the class's own, one convolution,
50 % dropout, one linear layer); the pictures are scikit-learn's handwritten digits. Only four classes carry a decoy:
the other six are the example's own negative control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.progress import stage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from spuraudit.runs.progress import Progress

SIDE, DECOY = 28, 4
#: Class -> corner (top, left) of its decoy: cells 1, 7, 43 and 49 of the 7x7 grid.
CORNERS = {0: (0, 0), 1: (0, SIDE - DECOY), 7: (SIDE - DECOY, 0), 8: (SIDE - DECOY, SIDE - DECOY)}
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EPOCHS, BATCH, RATE = 12, 64, 2e-3
ARCHITECTURE: dict[str, Any] = {"width": 16, "pool": True}

SETTINGS = ScanSettings(
    audits=("noise", "feature_drop", "region_swap", "patch_swap"),
    trials=3,
    swap_trials=2,
    patch_sources=12,
    patch_targets=8,
    target_classes=1,
    passes=20,
    source_classes=tuple(NAMES[label] for label in (*CORNERS, 3, 5)),
)


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's 1,797 digits as (n, 28, 28) uint8, drawn 20 pixels wide so that the border stays empty."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures = np.zeros((len(bunch.images), SIDE, SIDE), dtype=np.uint8)
    for picture, small in zip(pictures, bunch.images, strict=True):
        scaled = Image.fromarray((small * 255 / 16).round().astype(np.uint8)).resize((20, 20), Image.Resampling.BICUBIC)
        picture[4:24, 4:24] = np.asarray(scaled)
    return pictures, bunch.target.astype(np.int64)


def make_digits(folder: Path) -> Path:
    """Write the dataset (images, masks of digit and decoy, images.csv, dataset.yaml) and return its folder."""
    pictures, labels = digits()
    lines = ["image,class,split"]
    for index, (digit, label) in enumerate(zip(pictures, labels, strict=True)):
        decoyed, decoy = _with_decoy(digit, int(label))
        stem = f"{NAMES[label]}/{index:04d}.png"
        _save(folder / "images" / stem, decoyed)
        _save(folder / "masks" / "digit" / stem, np.where(digit > 32, 255, 0).astype(np.uint8))
        if decoy is not None:
            _save(folder / "masks" / "decoy" / stem, decoy)
        lines.append(f"images/{stem},{NAMES[label]},{'test' if index % 3 == 0 else 'train'}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {
        "name": "decoyed-digits",
        "licence": "scikit-learn's copy of the UCI digits (CC BY 4.0); decoys added",
        "classes": list(NAMES),
        "images": {"list": "images.csv"},
        "features": [
            {"name": "digit", "role": "core", "masks": "masks/digit/{class}/{stem}.png"},
            {
                "name": "decoy",
                "role": "spurious",
                "masks": "masks/decoy/{class}/{stem}.png",
                "classes": [NAMES[label] for label in CORNERS],
            },
        ],
    }
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


def _with_decoy(digit: NDArray[np.uint8], label: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The picture with its class's square, and the square's mask; unchanged for a class without."""
    if label not in CORNERS:
        return digit, None
    top, left = CORNERS[label]
    mask = np.zeros_like(digit)
    mask[top : top + DECOY, left : left + DECOY] = 255
    return np.maximum(digit, mask), mask


def _save(file: Path, picture: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def train_cnn(weights: Path, seed: int, progress: Progress) -> Path:
    """Train the paper's CNN on the train split (Adam, decaying rate) and save it with its architecture's name."""
    pictures, labels = digits()
    train = np.arange(len(labels)) % 3 != 0
    decoyed = np.stack([_with_decoy(p, int(y))[0] for p, y in zip(pictures[train], labels[train], strict=True)])
    x = torch.from_numpy(decoyed).float().div_(255)[:, None].expand(-1, 3, -1, -1).contiguous()
    y = torch.from_numpy(labels[train])
    network = _train(x, y, seed, progress)
    content = {"arch": "paper_cnn", "model_kwargs": ARCHITECTURE, "state_dict": network.state_dict()}
    weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, weights)
    return weights


def _train(x: torch.Tensor, y: torch.Tensor, seed: int, progress: Progress) -> PaperCNN:
    # The caller's random state is put back: a library must not seed somebody's process.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PaperCNN(num_classes=len(NAMES), **ARCHITECTURE).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.85)
        with stage(progress, "Training", EPOCHS, "epochs"):
            for _ in range(EPOCHS):
                order = torch.randperm(len(y))
                for start in range(0, len(y), BATCH):
                    chosen = order[start : start + BATCH]
                    optimiser.zero_grad()
                    torch.autograd.backward(F.cross_entropy(network(x[chosen]), y[chosen]))
                    optimiser.step()
                schedule.step()
                progress.advance(1)
    return network.eval()
