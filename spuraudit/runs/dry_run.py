"""The main job in small: two drawn images through an untrained network, from PNG to report, leaving nothing behind."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from PIL import Image

from spuraudit.data import open_dataset
from spuraudit.models import load
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.record.settings import ScanSettings
from spuraudit.report import render
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, prepare_scan

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord

_SIDE, _OBJECT = 28, 8
_NAMES = ("left", "right")
#: An untrained network answers at random: that is expected here.
_SETTINGS = ScanSettings(audits=("noise",), trials=1, allow_chance=True)


@dataclass(frozen=True)
class DryRun:
    """What became of it."""

    record: ScanRecord
    device: str
    seconds: float


def dry_run(device: str = "auto") -> DryRun:
    """Decode, load, noise, ask, write, measure, render. Raises whatever stands in the way of a scan here."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="spuraudit-") as name:
        folder = Path(name)
        model = load(str(_weights(folder / "model.pt")), device=device)
        data = open_dataset(str(_pictures(folder / "data")))
        scan = prepare_scan(model, data, _SETTINGS, Machine(batch_size=2, workers=1))
        record = execute(scan, folder / "run")
        render(folder / "run", charts=False)
        return DryRun(record, str(model.device), time.perf_counter() - start)


def _weights(file: Path) -> Path:
    """The demo's network with two outputs. The caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PaperCNN(num_classes=len(_NAMES), width=4, pool=True)
    content = {"arch": "paper_cnn", "model_kwargs": {"width": 4, "pool": True}, "state_dict": network.state_dict()}
    torch.save(content, file)
    return file


def _pictures(folder: Path) -> Path:
    """A grey image per class with a bright square, and the square as its core mask."""
    for label, name in enumerate(_NAMES):
        mask = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
        start = 2 + label * (_SIDE - _OBJECT - 4)
        mask[10 : 10 + _OBJECT, start : start + _OBJECT] = 255
        for kind, pixels in (("images", np.maximum(mask, 90)), ("masks", mask)):
            file = folder / kind / name / "0.png"
            file.parent.mkdir(parents=True)
            Image.fromarray(pixels).save(file)
    content = {
        "name": "two squares",
        "classes": list(_NAMES),
        "images": {"folder": "images"},
        "features": [{"name": "square", "role": "core", "masks": "masks/{class}/{stem}.png"}],
    }
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder
