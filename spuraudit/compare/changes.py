"""The changes of two runs' measurements."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from spuraudit.compare.describe import described, direction
from spuraudit.compare.groups import group_changes
from spuraudit.compare.paired import bootstrap_key, paired_change
from spuraudit.compare.scores import METRICS
from spuraudit.errors import RunError
from spuraudit.record.directions import GOOD_LOW, NEITHER
from spuraudit.stats.intervals import BETA_DRAWS, RESAMPLES, bootstrap_means, jeffreys_pairs, percentile, without_spread
from spuraudit.stats.multiple import benjamini_hochberg
from spuraudit.stats.rcs import rcs_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.compare.scores import Scorer
    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Measurement, ScanRecord

_ROUNDING = 1e-9


def changes_of(scorer: Scorer, records: tuple[ScanRecord, ScanRecord], folders: tuple[Path, Path]) -> list[Change]:
    """Changes of all measurements that both runs hold, in the record's order, and of the mean and worst group."""
    after = {(m.metric, frozenset(m.scope.items())): m for m in records[1].measurements}
    core = {feature.name for feature in records[0].data.features if feature.role == "core"}
    found = []
    for one in records[0].measurements:
        other = after.get((one.metric, frozenset(one.scope.items())))
        if other is None:
            continue
        change = _rcs(scorer, one, other) if one.metric == "rcs" else _change(scorer, one, other, core, folders)
        found += [] if change is None else [change]
    found += group_changes(scorer, records)
    return _with_q(found)


def _change(
    scorer: Scorer, one: Measurement, other: Measurement, core: set[str], folders: tuple[Path, Path]
) -> Change | None:
    scores = scorer.of(one)
    if scores is None or one.value is None or other.value is None:
        return _undefined(one, other) if one.metric in METRICS and "donor_class" not in one.scope else None
    whole = [scores.counts[:, scores.chosen].T]
    strata = whole if "class" in one.scope or "group" in one.scope else scores.strata(scorer.joined.labels)
    paired = paired_change(scores, strata, bootstrap_key(scorer.seed, one.metric, one.scope))
    if paired is None:
        return None
    for said, counted, folder in ((one, paired.before, folders[0]), (other, paired.after, folders[1])):
        if said.value is None or abs(said.value - counted) > _ROUNDING:
            raise RunError(
                f"{folder}: the observations give {said.metric} {counted:.6f}, the record says {said.value} for "
                f"{said.scope or 'all images'}.",
                "Scan again with this version of spuraudit.",
            )
    judged = one.metric not in NEITHER and one.scope.get("feature") not in core
    good_low = one.metric in GOOD_LOW
    return described(one, other, paired.change, p=paired.p, direction=direction(paired.change, good_low, judged))


def _undefined(one: Measurement, other: Measurement) -> Change:
    missing, when = (one, "before") if one.value is None else (other, "after")
    return described(one, other, None, reason=f"{when}: {missing.reason or 'undefined'}")


def _rcs(scorer: Scorer, one: Measurement, other: Measurement) -> Change | None:
    """RCS of the class means is no mean over images: both accuracies of both models are resampled together."""
    if one.value is None or other.value is None:
        return _undefined(one, other)
    name, sigma = one.scope.get("class"), one.scope["sigma"]
    core, spurious = (scorer.noised(metric, sigma, name) for metric in ("core_accuracy", "spurious_accuracy"))
    strata = [
        np.concatenate(pair, axis=1) / core.parts
        for pair in zip(core.strata(scorer.joined.labels), spurious.strata(scorer.joined.labels), strict=True)
    ]
    key = bootstrap_key(scorer.seed, "rcs", one.scope)
    if without_spread(strata):
        draws, method = jeffreys_pairs(strata, key), BETA_DRAWS
    else:
        by_class = ", by class" if len(strata) > 1 else ""
        draws, method = bootstrap_means(strata, key), f"bootstrap over images{by_class} ({RESAMPLES})"
    # Columns: core before and after, spurious before and after.
    replicates = rcs_values(draws[:, 1], draws[:, 3]) - rcs_values(draws[:, 0], draws[:, 2])
    estimate = percentile(replicates, other.value - one.value, method)
    return described(one, other, estimate, direction=direction(estimate, good_low=False))


def _with_q(changes: Sequence[Change]) -> list[Change]:
    """q over all changes of a metric that have a p."""
    families: dict[str, list[int]] = defaultdict(list)
    for place, change in enumerate(changes):
        if change.p is not None:
            families[change.metric].append(place)
    found = list(changes)
    for places in families.values():
        q_values = benjamini_hochberg([p for place in places if (p := changes[place].p) is not None])
        for place, q in zip(places, q_values, strict=True):
            found[place] = found[place].model_copy(update={"q": q})
    return found
