"""What a measurement is made of, per image and for both runs: whole numbers that a paired test can count with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spuraudit.record.limits import BLANK_SHARE, ENERGY_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from spuraudit.compare.joined import Block, Floats, Ints, Joined
    from spuraudit.record.scan import Measurement, ScanRecord

    Params = dict[str, str | int | float | bool | list[float] | list[str] | None]

_NOISED = {"core_accuracy": "spurious", "spurious_accuracy": "core"}
"""Metric to the region that is noised."""
_SWAPS = {"swap_same_accuracy", "swap_other_accuracy", "swap_gap", "swap_pull"}
_DROPS = {"feature_drop", "control_drop", "feature_drop_excess"}
#: Scores of so many metrics and features are kept.
_KEPT = 16
METRICS = frozenset({"clean_accuracy", *_NOISED, *_SWAPS, *_DROPS})


@dataclass(frozen=True)
class Scores:
    """`counts` (2, images) divided by `parts` are the values before and after; `chosen` (images,) those that count.

    `reach`: the largest difference between two values.
    """

    chosen: NDArray[np.bool_]
    counts: Ints
    parts: int
    reach: float

    def strata(self, labels: Ints) -> list[Ints]:
        """Per class with chosen images: their counts (n, 2), in the order of their ids."""
        return [self.counts[:, self.chosen & (labels == label)].T for label in np.unique(labels[self.chosen])]


@dataclass(frozen=True)
class _Arms:
    """One feature's region swap: right answers (2, images), the raw rows, and which images count."""

    chosen: NDArray[np.bool_]
    same: Ints
    other: Ints
    same_rows: Block
    other_rows: Block


