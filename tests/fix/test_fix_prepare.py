"""What is refused before anything is trained, and what a prepared fix says of the outputs of its models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import toys
from trainings import seeded, settings

from spuraudit.data import open_dataset
from spuraudit.errors import DataError, FixError, ModelError, RunError, SpurauditError, UsageError
from spuraudit.fix.catalogue import make_method
from spuraudit.fix.prepare import Fix, Wanted, prepare_fix, scanned_data
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.prepare import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model


def prepared(
    model: Model | nn.Module,
    dataset: Dataset,
    method: str = "erm",
    options: dict[str, Any] | None = None,
    **wanted: Any,
) -> Fix:
    """With quick settings."""
    given = {"training": settings(), "scan": ScanSettings(allow_chance=True), **wanted}
    known = model if hasattr(model, "record") else toys.as_model(model)  # type: ignore[arg-type]
    return prepare_fix(known, dataset, make_method(method, options), Wanted(**given), Machine(16, 1))  # type: ignore[arg-type]


def cnn(outputs: int = 3) -> Model:
    model = toys.as_model(seeded(PaperCNN, outputs, 3))
    known = {"arch": "paper_cnn", "kwargs": {"num_classes": outputs, "width": 3}}
    return replace(model, record=model.record.model_copy(update=known))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two classes, of which nobody says which outputs they are."""
    return open_dataset(str(toys.draw(tmp_path_factory.mktemp("two"), toys.Toy(classes=2, outputs=False))))


def test_the_plan_tells_apart_what_changes_weights(tagged: Dataset, many: Dataset) -> None:
    first = prepared(cnn(), tagged)
    assert prepared(cnn(), tagged).plan.sha256 == first.plan.sha256
    others = [
        prepared(cnn(), many),
        prepared(cnn(), tagged, "swap"),
        prepared(cnn(), tagged, limit=9),
        prepared(cnn(), tagged, training=settings(lr=0.5)),
        prepared(cnn(), tagged, scan=ScanSettings(allow_chance=True, seed=1)),
        prepared(cnn(), tagged, start="new-head"),
        prepared(toys.as_model(seeded(PaperCNN, 3, 4)), tagged),
    ]
    assert len({fix.plan.sha256 for fix in [first, *others]}) == 8


def test_the_control_of_every_method_is_the_same(tagged: Dataset) -> None:
    fixes = [prepared(cnn(), tagged, name) for name in ("erm", "swap", "rrr", "corm")]
    assert len({fix.plan.of_control.sha256 for fix in fixes}) == 1
    assert fixes[0].plan.of_control == fixes[0].plan
    assert len({fix.plan.sha256 for fix in fixes}) == 4


def test_a_model_of_other_classes_needs_a_new_head(two: Dataset) -> None:
    model = cnn(1000)
    with pytest.raises(SpurauditError, match="1000"):
        prepared(model, two)
    fix = prepared(model, two, start="new-head")
    fresh = fix.job.started()
    assert fresh.record.num_classes == 2
    assert fresh.network(torch.zeros(1, 3, toys.SIDE, toys.SIDE)).shape == (1, 2)
    assert fix.job.class_map(fresh).outputs == ((0,), (1,))
    assert model.record.num_classes == 1000


@pytest.mark.parametrize("start", ["new-head", "scratch"])
def test_an_output_of_a_new_head_is_a_class(tagged: Dataset, start: str) -> None:
    permuted = replace(
        tagged,
        classes=tuple(replace(info, outputs=(at,)) for info, at in zip(tagged.classes, (2, 0, 1), strict=True)),
    )
    delivered = prepared(cnn(), permuted)
    assert delivered.job.class_map(delivered.job.started()).outputs == ((2,), (0,), (1,))
    anew = prepared(cnn(), permuted, start=start)
    assert anew.job.class_map(anew.job.started()).outputs == ((0,), (1,), (2,))
    # The delivered model keeps its own.
    assert anew.job.class_map(anew.job.model).outputs == ((2,), (0,), (1,))
    assert [info.outputs for info in scanned_data(permuted, anew.job.start).classes] == [None] * 3
    assert scanned_data(permuted, "model") is permuted


