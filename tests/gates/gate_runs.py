"""Run folders of drawn images, really scanned, for gates against a baseline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
import toys

from spuraudit.models.model import Model

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = {
    "audits": ("noise", "region_swap"),
    "trials": 1,
    "swap_trials": 1,
    "allow_chance": True,
}


def scan(root: Path, name: str, frame: float, data: Path, **settings: Any) -> Path:
    """The run of a linear model that counts the frame's colour `frame` times the object's: 0 = it reads the object."""
    network = toys.Mixture(frame=frame)
    record = toys.as_model(network, name).record
    record = record.model_copy(update={"sha256": hashlib.sha256(name.encode()).hexdigest()})
    model = Model(network, record, torch.device("cpu"))
    toys.scan(model, data, root / name, **{**SETTINGS, **settings})
    return root / name
