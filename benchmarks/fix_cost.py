"""What a training step of each fix costs, against a step of plain cross-entropy.

    python benchmarks/fix_cost.py [--archs resnet18,efficientnet_b0] [--batch 8] [--side 224] [--turns 3]

CPU seconds of one thread (`time.process_time`). Every turn measures all losses, plain first; figures are medians over
turns of the ratio within a turn, with the smallest and the largest. Random weights, noise as images, a mask of the left
half; frozen batch-norm statistics, SGD. Images are in memory: decoding is not counted.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from typing import TYPE_CHECKING

import timm
import torch

from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import ImageRow, MaskRow
from spuraudit.fix.batch import AROUND, REGION, Batch, View
from spuraudit.fix.learner import Learner, in_training
from spuraudit.fix.losses.gradients import twice_differentiable
from spuraudit.fix.methods.corm import CormObjective, CormOptions
from spuraudit.fix.methods.crayon import AttentionObjective
from spuraudit.fix.methods.crayon_answers import Answered
from spuraudit.fix.methods.gradcam_rrr import GradcamRrrObjective, GradcamRrrOptions
from spuraudit.fix.methods.rrr import RrrObjective, RrrOptions
from spuraudit.fix.methods.swap import SwapObjective, SwapOptions
from spuraudit.fix.objective import Objective
from spuraudit.models.class_map import class_map
from spuraudit.models.feature_grid import feature_grid
from spuraudit.models.model import Model
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import ModelRecord

if TYPE_CHECKING:
    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.feature_grid import FeatureGrid

CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def model_of(arch: str, side: int) -> Model:
    """Random weights, ten classes."""
    torch.manual_seed(0)
    sized = {"img_size": side} if "vit" in arch else {}
    network = timm.create_model(arch, num_classes=CLASSES, **sized).eval()
    preprocess = Preprocess(geometry=Geometry(height=side, width=side, crop_pct=1.0), mean=MEAN, std=STD)
    record = ModelRecord(
        name=arch,
        source="timm",
        arch=arch,
        arch_origin="name",
        parameters=0,
        num_classes=CLASSES,
        preprocess=preprocess,
    )
    return Model(network, record, torch.device("cpu"))


def batch_of(size: int, side: int) -> Batch:
    """Noise, labels in turn, a core mask of the left half."""
    generator = torch.Generator().manual_seed(1)
    core = torch.zeros(side, side)
    core[:, : side // 2] = 1
    samples = []
    for number in range(size):
        mask = MaskRow("object", "core", "none", "none")
        row = ImageRow(str(number), number % CLASSES, "none", "none", masks=(mask,))
        masks = {"object": core, REGION: 1 - core, AROUND: 1 - core}
        samples.append(Sample(row, torch.rand(3, side, side, generator=generator), masks))
    return Batch.of(samples, [View()] * size, range(size), (0, 0), size)


def objectives(model: Model, batch: Batch) -> dict[str, Objective]:
    """Every loss, in its default form unless named otherwise."""
    grid = feature_grid(model)
    saliency = CormOptions(sigma=0, weight=1e-3)
    return {
        "cross-entropy": Objective(),
        "swap, half of the images": SwapObjective(SwapOptions()),
        "corm: noise on every batch": CormObjective(CormOptions(withhold=0)),
        "corm: saliency, double backward": CormObjective(saliency),
        "corm: saliency, differences": CormObjective(saliency, rms=3e-4),
        "corm: saliency on a quarter, double backward": CormObjective(saliency.model_copy(update={"part": 0.25})),
        "corm: saliency on a quarter, differences": CormObjective(saliency.model_copy(update={"part": 0.25}), rms=3e-4),
        "rrr: random logits": RrrObjective(RrrOptions()),
        "rrr: log-probabilities": RrrObjective(RrrOptions(form="log-probabilities")),
        "gradcam-rrr": GradcamRrrObjective(GradcamRrrOptions(), grid, 0),
        "crayon-attention": AttentionObjective(grid, _answers(grid, batch), (100.0, 50.0), "current"),
    }


def _answers(grid: FeatureGrid, batch: Batch) -> Answered:
    """Every image has a yes or a no, in turn."""
    maps = torch.rand(len(batch), grid.rows, grid.columns, generator=torch.Generator().manual_seed(2))
    return Answered(batch.ids, maps, torch.arange(len(batch)) % 2 == 0)


def step(objective: Objective, learner: Learner, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    """CPU seconds of a whole step."""
    start = time.process_time()
    optimizer.zero_grad()
    with in_training(learner.network, "frozen"), twice_differentiable():
        objective.accumulate(learner, objective.show(batch), lambda loss: loss.backward())
    optimizer.step()
    return time.process_time() - start


def measure(arch: str, size: int, side: int, turns: int) -> dict[str, list[float]]:
    """Per loss the ratios to cross-entropy, one per turn; under 'cross-entropy' the CPU seconds."""
    model, batch = model_of(arch, side), batch_of(size, side)
    learner = Learner.of(model, identity())
    optimizer = torch.optim.SGD(model.network.parameters(), lr=1e-9)
    found: dict[str, list[float]] = {}
    losses = objectives(model, batch)
    for objective in losses.values():
        step(objective, learner, batch, optimizer)  # memory is fetched in the first step
    for _ in range(turns):
        plain = 0.0
        for name, objective in losses.items():
            seconds = step(objective, learner, batch, optimizer)
            plain = seconds if name == "cross-entropy" else plain
            found.setdefault(name, []).append(seconds if name == "cross-entropy" else seconds / plain)
    return found


def identity() -> ClassMap:
    """Output k is class k."""
    return class_map([None] * CLASSES, [str(k) for k in range(CLASSES)], CLASSES, "all", "softmax")


def main() -> None:
    """One table per architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", default="resnet18,vit_tiny_patch16_224,efficientnet_b0")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {platform.machine()}, batch {given.batch} of {given.side} px, {given.turns} turns"
    )
    for arch in given.archs.split(","):
        found = measure(arch, given.batch, given.side, given.turns)
        print(f"\n{arch}: cross-entropy {statistics.median(found.pop('cross-entropy')):.2f} CPU s a step")
        print("| loss | times cross-entropy | from | to |\n|---|---|---|---|")
        for name, ratios in found.items():
            print(f"| {name} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |", flush=True)


if __name__ == "__main__":
    main()
