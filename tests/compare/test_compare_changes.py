"""Paired changes of really scanned models against a literal restatement."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import toy_fix
import toys
from oracles import audits as one_run
from oracles import compare as oracle

from spuraudit.compare import compare_runs
from spuraudit.compare.paired import stratified_sign_flip
from spuraudit.record.folder import read_record

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change, Comparison

SETTINGS: dict[str, Any] = {**toy_fix.SETTINGS, "sigmas": (0.25, 0.5), "trials": 3}
Pair = tuple[toys.Scanned, toys.Scanned]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two models that noise disturbs, on classes of unequal size."""
    root = tmp_path_factory.mktemp("pair")
    data = toys.draw(root / "data", toys.Toy(test=11, train=6, tag=True, odd_every=3))
    rows = toys.read_list(data)
    dropped = {f"red/test-00{number}" for number in (5, 6, 7)}
    toys.write_list(data, [row for row in rows if row[4] not in dropped])
    nets = [
        toy_fix.Linear({"object": 1.0, "frame": 1.1}, disturbance=0.12),
        toy_fix.Linear({"object": 1.0, "frame": 0.6, "tag": 0.6}, disturbance=0.12),
    ]
    before, after = (toys.scan(net, data, root / f"run{i}", **SETTINGS) for i, net in enumerate(nets))
    return before, after


@pytest.fixture(scope="module")
def compared(pair: Pair) -> Comparison:
    return compare_runs(pair[0].folder, pair[1].folder)


def found(compared: Comparison, metric: str, **scope: str | float) -> Change:
    change = compared.of(metric, {key.rstrip("_"): value for key, value in scope.items()})
    assert change is not None
    return change


CONDITIONS = {
    "clean_accuracy": ("clean", {}),
    "core_accuracy": ("noise.spurious@0.25", {"sigma": 0.25}),
    "spurious_accuracy": ("noise.core@0.5", {"sigma": 0.5}),
    "swap_same_accuracy": ("swap.same:background", {"feature": "background"}),
    "swap_other_accuracy": ("swap.other:tag", {"feature": "tag"}),
}


@pytest.mark.parametrize("metric", CONDITIONS)
def test_changes_of_accuracies_are_those_of_a_loop_over_both_runs(
    pair: Pair, compared: Comparison, metric: str
) -> None:
    condition, scope = CONDITIONS[metric]
    scores = oracle.paired_scores(pair[0].rows, pair[1].rows, condition)
    of = oracle.labels(pair[0].rows)
    change = found(compared, metric, **scope)
    assert change.before == pytest.approx(oracle.class_mean({i: s[0] for i, s in scores.items()}, of))
    assert change.after == pytest.approx(oracle.class_mean({i: s[1] for i, s in scores.items()}, of))
    assert change.change == pytest.approx(oracle.class_mean(oracle.steps(scores), of))
    assert change.n == len(scores)
    for name, label in (("red", 0), ("blue", 2)):
        of_class = {i: s for i, s in oracle.steps(scores).items() if of[i] == label}
        one = found(compared, metric, **scope, class_=name)
        assert one.change == pytest.approx(oracle.mean(list(of_class.values())))
        assert one.n == len(of_class)


def test_intervals_are_those_of_a_literal_bootstrap(pair: Pair, compared: Comparison) -> None:
    scores = oracle.paired_scores(pair[0].rows, pair[1].rows, "swap.other:background")
    of = oracle.labels(pair[0].rows)
    change = found(compared, "swap_other_accuracy", feature="background")
    expected = oracle.interval(oracle.steps(scores), of, 4000, 1)
    assert change.ci == pytest.approx(expected, abs=0.025)
    assert change.ci is not None
    assert change.ci[1] - change.ci[0] > 0.05


def test_p_is_that_of_all_sign_choices(pair: Pair, compared: Comparison) -> None:
    checked = 0
    for feature, name in itertools.product(("background", "tag"), ("red", "green", "blue")):
        of = {i: label for i, label in oracle.labels(pair[0].rows).items() if toys.NAMES[label] == name}
        scores = oracle.paired_scores(pair[0].rows, pair[1].rows, f"swap.other:{feature}")
        own = {i: s for i, s in oracle.steps(scores).items() if i in of}
        change = found(compared, "swap_other_accuracy", feature=feature, class_=name)
        assert change.p == pytest.approx(oracle.sign_flip(own, of))
        checked += change.p != 1.0 if change.p is not None else 0
    assert checked >= 3


def test_p_over_classes_weighs_images_as_the_change_does() -> None:
    rng = np.random.default_rng(3)
    strata = [rng.integers(-2, 3, size=n) for n in (4, 8)]
    values = {f"{k}-{i}": float(v) for k, one in enumerate(strata) for i, v in enumerate(one)}
    of = {name: int(name[0]) for name in values}
    assert stratified_sign_flip(strata) == pytest.approx(oracle.sign_flip(values, of))


def test_gap_and_pull(pair: Pair, compared: Comparison) -> None:
    of = oracle.labels(pair[0].rows)
    for feature in ("background", "tag"):
        arms = [oracle.paired_scores(pair[0].rows, pair[1].rows, f"swap.{arm}:{feature}") for arm in ("same", "other")]
        gaps = {i: (s[1] - s[0]) - (arms[1][i][1] - arms[1][i][0]) for i, s in arms[0].items()}
        assert found(compared, "swap_gap", feature=feature).change == pytest.approx(oracle.class_mean(gaps, of))
        pulls = [oracle.pull(side.rows, feature) for side in pair]
        change = {i: pulls[1][i] - pulls[0][i] for i in pulls[0]}
        assert found(compared, "swap_pull", feature=feature).change == pytest.approx(oracle.class_mean(change, of))


