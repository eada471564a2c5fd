"""Mean and worst group: how two models treat the groups of a dataset with an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spuraudit.compare.describe import described, direction
from spuraudit.compare.paired import bootstrap_key, paired_change, stratified_sign_flip
from spuraudit.stats.keys import key_of
from spuraudit.stats.lowest import lowest_change

if TYPE_CHECKING:
    from spuraudit.compare.joined import Ints
    from spuraudit.compare.scores import Scorer
    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Measurement, ScanRecord


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
    seeds = [key_of(scorer.seed, "change", "worst group", name) for name in groups.names]
    estimate = lowest_change([one.astype(float) for one in groups.strata], seeds)
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
