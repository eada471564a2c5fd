"""Clean answers to some images before a scan: is the model near chance, which images can be sources?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from spuraudit.runs.batching import Batches
from spuraudit.runs.progress import stage
from spuraudit.runs.right_answers import answer, pixel_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spuraudit.data.dataset import ImageRow
    from spuraudit.models.class_map import Answers
    from spuraudit.models.model import Model
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.progress import Progress


class CleanAnswers(NamedTuple):
    """Of N images, on the CPU: labels (N,) and predicted classes (N,) int64, class probabilities (N, K) float32."""

    labels: Tensor
    predicted: Tensor
    probabilities: Tensor

    @property
    def right(self) -> Tensor:
        """(N,) bool."""
        return self.predicted == self.labels


def clean_answers(
    scan: Scan, rows: Sequence[ImageRow], what: str, progress: Progress, model: Model | None = None
) -> CleanAnswers:
    """Ask `model` (None: the scan's) about unperturbed images; at least one row."""
    asked = model or scan.model
    batches = Batches(scan.machine.batch_size, progress.say)
    found: list[Answers] = []
    with stage(progress, what, len(rows), "images"), scan.loader() as loader:
        for pixels in pixel_batches(loader, rows, scan.machine.batch_size):
            found.append(answer(asked, scan.class_map, pixels, batches))
            progress.advance(len(pixels))
    labels = torch.tensor([row.label for row in rows])
    return CleanAnswers(
        labels,
        torch.cat([answers.predicted for answers in found]),
        torch.cat([answers.probabilities for answers in found]),
    )
