"""What fixes.py measures of a model: from the records of scans, and what these do not hold from the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import border
import numpy as np
import pyarrow.parquet as pq
import torch
from decoys import BLOCK
from PIL import Image
from torch import Tensor

import spuraudit
from spuraudit.explain.activation_maps import class_activation, element_activation, forward_with_features
from spuraudit.models.feature_grid import feature_grid

DECOY = border.number(border.SNEAKER)


class AtDecoy(NamedTuple):
    """Of the sweep of some sneakers with cells of shirts.

    change: of the mean probability over passes with dropout, at the decoy's cell. log_odds: the same without dropout,
    of log p / (1 - p). lowest: share of sneakers whose lowest cell is the decoy's.
    """

    change: float
    log_odds: float
    lowest: float
    sneakers: int


class Seen(NamedTuple):
    """What the Grad-CAM of the true class shows of the decoys, over images that carry their own.

    any_positive: share of images with a value above 0 in a cell that touches the decoy. raw: mean value there, before
    ReLU. all_zero: share of images without any value above 0. element: gradient times activation summed over the cells
    that touch the decoy, mean over images; elsewhere: over all other cells; logit: of the true class.
    """

    layer: str
    any_positive: float
    raw: float
    all_zero: float
    element: float
    elsewhere: float
    logit: float


def of_groups(run: Path) -> dict[str, float]:
    """Group -> accuracy, from the record of a scan."""
    found = {
        str(measurement.scope["group"]): measurement.value
        for measurement in spuraudit.read_record(run).measurements
        if measurement.metric == "clean_accuracy" and set(measurement.scope) == {"group"}
    }
    return {name: found[name] or 0.0 for name in border.VARIANTS}


def at_decoy(run: Path, model: Path, images: Path) -> AtDecoy:
    """From the scan of a sweep. images: folder that the ids of images start from."""
    measured = {
        one.metric: one
        for one in spuraudit.read_record(run).measurements
        if one.scope.get("cell", DECOY) == DECOY and one.metric.startswith("patch_")
    }
    change, lowest = measured["patch_drop"], measured["patch_consistency"]
    assert change.value is not None
    assert lowest.value is not None
    return AtDecoy(change.value, log_odds_change(run, model, images), lowest.value, change.n)


def log_odds_change(run: Path, model: Path, images: Path) -> float:
    """Mean over the sweep's pairs of images of log p / (1 - p), as it is minus with the target's cell; no dropout.

    A scan holds probabilities alone, and those of a sure model are rounded to 1.
    """
    table = pq.read_table(sorted((run / "observations").glob("*.parquet")), columns=["image", "condition", "donor"])
    pairs = sorted({(row["image"], row["donor"]) for row in table.to_pylist() if row["condition"] == f"patch:{DECOY}"})
    rows, columns, _ = border.square(border.SNEAKER)
    shown = torch.stack([pixels(images / image) for image, _ in pairs])
    swapped = shown.clone()
    for place, (_, donor) in enumerate(pairs):
        swapped[place, :, rows, columns] = pixels(images / donor)[:, rows, columns]
    loaded = spuraudit.load_model(str(model))
    with torch.inference_mode():
        before, after = (log_odds(loaded.logits(each), border.SNEAKER) for each in (shown, swapped))
    return float((before - after).mean())


def log_odds(logits: Tensor, label: int) -> Tensor:
    """log p / (1 - p) of a class: its logit minus the log of the summed exponentials of the others. (B, K) -> (B,)."""
    others = [output for output in range(logits.shape[1]) if output != label]
    return logits[:, label] - logits[:, others].logsumexp(dim=1)


def pixels(file: Path) -> Tensor:
    """(3, 28, 28) in [0, 1], as a scan shows a greyscale file."""
    grey = torch.from_numpy(np.asarray(Image.open(file)).astype(np.float32) / 255)
    return grey.expand(3, -1, -1)


def seen_by_grad_cam(model: Path, files: list[Path], labels: list[int]) -> Seen:
    """Of the map that `gradcam-rrr` trains on, in eval mode."""
    loaded = spuraudit.load_model(str(model))
    grid = feature_grid(loaded)
    shown, classes = torch.stack([pixels(file) for file in files]), torch.tensor(labels)
    network = loaded.network.eval()
    # The mean is 0 and the standard deviation 1: pixels are the network's input.
    logits, output = forward_with_features(network, grid, shown)
    maps = class_activation(logits, output, grid, classes, relu=False)
    scores = logits.gather(1, classes[:, None])[:, 0]
    element = element_activation(scores, output, grid)
    inside = torch.stack([touched(label, grid.rows) for label in labels])
    return Seen(
        layer=grid.describe(),
        any_positive=float(((maps > 0) & inside).any(dim=(1, 2)).float().mean()),
        raw=float(maps[inside].mean()),
        all_zero=float((maps <= 0).all(dim=2).all(dim=1).float().mean()),
        element=float((element * inside).sum(dim=(1, 2)).mean()),
        elsewhere=float((element * ~inside).sum(dim=(1, 2)).mean()),
        logit=float(scores.detach().mean()),
    )


def touched(label: int, side: int) -> Tensor:
    """(side, side) bool: cells of a map, equal parts of the image, that share a pixel with a class's square."""
    top, left = (place * BLOCK for place in border.cell(label))
    edges = torch.arange(side + 1) * 28 / side
    rows = (edges[:-1] < top + BLOCK) & (edges[1:] > top)
    columns = (edges[:-1] < left + BLOCK) & (edges[1:] > left)
    return rows[:, None] & columns[None, :]
