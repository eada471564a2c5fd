"""A drawn dataset and saved networks with random weights: what the tests of zoo runs share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import torch
import toys

from spuraudit.models.architectures import create
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.prepare import Machine
from spuraudit.runs.zoo_job import Loading, ZooItem, ZooJob

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = ScanSettings(trials=2, swap_trials=1, allow_chance=True)
#: File -> architecture, its arguments. Two input geometries: 28 pixels and 32 pixels.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "wide": ("paper_cnn", {"width": 8, "num_classes": 3}),
    "narrow": ("paper_cnn", {"width": 4, "num_classes": 3}),
    "residual": ("test_resnet", {"num_classes": 3}),
    "vision": ("test_vit", {"num_classes": 3, "img_size": 32}),
    "mixed": ("test_efficientnet", {"num_classes": 3}),
}


def save_networks(folder: Path, names: tuple[str, ...] = tuple(NETWORKS)) -> tuple[ZooItem, ...]:
    """Files as a training script of timm leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, name in enumerate(names):
        torch.manual_seed(number)
        arch, kwargs = NETWORKS[name]
        path = folder / f"{name}.pt"
        size = 28 if arch == "paper_cnn" else 32
        arguments = {
            "model_kwargs": {key: value for key, value in kwargs.items() if key != "num_classes"},
            "img_size": size,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        }
        torch.save({"arch": arch, "state_dict": create(arch, kwargs).state_dict(), "args": arguments}, path)
        items.append(ZooItem(name, name.title(), str(path), group="Random"))
    return tuple(items)


def job(tmp_path: Path, folder: str = "zoo", **changes: Any) -> ZooJob:
    """All five networks on three classes of twelve images."""
    data = tmp_path / "data"
    if not data.exists():
        toys.draw(data, toys.Toy())
        save_networks(tmp_path / "weights")
    items = tuple(ZooItem(name, name.title(), str(tmp_path / "weights" / f"{name}.pt"), "Random") for name in NETWORKS)
    values: dict[str, Any] = {
        "items": items,
        "data": str(data),
        "folder": tmp_path / folder,
        "settings": SETTINGS,
        "machine": Machine(16, 1),
        "loading": Loading(device="cpu"),
    }
    return ZooJob(**(values | changes))


def parts(folder: Path) -> dict[str, bytes]:
    """Every part below a zoo's or a scan's folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("part-*.parquet"))}


def measured(folder: Path) -> dict[str, str]:
    """Everything of the records, and of what pages compare of them, that may not depend on how the run went."""
    found = {}
    for file in sorted(folder.glob("models/*/scan.json")):
        content = json.loads(file.read_bytes())
        kept = {key: content[key] for key in ("measurements", "findings", "curves", "observations", "exclusions")}
        compared = json.loads((file.parent / "compared.json").read_bytes())
        kept["compared"] = [compared["features"], compared["record"]["measurements"]]
        found[file.parent.name] = json.dumps(kept)
    return found


def rows(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("part-*.parquet"))
