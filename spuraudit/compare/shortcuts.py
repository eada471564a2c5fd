"""What became of every shortcut that either run tested."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spuraudit.compare.paired import bootstrap_key, paired_change
from spuraudit.compare.patches import common_drops, own_drops
from spuraudit.record.comparison import Shortcut
from spuraudit.record.limits import SUSPECT_Q
from spuraudit.record.scan import Measurement
from spuraudit.stats.intervals import mean_interval
from spuraudit.stats.multiple import benjamini_hochberg
from spuraudit.stats.paired import sign_flip

if TYPE_CHECKING:
    from spuraudit.compare.scores import Scorer
    from spuraudit.record.comparison import Interval, State
    from spuraudit.record.scan import Finding, ScanRecord, Scope

#: What a repaired shortcut keeps of its effect at most.
REPAIRED = 1 / 3
#: Certainties are tested in these steps, so that the null distribution can be counted.
_STEP = 1e-3
_EFFECTS = {"feature_drop": "feature_drop_excess", "region_swap": "swap_gap"}
_ORDER: tuple[State, ...] = ("worse", "new", "unchanged", "reduced", "gone", "repaired")
_Key = tuple[str, str, str | None, str]


class _Effects(NamedTuple):
    """Effects with intervals, and what changed on the same images; None where it was not asked."""

    before: float | None
    before_ci: Interval | None
    after: float | None
    after_ci: Interval | None
    change: float | None = None
    ci: Interval | None = None
    p: float | None = None
    n: int = 0


def shortcuts_of(scorer: Scorer, records: tuple[ScanRecord, ScanRecord]) -> list[Shortcut]:
    """One entry per finding of either run that is not about the object itself, worst first."""
    sides = [{_key(finding): finding for finding in record.findings} for record in records]
    keys = sorted({*sides[0], *sides[1]}, key=lambda key: tuple(part or "" for part in key))
    found = []
    for key in keys:
        pair = sides[0].get(key), sides[1].get(key)
        if any(one is not None and one.role == "core" for one in pair):
            continue
        found.append(_shortcut(pair, _effects(scorer, pair)))
    judged = _judged(found)
    return sorted(judged, key=lambda one: (_ORDER.index(one.state), -(one.change or 0.0)))


def _key(finding: Finding) -> _Key:
    return finding.audit, finding.class_name, finding.target_class, finding.feature


def _effects(scorer: Scorer, pair: tuple[Finding | None, Finding | None]) -> _Effects:
    one = pair[0] or pair[1]
    assert one is not None
    if one.audit == "patch_swap":
        return _of_cell(scorer, one)
    known = _said(pair[0]), _said(pair[1])
    if pair[0] is None or pair[1] is None:
        return _Effects(*known[0], *known[1])
    scope: Scope = {"class": one.class_name, "feature": one.feature}
    metric = _EFFECTS[one.audit]
    scores = scorer.of(Measurement(metric=metric, definition="", scope=scope, value=None, n=0))
    assert scores is not None
    whole = [scores.counts[:, scores.chosen].T]
    paired = paired_change(scores, whole, bootstrap_key(scorer.seed, metric, scope))
    assert paired is not None
    change = paired.change
    return _Effects(*known[0], *known[1], change.value, (change.low, change.high), paired.p, paired.n)


def _said(finding: Finding | None) -> tuple[float | None, Interval | None]:
    return (None, None) if finding is None else (finding.effect, finding.effect_ci)


def _of_cell(scorer: Scorer, finding: Finding) -> _Effects:
    """The cell's effect in both runs, whichever of them found it; paired where sources were swept in both."""
    assert finding.cell is not None
    assert finding.target_class is not None
    label, target = (scorer.class_names.index(name) for name in (finding.class_name, finding.target_class))
    where = label, target, finding.cell.number
    scope: Scope = {"class": finding.class_name, "target_class": finding.target_class, "cell": finding.cell.number}
    sides: list[tuple[float | None, Interval | None]] = []
    for side in (0, 1):
        drops = np.array(list(own_drops(scorer.joined, side, *where).values()))
        if not len(drops):
            sides.append((None, None))
            continue
        found = mean_interval([drops], (-1.0, 1.0), bootstrap_key(scorer.seed, f"patch_drop {side}", scope))
        sides.append((found.value, (found.low, found.high)))
    before, after = common_drops(scorer.joined, *where)
    if not before:
        return _Effects(*sides[0], *sides[1])
    steps = np.array([after[image] - before[image] for image in before])
    change = mean_interval([steps], (-2.0, 2.0), bootstrap_key(scorer.seed, "patch_drop", scope))
    p = sign_flip(np.rint(steps / _STEP).astype(np.int64))
    return _Effects(*sides[0], *sides[1], change.value, (change.low, change.high), p, len(steps))


def _shortcut(pair: tuple[Finding | None, Finding | None], effects: _Effects) -> Shortcut:
    one = pair[0] or pair[1]
    assert one is not None
    return Shortcut(
        audit=one.audit,
        class_name=one.class_name,
        target_class=one.target_class,
        feature=one.feature,
        role=one.role,
        cell=one.cell,
        suspected=(pair[0] is not None and pair[0].suspected, pair[1] is not None and pair[1].suspected),
        state="unchanged",
        **effects._asdict(),
    )


def _judged(shortcuts: list[Shortcut]) -> list[Shortcut]:
    """With q over the shortcuts of each audit, and the state that follows."""
    families: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(shortcuts):
        if one.p is not None:
            families[one.audit].append(place)
    found = list(shortcuts)
    for places in families.values():
        q_values = benjamini_hochberg([p for place in places if (p := shortcuts[place].p) is not None])
        for place, q in zip(places, q_values, strict=True):
            found[place] = found[place].model_copy(update={"q": q})
    return [one.model_copy(update={"state": state_of(one)}) for one in found]


def state_of(one: Shortcut) -> State:
    """The first state whose condition holds; see `record.comparison.Shortcut`."""
    was, remains = one.suspected
    if one.change is not None and one.ci is not None:
        if one.change > 0 and one.q is not None and one.q <= SUSPECT_Q:
            return "worse"
        if was and one.ci[1] < 0 and one.before is not None:
            # Sources of a patch swap differ between runs: what fell is what fell on the images of both.
            return "repaired" if -one.change >= (1 - REPAIRED) * one.before else "reduced"
    if was != remains:
        return "new" if remains else "gone"
    return "unchanged"