def test_feature_drop_against_its_control(pair: Pair, compared: Comparison) -> None:
    for label, name in enumerate(("red", "green", "blue")):
        sides = [one_run.feature_drop(side.rows, label, "tag", "0.25") for side in pair]
        for place, metric in enumerate(("feature_drop", "control_drop", "feature_drop_excess")):
            change = found(compared, metric, class_=name, feature="tag")
            assert change.change == pytest.approx(sides[1][place] - sides[0][place])


def test_rcs_is_resampled_as_a_whole(pair: Pair, compared: Comparison) -> None:
    of = oracle.labels(pair[0].rows)
    core, spurious = (
        oracle.paired_scores(pair[0].rows, pair[1].rows, f"noise.{region}@0.25") for region in ("spurious", "core")
    )
    means = [
        [oracle.class_mean({i: s[side] for i, s in scores.items()}, of) for scores in (core, spurious)]
        for side in (0, 1)
    ]
    assert all(0 < value < 1 for side in means for value in side)
    change = found(compared, "rcs", sigma=0.25)
    assert change.change == pytest.approx(one_run.rcs(*means[1]) - one_run.rcs(*means[0]))
    assert change.p is None
    assert change.ci is not None
    rng = np.random.default_rng(0)
    members = {k: [i for i in sorted(core) if of[i] == k] for k in set(of.values())}
    replicates = []
    for _ in range(3000):
        drawn = {k: rng.choice(names, len(names) - 1) for k, names in members.items()}
        values = [
            [np.mean([np.mean([s[i][side] for i in names]) for names in drawn.values()]) for s in (core, spurious)]
            for side in (0, 1)
        ]
        replicates.append(one_run.rcs(*values[1]) - one_run.rcs(*values[0]))
    assert change.ci == pytest.approx(np.quantile(replicates, [0.025, 0.975]), abs=0.04)


def test_groups(pair: Pair, compared: Comparison) -> None:
    scores = oracle.paired_scores(pair[0].rows, pair[1].rows, "clean")
    group = {row["image"]: row["group"] for row in pair[0].rows}
    groups: dict[str, list[tuple[float, float]]] = {}
    for image, pair_of in scores.items():
        groups.setdefault(group[image], []).append(pair_of)
    for name, pairs in groups.items():
        change = found(compared, "clean_accuracy", group=name)
        assert change.change == pytest.approx(oracle.mean([b - a for a, b in pairs]))
    mean_group = found(compared, "mean_group_accuracy")
    for side, value in enumerate((mean_group.before, mean_group.after)):
        assert value == pytest.approx(oracle.mean([oracle.mean([p[side] for p in g]) for g in groups.values()]))
    worst = found(compared, "worst_group_accuracy")
    lowest = [oracle.worst(groups, side)[1] for side in (0, 1)]
    assert (worst.before, worst.after) == (pytest.approx(lowest[0]), pytest.approx(lowest[1]))
    assert worst.change == pytest.approx(lowest[1] - lowest[0])
    assert worst.worst is not None
    for side in (0, 1):
        assert oracle.mean([p[side] for p in groups[worst.worst[side]]]) == pytest.approx(lowest[side])


def test_before_and_after_are_the_numbers_of_the_records(pair: Pair, compared: Comparison) -> None:
    sides = [
        {(m.metric, frozenset(m.scope.items())): (m.value, m.ci) for m in read_record(one.folder).measurements}
        for one in pair
    ]
    assert len(compared.changes) > 80
    for change in compared.changes:
        key = change.metric, frozenset(change.scope.items())
        assert (change.before, change.before_ci) == sides[0][key]
        assert (change.after, change.after_ci) == sides[1][key]


def test_q_is_within_a_metric(compared: Comparison) -> None:
    for metric in ("swap_gap", "clean_accuracy", "feature_drop_excess"):
        family = [change for change in compared.changes if change.metric == metric]
        expected = oracle.q_values([change.p for change in family if change.p is not None])
        assert [change.q for change in family] == pytest.approx(expected)


def test_swapped_inputs_turn_every_sign(pair: Pair, compared: Comparison) -> None:
    """A comparison that compared a run with itself would not."""
    back = compare_runs(pair[1].folder, pair[0].folder)
    turned = {"better": "worse", "worse": "better", "unclear": "unclear", None: None}
    moved = 0
    for change in compared.changes:
        other = back.of(change.metric, change.scope)
        assert other is not None
        if change.change is None:
            assert other.change is None
            continue
        assert other.change == pytest.approx(-change.change)
        if change.metric != "rcs":
            assert other.direction == turned[change.direction]
        moved += change.change != 0
    assert moved > 20


def test_a_run_against_itself_changes_nothing(pair: Pair) -> None:
    same = compare_runs(pair[0].folder, pair[0].folder)
    assert same.changes
    assert all(change.change in (0.0, None) for change in same.changes)
    assert {change.direction for change in same.changes} <= {"unclear", None}
    assert {one.state for one in same.shortcuts} == {"unchanged"}


@pytest.mark.parametrize(
    ("metric", "scope", "judged"),
    [
        ("swap_gap", {"feature": "tag"}, True),
        ("spurious_accuracy", {"sigma": 0.25}, False),
        ("feature_drop", {"class": "red", "feature": "object"}, False),
        ("control_drop", {"class": "red", "feature": "tag"}, False),
    ],
)
def test_what_is_good_neither_high_nor_low_has_no_direction(
    compared: Comparison, metric: str, scope: dict[str, Any], judged: bool
) -> None:
    change = compared.of(metric, scope)
    assert change is not None
    assert (change.direction is not None) is judged
