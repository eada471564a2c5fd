"""A step by hand, on small images and a smooth network, and what its maps should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import toys
from fix.loss_networks import Smooth
from oracles import fix_losses as oracle
from torch import Tensor

from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import ImageRow
from spuraudit.fix.batch import REGION, Batch, View
from spuraudit.fix.learner import Learner
from spuraudit.fix.objective import Objective
from spuraudit.models.class_map import ClassMap

SIDE, MARKED = 6, (True, False, True, True, False, True)


def batch_of(pixels: Tensor, regions: Tensor, marked: Sequence[bool] = MARKED) -> Batch:
    samples = [
        Sample(ImageRow(f"{i}.png", i % 4, "s", f"{i}.png"), image, {REGION: region} if has else {})
        for i, (image, region, has) in enumerate(zip(pixels, regions, marked, strict=True))
    ]
    return Batch.of(samples, [View()] * len(samples), range(len(samples)), (3, 5), len(samples))


def learner_of(network: Smooth) -> Learner:
    model = toys.as_model(network.eval(), outputs=4)
    network.requires_grad_(True)
    return Learner.of(model, ClassMap(tuple((k,) for k in range(4)), 4, "all"))


def step(objective: Objective, learner: Learner, batch: Batch, parts: int) -> tuple[dict[str, float], list[Tensor]]:
    """Terms and gradients of a step, as the loop makes them."""
    learner.network.zero_grad()
    shown, terms = objective.show(batch), dict[str, float]()
    for part in shown.parts(parts):
        share = len(part) / part.whole

        def backward(loss: Tensor, share: float = share) -> None:
            (loss * share).backward()  # type: ignore[no-untyped-call]

        for name, value in objective.accumulate(learner, part, backward).terms.items():
            terms[name] = terms.get(name, 0.0) + float(value) * share
    return terms, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in learner.parameters]


def explained(network: Smooth, pixels: Tensor, form: str, signs: Tensor, relu: bool) -> oracle.Floats:
    """The literal map of each image."""
    maps = []
    for i, image in enumerate(pixels):
        with torch.no_grad():
            features = network.features(torch.tanh(network.stem(image[None])))[0].numpy()

        def score(values: oracle.Floats, i: int = i) -> float:
            with torch.no_grad():
                logits = network.head(torch.from_numpy(values)[None])[0]
            return float(logits[i % 4]) if form == "grad-cam" else float((signs[i].double() * logits).sum())

        maps.append((oracle.grad_cam if form == "grad-cam" else oracle.element_map)(score, features, relu))
    return np.stack(maps)


def assert_learns(objective: Objective, learner: Learner, batch: Batch, term: str) -> None:
    """The gradient of a step equals its change along a random direction; the method's own term has a part in it."""
    (_, gradients), parameters = step(objective, learner, batch, 2), learner.parameters
    generator, own = torch.Generator().manual_seed(9), 0.0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
        start, ends = parameter.detach().clone(), []
        for shift in (1e-3, -1e-3):
            with torch.no_grad():
                parameter.copy_(start + shift * direction)
            ends.append(step(objective, learner, batch, 2)[0])
        with torch.no_grad():
            parameter.copy_(start)
        changes = {name: (ends[0][name] - ends[1][name]) / 2e-3 for name in ends[0]}
        own = max(own, abs(changes[term]))
        assert float((gradient * direction).sum()) == pytest.approx(sum(changes.values()), rel=0.01, abs=2e-3)
    assert own > 0.01
