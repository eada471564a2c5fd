"""What an epoch is chosen by, measured on the validation images with the audits' own definitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from spuraudit.errors import FixError
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.clean import clean_answers
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Scan, arrange
from spuraudit.runs.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.fix.settings import Measure
    from spuraudit.models.model import Model
    from spuraudit.runs.loader import Kept
    from spuraudit.runs.prepare import Machine

_METRICS = {"core_accuracy": "core_accuracy", "rcs": "rcs"}


def check_measure(measure: Measure, rows: Sequence[ImageRow]) -> None:
    """Raises FixError where the validation images cannot give the measure."""
    if measure == "worst_group" and not any(row.group for row in rows):
        raise FixError(
            "The validation images have no groups, so there is no worst one to choose by.",
            "Set select=accuracy (mean over classes), or give the dataset groups.",
        )
    if measure in _METRICS and not any(row.has_core for row in rows):
        raise FixError(f"No validation image has a core mask, so there is no {measure}.", "Set select=accuracy.")


@dataclass(frozen=True)
class Validator:
    """A model's value on a split, higher is better; a number that is undefined (RCS of 0/0) counts as the lowest.

    core_accuracy and rcs: at sigma 0.25, one draw of noise per image, as the noise audit defines them.
    """

    measure: Measure
    dataset: Dataset
    split: str
    seed: int
    answers: Literal["all", "mapped"]
    machine: Machine
    kept: Kept

    def __call__(self, model: Model) -> float:
        """Asks every image of the split."""
        by_noise = self.measure in _METRICS
        settings = ScanSettings(
            split=self.split,
            seed=self.seed,
            answers=self.answers,
            trials=1,
            audits=("noise",) if by_noise else None,
            allow_chance=True,
        )
        scan = arrange(model, self.dataset, settings, self.machine, self.kept)
        return _by_noise(scan, _METRICS[self.measure]) if by_noise else _clean(scan, self.measure)


def _by_noise(scan: Scan, metric: str) -> float:
    with TemporaryDirectory() as folder:
        record = execute(scan, Path(folder) / "run")
    (found,) = [m for m in record.measurements if m.metric == metric and not set(m.scope) - {"sigma"}]
    return -1.0 if found.value is None else found.value


def _clean(scan: Scan, measure: Measure) -> float:
    """Mean accuracy over classes, or the lowest accuracy of a group."""
    rows = scan.cohort.rows
    right = clean_answers(scan, rows, "Validation", Silent()).right.numpy()
    keys = [(row.group or "") if measure == "worst_group" else str(row.label) for row in rows]
    accuracies = [right[np.array(keys) == key].mean() for key in sorted(set(keys) - {""})]
    return float(min(accuracies) if measure == "worst_group" else np.mean(accuracies))