@pytest.mark.parametrize("start", ["model", "new-head", "scratch"])
def test_audits_that_cannot_run_are_refused_at_once(tmp_path: Path, start: str) -> None:
    bare = open_dataset(str(toys.draw(tmp_path, toys.Toy(masks=False))))
    with pytest.raises(DataError, match="The noise audit cannot run"):
        prepared(cnn(), bare, start=start, scan=ScanSettings(audits=("noise",), allow_chance=True))


def test_networks_without_a_linear_layer_get_no_new_head(tagged: Dataset) -> None:
    with pytest.raises(ModelError, match="no linear layer"):
        prepared(toys.Constant(), tagged, start="new-head")


def test_a_single_class_cannot_be_learnt(tagged: Dataset) -> None:
    only = tuple(row for row in tagged.images if row.label == 0 or row.split == "test")
    with pytest.raises(DataError, match="of a single class"):
        prepared(cnn(), replace(tagged, images=only))


@pytest.mark.parametrize("flag", ["from_run", "annotations"])
def test_folders_that_are_not_there(tagged: Dataset, tmp_path: Path, flag: str) -> None:
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')} .* does not exist"):
        prepared(cnn(), tagged, "swap", **{flag: tmp_path / "nowhere"})


@pytest.mark.parametrize("method", ["swap", "erm"])
def test_a_folder_that_is_no_run(tagged: Dataset, tmp_path: Path, method: str) -> None:
    with pytest.raises(RunError, match="no run here"):
        prepared(cnn(), tagged, method, from_run=tmp_path)


def test_a_scan_that_suspects_nothing(tagged: Dataset, tmp_path: Path) -> None:
    scanned = toys.scan(toys.Reader(toys.OBJECT), tagged, tmp_path / "run", audits=("noise",), allow_chance=True)
    with pytest.raises(FixError, match="suspects no feature or region"):
        prepared(cnn(), tagged, "swap", from_run=scanned.folder)


def test_options_that_would_not_be_read(tagged: Dataset, tmp_path: Path) -> None:
    """Before anything is trained."""
    scanned = toys.scan(toys.Reader(toys.TAG), tagged, tmp_path / "run", audits=("feature_drop",))
    for name in ("swap", "rrr"):
        for word in ("background", "spurious", "tag"):
            with pytest.raises(UsageError, match=f"region={word} is taken from masks, so that --from-run"):
                prepared(cnn(), tagged, name, options={"region": word}, from_run=scanned.folder)
        prepared(cnn(), tagged, name, options={"region": "auto"}, from_run=scanned.folder)
    with pytest.raises(UsageError, match="bare is for features and cells"):
        prepared(cnn(), tagged, "swap", options={"bare": 1, "region": "background"})
    with pytest.raises(UsageError, match="could go to: gamma"):
        prepared(cnn(), tagged, training=settings(schedule="none", schedule_args={"gamma": 0.5}))


def test_a_precision_is_named_as_a_setting(tagged: Dataset) -> None:
    with pytest.raises(UsageError, match="float16 on a CPU") as caught:
        prepared(cnn(), tagged, training=settings(precision="fp16"))
    assert "Use --set precision=bf16" in (caught.value.hint or "")


def test_a_measure_that_the_validation_images_cannot_give(tagged: Dataset) -> None:
    ungrouped = replace(tagged, images=tuple(replace(row, group=None) for row in tagged.images))
    with pytest.raises(FixError, match="have no groups"):
        prepared(cnn(), ungrouped, training=settings(select="worst_group"))


def test_a_batch_for_more_devices_than_it_has_images(tagged: Dataset) -> None:
    with pytest.raises(UsageError, match="cannot be spread over 9 devices"):
        prepared(cnn(), tagged, devices=9, training=settings(batch_size=8))
