"""Small networks with fixed random weights, and how to ask them."""

from __future__ import annotations

import torch
from torch import nn

from spuraudit.models.architectures import create
from spuraudit.models.model import Model
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import ModelRecord


def as_model(network: nn.Module, side: int, num_classes: int = 10) -> Model:
    geometry = Geometry(height=side, width=side, crop_pct=1.0)
    record = ModelRecord(
        name="net",
        source="file",
        arch="net",
        arch_origin="--arch",
        parameters=1,
        num_classes=num_classes,
        preprocess=Preprocess(geometry=geometry, mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7)),
    )
    return Model(network.eval().requires_grad_(False), record, torch.device("cpu"))


def build(name: str, **kwargs: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return create(name, {"num_classes": 10, **kwargs})
