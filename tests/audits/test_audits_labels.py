"""Labels of sigmoid heads: networks of known answers, and the figures against plain loops over the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import toys
from oracles import labels as oracle
from scipy.stats import binomtest
from torch import nn

from spuraudit.audits.labels import _drop, label_summary
from spuraudit.audits.noise import NoiseAudit
from spuraudit.audits.rows import Rows
from spuraudit.data import open_dataset
from spuraudit.record.observations import read_parts, to_table
from spuraudit.record.settings import ScanSettings
from spuraudit.record.units import unit_of
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, Scan, prepare_scan
from spuraudit.stats.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from spuraudit.record.scan import Measurement

NOISED = {"core_": "noise.spurious@0.25", "spurious_": "noise.core@0.25"}


class Labels(nn.Module):
    """Every class a label of its own: `given` turns another network's answers (B, classes) into logits."""

    def __init__(self, network: nn.Module, given: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.given = given

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        return self.given(self.network(x))


def knows() -> nn.Module:
    """Gives the label of the object's colour, and none where it recognises no colour."""
    return Labels(toys.Reader(toys.OBJECT), lambda logits: logits[:, :-1] - 4)


class Answered(NamedTuple):
    """A finished run of a sigmoid head."""

    scan: Scan
    rows: list[dict[str, Any]]
    found: list[Measurement]

    def measured(self, metric: str, **scope: str | float) -> Measurement:
        wanted = {key.rstrip("_"): value for key, value in scope.items()}
        (one,) = [m for m in self.found if m.metric == metric and m.scope == wanted]
        return one

    def value(self, metric: str, **scope: str | float) -> float | None:
        return self.measured(metric, **scope).value


def answer(network: nn.Module, data: Path, run: Path, batch: int = 32, **settings: Any) -> Answered:
    model = toys.as_model(network)
    model = replace(model, record=model.record.model_copy(update={"head": "sigmoid"}))
    wanted = ScanSettings(**{"audits": ("noise",), "allow_chance": True, **settings})
    scan = prepare_scan(model, open_dataset(str(data)), wanted, Machine(batch, 1))
    scan = replace(scan, class_map=replace(scan.class_map, head="sigmoid"))
    record = execute(scan, run)
    table = read_parts([run / part.file for part in record.observations])
    noise = scan.audits.get("noise")
    assert noise is None or isinstance(noise, NoiseAudit)
    summary = label_summary(Rows(table, scan.cohort.rows), scan.cohort, noise)
    assert summary is not None
    assert set(summary.definitions) == {m.definition for m in summary.measurements}
    return Answered(scan, table.to_pylist(), summary.measurements)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object and frame both say the class."""
    return toys.draw(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes of 12, 8 and 4 images, one image of each without mask."""
    folder = toys.draw(tmp_path_factory.mktemp("uneven"), toys.Toy(odd_every=4, unmasked=1))
    kept = {"red": 12, "green": 8, "blue": 4}
    rows = toys.read_list(folder)
    toys.write_list(folder, [row for row in rows if row[2] == "train" or int(row[4][-3:]) < kept[row[1]]])
    return folder


@pytest.fixture(scope="module")
def mixed(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """A network that gives labels now and then."""
    network = Labels(toys.Mixture(disturbance=0.2), lambda logits: 4 * logits - 0.2)
    return answer(network, uneven, tmp_path_factory.mktemp("run"), trials=3)


def test_who_says_yes_to_everything_recalls_all_and_always_alarms(plain: Path, tmp_path: Path) -> None:
    done = answer(Labels(toys.Constant(), lambda logits: logits), plain, tmp_path)
    for prefix, scope in [("", {}), ("core_", {"sigma": 0.25}), ("spurious_", {"sigma": 0.25})]:
        for name in toys.NAMES[:3]:
            assert done.value(f"{prefix}label_recall", class_=name, **scope) == 1
            assert done.value(f"{prefix}label_false_alarm", class_=name, **scope) == 1
        assert done.value(f"{prefix}mean_label_recall", **scope) == 1
        assert done.value(f"{prefix}mean_label_false_alarm", **scope) == 1
    # Its strongest answer is always the same, so it is right for one class in three.
    assert {row["predicted"] for row in done.rows} == {0}
    drop = done.measured("core_mean_label_false_alarm_drop", sigma=0.25)
    assert drop.value == 0
    assert drop.ci is not None
    assert drop.ci[0] < 0 < drop.ci[1]


def test_definitions_say_what_a_number_depends_on(mixed: Answered) -> None:
    alone, mean = (
        mixed.measured(f"core_{metric}", **scope).definition
        for metric, scope in [("label_recall", {"class": "red", "sigma": 0.25}), ("mean_label_recall", {"sigma": 0.25})]
    )
    assert alone.startswith("labels;given=p>=0.5;noise/corm-2022;sigma=0.25;")
    assert "trials=3;mean=image;" in alone
    assert "trials=3;mean=label;" in mean
    clean = mixed.measured("label_recall", class_="red").definition
    assert clean.startswith("labels;given=p>=0.5;clean;images=with core masks;mean=image;answers=all;")
    assert mixed.measured("core_label_recall_drop", class_="red", sigma=0.25).definition == alone


def test_batches_change_nothing(mixed: Answered, uneven: Path, tmp_path: Path) -> None:
    network = Labels(toys.Mixture(disturbance=0.2), lambda logits: 4 * logits - 0.2)
    again = answer(network, uneven, tmp_path, batch=5, trials=3)
    assert [row["given"] for row in again.rows] == [row["given"] for row in mixed.rows]
    assert again.found == mixed.found


def test_who_knows_every_object_never_alarms(plain: Path, tmp_path: Path) -> None:
    done = answer(knows(), plain, tmp_path)
    for name in toys.NAMES[:3]:
        assert done.value("label_recall", class_=name) == 1
        assert done.value("label_false_alarm", class_=name) == 0
        assert done.value("core_label_recall", class_=name, sigma=0.25) == 1
        assert done.value("spurious_label_recall", class_=name, sigma=0.25) == 0
        assert done.value("spurious_label_recall_drop", class_=name, sigma=0.25) == 1
        assert done.value("spurious_label_false_alarm", class_=name, sigma=0.25) == 0
    assert done.value("mean_label_recall") == 1
    assert done.value("mean_label_false_alarm") == 0
    assert done.value("spurious_mean_label_recall_drop", sigma=0.25) == 1
    assert all(row["given"] == [row["label"]] for row in done.rows if row["condition"] == "clean")
    assert all(
        row["given"] == [] and row["predicted"] == -1 for row in done.rows if row["condition"] == "noise.core@0.25"
    )


def test_figures_equal_plain_loops(mixed: Answered) -> None:
    rows = mixed.rows
    counted = {row["image"] for row in rows if row["condition"] == "noise.core@0.25"}
    assert len(counted) == 24 - 3
    values = []
    for prefix, condition in {"": "clean", **NOISED}.items():
        scope = {"sigma": 0.25} if prefix else {}
        for label, name in enumerate(toys.NAMES[:3]):
            recall = mixed.measured(f"{prefix}label_recall", class_=name, **scope)
            alarm = mixed.measured(f"{prefix}label_false_alarm", class_=name, **scope)
            values += [recall.value, alarm.value]
            assert recall.value == pytest.approx(oracle.recall(rows, condition, label, counted))
            assert alarm.value == pytest.approx(oracle.false_alarm(rows, condition, label, counted))
            assert recall.n + alarm.n == len(counted)
        mean_recall = mixed.value(f"{prefix}mean_label_recall", **scope)
        mean_alarm = mixed.value(f"{prefix}mean_label_false_alarm", **scope)
        assert mean_recall == pytest.approx(oracle.mean_recall(rows, condition, 3, counted))
        assert mean_alarm == pytest.approx(oracle.mean_false_alarm(rows, condition, 3, counted))
    assert len({value for value in values if value is not None and 0 < value < 1}) > 5


def test_drops_are_clean_minus_noised(mixed: Answered) -> None:
    moved = 0
    for prefix in NOISED:
        for metric in ("label_recall", "label_false_alarm"):
            for name in toys.NAMES[:3]:
                before = mixed.value(metric, class_=name)
                after = mixed.value(prefix + metric, class_=name, sigma=0.25)
                drop = mixed.measured(f"{prefix}{metric}_drop", class_=name, sigma=0.25)
                assert drop.value == pytest.approx(before - after)
                assert drop.ci is not None
                assert drop.ci[0] <= drop.value <= drop.ci[1]
                moved += drop.value != 0
            drop = mixed.measured(f"{prefix}mean_{metric}_drop", sigma=0.25)
            assert drop.value == pytest.approx(
                mixed.value(f"mean_{metric}") - mixed.value(f"{prefix}mean_{metric}", sigma=0.25)
            )
            assert drop.ci is not None
            assert drop.ci[0] <= drop.value <= drop.ci[1]
    assert moved > 3


def test_clean_intervals_are_wilsons(mixed: Answered) -> None:
    for name in toys.NAMES[:3]:
        for metric in ("label_recall", "label_false_alarm"):
            found = mixed.measured(metric, class_=name)
            assert found.value is not None
            expected = binomtest(round(found.value * found.n), found.n).proportion_ci(method="wilson")
            assert found.ci == pytest.approx((expected.low, expected.high), abs=1e-9)
            assert found.ci_method == "wilson"


def test_a_drop_of_few_distinct_values_has_the_interval_of_all_its_images() -> None:
    values = np.random.default_rng(0).choice([-0.2, 0.0, 0.2, 1.0], size=60, p=[0.1, 0.6, 0.2, 0.1])
    found = _drop("label_recall_drop", "d", {}, values, 3)
    expected = mean_interval([values], (-1.0, 1.0), 5)
    assert found.value == pytest.approx(expected.value)
    assert found.ci == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found.n == 60


def test_a_drop_without_spread_or_images() -> None:
    same = _drop("label_recall_drop", "d", {}, np.zeros(10), 3)
    assert same.value == 0
    assert same.ci is not None
    assert same.ci[0] < -0.2
    assert _drop("label_recall_drop", "d", {}, np.zeros(0), 3).reason == "no image"


def test_a_class_without_images_may_be_a_false_alarm(tmp_path: Path) -> None:
    folder = toys.draw(tmp_path / "data")
    rows = toys.read_list(folder)
    toys.write_list(folder, [row for row in rows if row[2] == "train" or row[1] != "blue"])
    done = answer(Labels(toys.Constant(), lambda logits: logits), folder, tmp_path / "run")
    assert done.measured("label_recall", class_="blue").reason == "no image"
    assert done.value("label_false_alarm", class_="blue") == 1
    assert done.value("mean_label_recall") == 1
    assert done.value("mean_label_false_alarm") == pytest.approx(1)


def test_without_the_noise_audit_clean_labels_of_all_images(uneven: Path, tmp_path: Path) -> None:
    done = answer(knows(), uneven, tmp_path, audits=("region_swap",), swap_trials=1)
    assert {m.metric for m in done.found} == {
        "label_recall",
        "label_false_alarm",
        "mean_label_recall",
        "mean_label_false_alarm",
    }
    assert done.measured("mean_label_recall").n == 24


def test_a_softmax_head_has_no_labels(plain: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.OBJECT), plain, tmp_path, audits=("noise",))
    assert all(row["given"] is None for row in done.rows)
    dataset = open_dataset(str(plain))
    rows = Rows(done.table, tuple(row for row in dataset.images if row.split == "test"))
    assert not rows.of_labels
    assert len(rows.given("clean").image) == 0
    assert not Rows(to_table([]), ()).of_labels


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("core_label_recall", "proportion"),
        ("mean_label_false_alarm", "proportion"),
        ("spurious_mean_label_recall_drop", "difference"),
    ],
)
def test_units(metric: str, unit: str) -> None:
    assert unit_of(metric) == unit