class Scorer:
    """Scores of the measurements of two joined runs."""

    def __init__(self, joined: Joined, records: tuple[ScanRecord, ScanRecord]) -> None:
        self.joined = joined
        self.seed = records[0].run.seed
        self.class_names = [c.name for c in records[0].data.classes]
        self._params: dict[str, Params] = {
            audit.name: audit.params for audit in records[0].audits if audit.status == "run"
        }
        self._recent: OrderedDict[tuple[object, ...], Scores] = OrderedDict()
        self._arms_of: dict[str, _Arms] = {}
        names = {name: place for place, name in enumerate(sorted({name for name in joined.groups if name}))}
        self._group_names = names
        self._groups = np.array([names.get(name or "", -1) for name in joined.groups], dtype=np.int64)

    def _trials(self, audit: str) -> int:
        trials = self._params[audit]["trials"]
        assert isinstance(trials, int)
        return trials

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """(images,) those of the noise audit, whose masks are not blank; without that audit all."""
        params = self._params.get("noise")
        if params is None:
            return np.ones(len(self.joined.images), dtype=bool)
        sigmas = params["sigma"]
        assert isinstance(sigmas, list)
        regions = ("core",) if params["spurious_region"] == "complement" else ("core", "spurious")
        counted = np.ones(len(self.joined.images), dtype=bool)
        for region in regions:
            counted &= self._not_blank(self.joined.block(f"noise.{region}@{sigmas[0]}"))
        return counted

    def _not_blank(self, block: Block) -> NDArray[np.bool_]:
        """(images,) asked under the condition, and its region can be seen."""
        seen = np.zeros(len(self.joined.images), dtype=bool)
        seen[block.image] = True
        seen[block.image[block.region_share < BLANK_SHARE]] = False
        return seen

    def of(self, measurement: Measurement) -> Scores | None:
        """The scores behind a measurement, None for a metric or scope that is not compared."""
        metric, scope = measurement.metric, measurement.scope
        if "donor_class" in scope or metric not in METRICS:
            return None
        if metric == "clean_accuracy":
            found = self.clean()
        elif metric in _NOISED:
            found = self.noised(metric, scope["sigma"])
        elif metric in _SWAPS:
            found = self._kept((metric, scope["feature"]), lambda: self._swapped(metric, str(scope["feature"])))
        else:
            found = self._kept((metric, scope["feature"]), lambda: self._dropped(metric, str(scope["feature"])))
        return self._within(found, scope.get("class"), scope.get("group"))

    def _within(self, scores: Scores, name: object, group: object) -> Scores:
        chosen = scores.chosen
        if name is not None:
            chosen = chosen & (self.joined.labels == self.class_names.index(str(name)))
        if group is not None:
            chosen = chosen & self.in_group(str(group))
        return Scores(chosen, scores.counts, scores.parts, scores.reach)

    def in_group(self, group: str) -> NDArray[np.bool_]:
        """(images,)"""
        chosen: NDArray[np.bool_] = self._groups == self._group_names[group]
        return chosen

    def clean(self) -> Scores:
        """Unperturbed answers."""
        return Scores(self.counted, self.joined.clean.astype(np.int64), 1, 1.0)

    def noised(self, metric: str, sigma: object, name: object = None) -> Scores:
        """Core or spurious accuracy at a sigma, of all classes or of one."""

        def scored() -> Scores:
            right = self.joined.right(self.joined.block(f"noise.{_NOISED[metric]}@{sigma}"))
            return Scores(self.counted, right, self._trials("noise"), 1.0)

        return self._within(self._kept((metric, sigma), scored), name, None)

    def _kept(self, key: tuple[object, ...], make: Callable[[], Scores]) -> Scores:
        """Measurements of many classes share the scores of all images; those of many features do not fit in memory."""
        if key not in self._recent:
            self._recent[key] = make()
        self._recent.move_to_end(key)
        if len(self._recent) > _KEPT:
            self._recent.popitem(last=False)
        return self._recent[key]

    def _arms(self, feature: str) -> _Arms:
        if feature not in self._arms_of:
            same, other = (self.joined.block(f"swap.{arm}:{feature}") for arm in ("same", "other"))
            self._arms_of.clear()
            chosen = np.zeros(len(self.joined.images), dtype=bool)
            # As in the audit: nothing swapped, or nothing kept, is no swap.
            chosen[other.image] = (other.region_share >= BLANK_SHARE) & (other.region_share <= 1 - BLANK_SHARE)
            self._arms_of[feature] = _Arms(chosen, self.joined.right(same), self.joined.right(other), same, other)
        return self._arms_of[feature]

    def _swapped(self, metric: str, feature: str) -> Scores:
        arms, trials = self._arms(feature), self._trials("region_swap")
        if metric == "swap_pull":
            return Scores(arms.chosen, self._pull(arms, trials), trials * trials, 2.0)
        if metric == "swap_gap":
            return Scores(arms.chosen, arms.same - arms.other, trials, 2.0)
        return Scores(arms.chosen, arms.same if metric == "swap_same_accuracy" else arms.other, trials, 1.0)

    def _pull(self, arms: _Arms, trials: int) -> Ints:
        """(2, images) times trials squared: answered with the other donor's class, minus that share under same ones."""
        same, other, classes = arms.same_rows, arms.other_rows, len(self.class_names)
        followed = trials * self.joined.sums(other, other.predicted == other.donor_label)
        for side in (0, 1):
            known = same.predicted[side] >= 0
            answered = np.bincount(
                same.image[known] * classes + same.predicted[side][known], minlength=len(self.joined.images) * classes
            )
            usual = answered[other.image * classes + other.donor_label]
            followed[side] -= np.bincount(other.image, weights=usual, minlength=len(self.joined.images)).astype(int)
        return followed

    def _dropped(self, metric: str, feature: str) -> Scores:
        params, trials = self._params["feature_drop"], self._trials("feature_drop")
        noised, control = (self.joined.block(f"{kind}:{feature}@{params['sigma']}") for kind in ("feature", "control"))
        seen = self._not_blank(noised)
        right, beside = self.joined.right(noised), self.joined.right(control)
        clean = trials * self.joined.clean
        if metric == "feature_drop":
            return Scores(seen, clean - right, trials, 2.0)
        matched = seen & self._matched(noised, control)
        counts = beside - right if metric == "feature_drop_excess" else clean - beside
        return Scores(matched, counts, trials, 2.0)

    def _matched(self, noised: Block, control: Block) -> NDArray[np.bool_]:
        """(images,) whose control noise had the feature's energy."""
        wanted, reached = (self._energy(block) for block in (noised, control))
        matched: NDArray[np.bool_] = np.abs(reached - wanted) <= ENERGY_TOLERANCE * wanted
        return matched

    def _energy(self, block: Block) -> Floats:
        return np.bincount(block.image, weights=block.energy, minlength=len(self.joined.images)).astype(np.float64)
