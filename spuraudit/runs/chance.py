"""Before the long run: does the model know these classes at all?

A wrong class order, wrong preprocessing or an untrained head loads without an error; every number after that is about
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spuraudit.errors import NotEvaluatedError
from spuraudit.stats.intervals import mean_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.model import Model
    from spuraudit.record.scan import Notice

#: Images of the probe: enough to tell from chance, a few seconds of work.
PROBE_IMAGES = 128
_SHOWN = 3


class ChanceCheck(NamedTuple):
    """Class-averaged clean accuracy with its 95 % interval, against always giving one answer."""

    accuracy: float
    low: float
    high: float
    chance: float
    n: int

    @property
    def near_chance(self) -> bool:
        """Whether the accuracy cannot be told from chance."""
        return self.low <= self.chance


def chance_check(correct: NDArray[np.bool_], labels: NDArray[np.int64], class_map: ClassMap) -> ChanceCheck:
    """Clean answers of some images against chance; every class among them weighs the same.

    Chance: always answering one of the classes that are there. With a single class that proves nothing, and a random
    answer among all outputs is the bar.
    """
    present = np.unique(labels)
    estimate = mean_accuracy([correct[labels == label].astype(float) for label in present])
    random = 1 / (class_map.num_outputs if class_map.answers == "all" else sum(map(len, class_map.outputs)))
    chance = 1 / len(present) if len(present) > 1 else random
    return ChanceCheck(estimate.value, estimate.low, estimate.high, chance, len(correct))


def refuse_near_chance(
    check: ChanceCheck, model: Model, class_map: ClassMap, names: Sequence[str], better: Notice | None = None
) -> None:
    """Raise NotEvaluatedError where the model is near chance, naming what usually is wrong.

    better: a preprocessing that does far better.
    """
    if not check.near_chance:
        return
    preprocess = model.record.preprocess
    none_given = "" if class_map.head == "softmax" else "an image without any label counts as wrong; "
    first = ", ".join(
        f"{name} = output {'/'.join(map(str, outputs))}"
        for name, outputs in list(zip(names, class_map.outputs, strict=True))[:_SHOWN]
    )
    more = ", ..." if len(names) > _SHOWN else ""
    raise NotEvaluatedError(
        f"Clean accuracy is near chance: {check.accuracy:.1%} on {check.n} images (95 % interval {check.low:.1%} to "
        f"{check.high:.1%}; {none_given}always giving one answer scores {check.chance:.1%}). Nothing that is measured "
        "on such a model means anything.",
        f"{f'{better.text} ' if better else ''}Check the class order ({first}{more}), the preprocessing (mean "
        f"{_short(preprocess.mean)}, std "
        f"{_short(preprocess.std)}, {preprocess.geometry.interpolation}, crop {preprocess.geometry.crop_pct:g}) and "
        "--model-kwargs; with few images raise --limit. To scan all the same: --allow-chance.",
    )


def _short(values: Sequence[float]) -> str:
    return "/".join(f"{value:g}" for value in values)
