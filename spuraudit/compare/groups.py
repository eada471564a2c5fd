"""Mean and worst group: how two models treat the groups of a dataset with an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spuraudit.compare.describe import described, direction
from spuraudit.compare.paired import bootstrap_key, paired_change, stratified_sign_flip
from spuraudit.stats.intervals import RESAMPLES, Estimate, bootstrap_means, mean_interval, percentile
from spuraudit.stats.keys import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.compare.joined import Floats, Ints
    from spuraudit.compare.scores import Scorer
    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Measurement, ScanRecord

_ROUNDING = 1e-12


class _Groups(NamedTuple):
    """Names, and per group right answers (n, 2) before and after."""

    names: list[str]
    strata: list[Ints]


def group_changes(scorer: Scorer, records: tuple[ScanRecord, ScanRecord]) -> list[Change]:
    """Changes of mean_group_accuracy and worst_group_accuracy; nothing for a dataset without groups."""
    mean, worst = (_said(records, metric) for metric in ("mean_group_accuracy", "worst_group_accuracy"))
    clean = scorer.clean()
    names = sorted({name for name in scorer.joined.groups if name})
    members = {name: chosen for name in names if (chosen := clean.chosen & scorer.in_group(name)).any()}
    groups = _Groups(list(members), [clean.counts[:, chosen].T for chosen in members.values()])
    found = [] if mean is None else [_mean_group(scorer, groups, mean)]
    return found if worst is None else [*found, _worst_group(scorer, groups, worst)]


def _said(records: tuple[ScanRecord, ScanRecord], metric: str) -> tuple[Measurement, Measurement] | None:
    one, other = (next((m for m in record.measurements if m.metric == metric), None) for record in records)
    return None if one is None or other is None else (one, other)


def _mean_group(scorer: Scorer, groups: _Groups, said: tuple[Measurement, Measurement]) -> Change:
    """Every group counts the same."""
    paired = paired_change(scorer.clean(), groups.strata, bootstrap_key(scorer.seed, "mean_group_accuracy", {}))
    assert paired is not None
    return described(*said, paired.change, p=paired.p, direction=direction(paired.change, good_low=False))


def _worst_group(scorer: Scorer, groups: _Groups, said: tuple[Measurement, Measurement]) -> Change:
    """The lowest group of each run; p only where it is the same one, since other groups are other images."""
    means = np.stack([one.mean(axis=0) for one in groups.strata])
    places = [int(means[:, side].argmin()) for side in (0, 1)]
    if means[places[0], 1] == means[places[1], 1]:
        places[1] = places[0]  # of groups that are equally low, the one that was
    estimate = worst_change(groups.strata, scorer.seed, groups.names)
    same = places[0] == places[1]
    pair = groups.strata[places[0]]
    change = described(
        said[0],
        said[1],
        estimate,
        p=stratified_sign_flip([pair[:, 1] - pair[:, 0]]) if same else None,
        direction=direction(estimate, good_low=False),
    )
    return change.model_copy(update={"worst": (groups.names[places[0]], groups.names[places[1]]), "scope": {}})


def worst_change(strata: Sequence[Ints], seed: int, names: Sequence[str]) -> Estimate:
    """Lowest group mean after, minus the lowest before. Per group right answers (n, 2).

    In every replicate the images of each group are resampled together for both runs, and each run's lowest group is
    looked for anew: which one is the worst is part of what is not certain.
    """
    replicates = [
        bootstrap_means([one.astype(float)], key_of(seed, "change", "worst group", name))
        for name, one in zip(names, strata, strict=True)
    ]
    lowest: Floats = np.min(np.stack(replicates), axis=0)
    means = np.stack([one.mean(axis=0) for one in strata])
    value = float(means[:, 1].min() - means[:, 0].min())
    changes = lowest[:, 1] - lowest[:, 0]
    if np.ptp(changes) <= _ROUNDING:
        smallest = min(len(strata[int(means[:, side].argmin())]) for side in (0, 1))
        return mean_interval([np.full(smallest, value)], (-1.0, 1.0), seed)
    return percentile(changes, value, f"bootstrap over images, by group ({RESAMPLES})")
