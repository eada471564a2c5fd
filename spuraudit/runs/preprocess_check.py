"""Before a scan: would another normalisation or padding do far better on the clean images?

Neither leaves a trace in the weights; the wrong one costs 6 to 27 points of accuracy without any message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spuraudit.models.alternatives import Alternative, normalisations, paddings
from spuraudit.record.scan import Notice
from spuraudit.runs.batching import Batches
from spuraudit.runs.cohort import limited
from spuraudit.runs.progress import stage
from spuraudit.runs.right_answers import right_answers
from spuraudit.stats.paired import sign_flip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spuraudit.data.dataset import ImageRow
    from spuraudit.models.model import Model
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.progress import Progress

#: Images that every alternative is asked; the others only where it is not behind on these.
FIRST_IMAGES = 32
#: What is reported gains so much accuracy, and would do so by chance this rarely, Bonferroni over all that was tried.
LEAST_GAIN, LEVEL = 0.05, 0.01
#: A step (a normalisation, then a padding) is taken only where it gains by itself.
STEP_LEVEL = 0.05


@dataclass(frozen=True)
class _Tried:
    """A way to ask the weights, and which of the images are then answered right, (N,) bool."""

    way: Alternative
    right: NDArray[np.bool_]


def preprocess_check(
    scan: Scan, rows: Sequence[ImageRow], right: NDArray[np.bool_], progress: Progress
) -> Notice | None:
    """SPA006 where another usual preprocessing of the same weights does far better; nothing is changed.

    rows: clean images, those of the probe. right: (N,) which of them the scan's model answers right. The weights are
    tried under the usual normalisations, then with another padding under the best of these. Reported is what answers
    at least 5 points more right, with p < 0.01 of the exact paired test after Bonferroni over all that was tried.

    Cost: nothing where the wrong answers are too few (below 10 or so) for anything to be reported. Else each of four
    to six alternatives is asked 32 images, and the others only where it is not behind on these: of 128 images some 200
    passes where the preprocessing is right, at most 768.
    """
    others = normalisations(scan.model)
    if not _far_better(np.ones_like(right), right, len(others)):
        return None
    first = {row.id for row in limited(rows, FIRST_IMAGES)}
    ahead = np.array([row.id in first for row in rows])
    best = _step(scan, rows, ahead, _Tried(Alternative(scan.model, ""), right), others, progress)
    padded = [replace(way, flags=f"{best.way.flags} {way.flags}".strip()) for way in paddings(best.way.model)]
    best = _step(scan, rows, ahead, best, padded, progress)
    if not _far_better(best.right, right, len(others) + len(padded)):
        return None
    what = "preprocessing" if "--mean" in best.way.flags else "padding"
    return Notice(
        code="SPA006",
        text=f"With {best.way.flags}, {best.right.sum()} of {len(rows)} clean images are answered right instead of "
        f"{right.sum()}: the {what} in use is probably not the one of the training.",
    )


def _far_better(one: NDArray[np.bool_], other: NDArray[np.bool_], tried: int) -> bool:
    """Whether `one` deserves a warning over `other`, after so many comparisons."""
    gain = float(one.mean() - other.mean())
    return gain >= LEAST_GAIN and _p(one, other) * tried < LEVEL


def _p(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return sign_flip(one.astype(np.int64) - other.astype(np.int64))


def _step(
    scan: Scan,
    rows: Sequence[ImageRow],
    ahead: NDArray[np.bool_],
    now: _Tried,
    others: Sequence[Alternative],
    progress: Progress,
) -> _Tried:
    """The best of the alternatives where it gains over `now`, else `now`. ahead: (N,) rows that are asked first."""
    models = [way.model for way in others]
    on_first = _ask(scan, models, _where(rows, ahead), progress)
    least = now.right[ahead].sum()
    left = [index for index, right in enumerate(on_first) if right.sum() >= least]
    on_rest = _ask(scan, [models[index] for index in left], _where(rows, ~ahead), progress)
    best = now
    for index, rest in zip(left, on_rest, strict=True):
        right = np.empty_like(now.right)
        right[ahead], right[~ahead] = on_first[index], rest
        if right.sum() > best.right.sum() and _p(right, now.right) < STEP_LEVEL:
            best = _Tried(others[index], right)
    return best


def _where(rows: Sequence[ImageRow], chosen: NDArray[np.bool_]) -> list[ImageRow]:
    return [row for row, take in zip(rows, chosen, strict=True) if take]


def _ask(scan: Scan, models: Sequence[Model], rows: Sequence[ImageRow], progress: Progress) -> list[NDArray[np.bool_]]:
    """Which of the rows each model answers right."""
    if not models or not rows:
        return [np.empty(0, dtype=bool) for _ in models]
    batches = Batches(scan.machine.batch_size, progress.say)
    with stage(progress, "Trying other preprocessing", len(models) * len(rows), "images"), scan.loader() as loader:
        return [asked.right for asked in right_answers(models, scan.class_map, loader, rows, batches, progress)]
