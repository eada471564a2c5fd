"""Which clean images do models answer right? Shared by what compares models before a scan."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from spuraudit.errors import ModelError
from spuraudit.models.class_map import Answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.data.dataset import ImageRow
    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.model import Model
    from spuraudit.runs.batching import Batches
    from spuraudit.runs.loader import Loader
    from spuraudit.runs.progress import Progress


class Asked(NamedTuple):
    """Of N images: whether each was answered right (N,) bool, and the strongest outputs (N,) int64."""

    right: NDArray[np.bool_]
    outputs: NDArray[np.int64]


def pixel_batches(loader: Loader, rows: Sequence[ImageRow], size: int) -> Iterator[Tensor]:
    """Unperturbed pixels of the rows in order, (at most `size`, 3, H, W), each image loaded once."""
    loaded = loader.load((row, ()) for row in rows)
    while some := list(islice(loaded, size)):
        yield torch.stack([item.sample.pixels for item in some])


def answer(model: Model, class_map: ClassMap, pixels: Tensor, batches: Batches) -> Answers:
    """Answers to (B, 3, H, W) pixels, on the CPU, without the labels given.

    Raises ModelError where a logit is NaN or infinite.
    """
    found = list(batches.run(len(pixels), lambda part: class_map.answer(model.logits(pixels[part]))))
    return Answers(
        torch.cat([answers.predicted for answers in found]).cpu(),
        torch.cat([answers.output for answers in found]).cpu(),
        torch.cat([answers.probabilities for answers in found]).cpu(),
    )


def right_answers(
    models: Sequence[Model],
    class_map: ClassMap,
    loader: Loader,
    rows: Sequence[ImageRow],
    batches: Batches,
    progress: Progress,
) -> list[Asked]:
    """Ask models of one geometry about the same rows. A model whose logits overflow has answered nothing right.

    Costs len(models) * len(rows) passes; `progress` is told of each.
    """
    asked: list[tuple[list[NDArray[np.bool_]], list[NDArray[np.int64]]]] = [([], []) for _ in models]
    start = 0
    for pixels in pixel_batches(loader, rows, batches.size):
        labels = np.array([row.label for row in rows[start : start + len(pixels)]])
        start += len(pixels)
        for model, (right, outputs) in zip(models, asked, strict=True):
            try:
                answers = answer(model, class_map, pixels, batches)
            except ModelError:
                right.append(np.zeros(len(labels), dtype=bool))
                outputs.append(np.full(len(labels), -1))
            else:
                right.append(answers.predicted.numpy() == labels)
                outputs.append(answers.output.numpy())
            progress.advance(len(labels))
    return [Asked(np.concatenate(right), np.concatenate(outputs)) for right, outputs in asked]
