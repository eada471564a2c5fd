"""From masks to answers, and from answers about patches to neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spuraudit.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from spuraudit.record.annotation_tables import Answer, NeuronAnswer

YES_FROM, NO_UP_TO = 0.5, 0.3
#: A cell is highlighted from this part of its map's largest value on.
HIGHLIGHTED = 0.5
#: Below this share of the image a mask is blank: nothing of the object is left after the crop.
_BLANK = 1e-4
_VOTES: dict[Answer, int] = {"yes": 1, "no": -1, "maybe": 0}


def derive(
    maps: NDArray[np.float32], cores: NDArray[np.float32], *, yes: float = YES_FROM, no: float = NO_UP_TO
) -> list[Answer | None]:
    """What somebody might have said who looks at how much of what each map highlights lies on the object.

    maps: (n, rows, columns), at least 0. cores: the core masks averaged over the same cells, 0..1; NaN throughout for
    an image without one. Share = sum(map x core) / sum(map), over the cells of at least half of the map's largest
    value: from `yes` on the answer is yes, up to `no` it is no, else maybe, as for a map that is 0 everywhere. None
    where there is no mask or a blank one.

    Over all cells the share would follow the size of the object: a map that is 1 on a tenth of the image and a third
    elsewhere has only a quarter of its energy on that tenth. On drawn shapes all small triangles got a no that way.
    Raises UsageError unless 0 <= no < yes <= 1.
    """
    if not 0 <= no < yes <= 1:
        raise UsageError(
            f"Answers cannot be derived with yes from {yes:g} on and no up to {no:g}.",
            "Both lie in 0..1, yes above no.",
        )
    if maps.shape != cores.shape:
        raise ValueError(f"maps {maps.shape} and masks {cores.shape} differ in shape")
    return [
        _derived(map_.astype(np.float64), core.astype(np.float64), yes, no)
        for map_, core in zip(maps, cores, strict=True)
    ]


def _derived(map_: NDArray[np.float64], core: NDArray[np.float64], yes: float, no: float) -> Answer | None:
    if not core.mean() >= _BLANK:  # also where it is NaN
        return None
    highlight = np.where(map_ >= HIGHLIGHTED * map_.max(), map_, 0.0)
    energy = float(highlight.sum())
    if energy <= 0:
        return "maybe"
    share = float((highlight * core).sum()) / energy
    return "yes" if share >= yes else "no" if share <= no else "maybe"


def relevant_neurons(answers: Iterable[NeuronAnswer], neurons: int) -> NDArray[np.bool_]:
    """(neurons,) bool: which to keep. +1 for yes, -1 for no, 0 for maybe; relevant where the sum is at least 0.

    Ties and neurons without an answer are kept, as in CRAYON's code. Raises DataError for a neuron out of range.
    """
    votes = np.zeros(neurons, dtype=np.int64)
    for answer in answers:
        if not 0 <= answer.neuron < neurons:
            raise DataError(
                f"An answer is about neuron {answer.neuron}; the layer has the neurons 0 to {neurons - 1}.",
                "The answers belong to another model.",
            )
        votes[answer.neuron] += _VOTES[answer.answer]
    return votes >= 0
