"""A fix carried out: what is scanned, what is compared, and what its folder holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import toys
from safetensors.torch import load_file
from trainings import settings

from spuraudit.data import open_dataset
from spuraudit.errors import RunError
from spuraudit.fix.catalogue import make_method
from spuraudit.fix.execute import carry_out, cautions
from spuraudit.fix.prepare import Fix, Wanted, prepare_fix
from spuraudit.models import load
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.record.fix import FixRecord, read_fix
from spuraudit.record.folder import read_record, sha256_of, to_json
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, prepare_scan
from spuraudit.runs.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from spuraudit.data.dataset import Dataset

SCAN = ScanSettings(audits=("noise",), trials=1, allow_chance=True)
LEARNING = settings(epochs=12, lr=3e-3, schedule=None, flip=False)


def prepared(file: Path, dataset: Dataset, method: str = "erm", **wanted: Any) -> Fix:
    """A fix of the `paper_cnn` in a file."""
    model = load(str(file), device="cpu")
    given = {"training": settings(epochs=1), "scan": SCAN, **wanted}
    return prepare_fix(model, dataset, make_method(method), Wanted(**given), Machine(16, 1))


def pictures() -> Tensor:
    """Of each class one, object and frame in its colour."""
    drawn = [toys.picture(label, label, tag=True, key=f"new-{label}") for label in range(3)]
    return torch.stack([torch.from_numpy(one) for one in drawn]).permute(0, 3, 1, 2).float() / 255


def value(run: Path, metric: str) -> float | None:
    (found,) = [m for m in read_record(run).measurements if m.metric == metric and not m.scope]
    return found.value


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows the three classes by object and frame."""
    return toys.save_cnn(tmp_path_factory.mktemp("reader") / "reader.pt", {"object": 1.0, "frame": 0.5})


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a hundred outputs that are other classes."""
    file = tmp_path_factory.mktemp("strange") / "strange.pt"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = PaperCNN(100, 8)
    torch.save({"arch": "paper_cnn", "model_kwargs": {"width": 8}, "state_dict": network.state_dict()}, file)
    return file


def last_good(folder: Path) -> dict[str, Tensor]:
    """Weights of the control's last epoch."""
    weights: dict[str, Tensor] = torch.load(folder / "training" / "control" / "last_good.pt", weights_only=True)
    return weights


def is_whole(folder: Path, record: FixRecord) -> None:
    """Everything that the record names is there, as it was."""
    assert read_fix(folder) == record
    for arm in (record.arms.control, record.arms.fixed):
        assert sha256_of(folder / arm.checkpoint) == arm.checkpoint_sha256
        assert sha256_of(folder / arm.run / "scan.json") == arm.record_sha256
        assert read_record(folder / arm.run).model.sha256 == arm.checkpoint_sha256
    if record.arms.before is not None:
        assert sha256_of(folder / "before" / "scan.json") == record.arms.before.record_sha256


@pytest.mark.parametrize("start", ["new-head", "scratch"])
def test_a_network_of_other_classes_learns_these(many: Dataset, strange: Path, tmp_path: Path, start: str) -> None:
    before = strange.read_bytes()
    record = carry_out(prepared(strange, many, start=start, training=LEARNING), tmp_path / "fix")
    is_whole(tmp_path / "fix", record)
    assert record.start == start
    assert record.arms.before is None
    assert (record.comparisons.fixed_before, record.comparisons.control_before) == (None, None)
    assert not (tmp_path / "fix" / "before").exists()
    assert value(tmp_path / "fix" / "fixed", "clean_accuracy") == 1.0
    fixed = load(str(tmp_path / "fix" / "fixed.safetensors"), device="cpu")
    assert fixed.record.num_classes == 3
    assert fixed.logits(pictures()).argmax(dim=1).tolist() == [0, 1, 2]
    assert strange.read_bytes() == before
    convolution = torch.load(strange, weights_only=True)["state_dict"]["conv.weight"]
    moved = float((load_file(tmp_path / "fix" / "fixed.safetensors")["conv.weight"] - convolution).abs().mean())
    # Weights that were drawn anew have nothing to do with the delivered ones.
    assert (moved > 0.1) == (start == "scratch")


def test_outputs_in_another_order_stay_where_they_are(many: Dataset, reader: Path, tmp_path: Path) -> None:
    order = (2, 0, 1)
    content = torch.load(reader, weights_only=True)
    for name in ("classifier.weight", "classifier.bias"):
        tensor = content["state_dict"][name]
        content["state_dict"][name] = tensor[[order.index(output) for output in range(3)]].clone()
    torch.save(content, tmp_path / "turned.pt")
    classes = tuple(replace(info, outputs=(at,)) for info, at in zip(many.classes, order, strict=True))
    dataset = replace(many, classes=classes)
    record = carry_out(prepared(tmp_path / "turned.pt", dataset, "swap", training=LEARNING), tmp_path / "fix")
    is_whole(tmp_path / "fix", record)
    for run in ("before", "control", "fixed"):
        assert value(tmp_path / "fix" / run, "clean_accuracy") == 1.0
    fixed = load(str(tmp_path / "fix" / "fixed.safetensors"), device="cpu")
    assert fixed.logits(pictures()).argmax(dim=1).tolist() == list(order)
    # And the first steps started from there.
    assert record.arms.fixed.losses[0].terms["loss"] < 1.0


def test_plain_training_is_its_own_control(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    record = carry_out(prepared(reader, tagged), tmp_path)
    is_whole(tmp_path, record)
    assert (tmp_path / "fixed.safetensors").read_bytes() == (tmp_path / "control.safetensors").read_bytes()
    credit = record.comparisons.credit
    assert {change.change for change in credit.changes} <= {0.0, None}
    assert record.verdict.outcome in ("nothing", "unknown")


def test_the_same_call_again_repeats_nothing(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    first = carry_out(prepared(reader, tagged, "swap"), tmp_path)
    kept = [file for file in tmp_path.rglob("*") if file.suffix in (".parquet", ".pt")]
    stamps = {file: file.stat().st_mtime_ns for file in kept}
    written = (tmp_path / "fix.json").read_bytes()
    assert carry_out(prepared(reader, tagged, "swap"), tmp_path) == first
    assert (tmp_path / "fix.json").read_bytes() == written  # when it was done, and how long that took
    (tmp_path / "fix.json").unlink()
    second = carry_out(prepared(reader, tagged, "swap"), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in kept} == stamps
    is_whole(tmp_path, second)
    assert second.comparisons.credit.changes == first.comparisons.credit.changes
    assert second.verdict == first.verdict
    one, two = first.arms.fixed, second.arms.fixed
    assert (one.checkpoint_sha256, one.losses, one.seconds) == (two.checkpoint_sha256, two.losses, two.seconds)


def test_a_finished_fix_whose_model_is_gone_is_carried_out_again(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    first = carry_out(prepared(reader, tagged, "swap"), tmp_path)
    (tmp_path / "fixed.safetensors").unlink()
    second = carry_out(prepared(reader, tagged, "swap"), tmp_path)
    is_whole(tmp_path, second)
    assert second.arms.fixed.checkpoint_sha256 == first.arms.fixed.checkpoint_sha256


@pytest.mark.parametrize(
    ("has_splits", "scanned", "seen"), [(True, "train", False), (True, "test", True), (False, None, True)]
)
def test_a_region_found_on_held_out_images_is_said_to_be(
    tagged: Dataset, reader: Path, tmp_path: Path, has_splits: bool, scanned: str | None, seen: bool
) -> None:
    """Also where the held-out images were set aside here, from data that the scan saw as a whole."""
    data = tagged if has_splits else replace(tagged, images=tuple(replace(row, split=None) for row in tagged.images))
    fix = prepared(reader, data, "swap")
    assert not any("found by a scan" in note for note in cautions(fix))
    execute(prepare_scan(fix.job.model, fix.job.dataset, fix.scan, fix.job.machine, Silent()), tmp_path)
    record = json.loads((tmp_path / "scan.json").read_bytes())
    record["data"]["split"] = scanned
    (tmp_path / "scan.json").write_text(json.dumps(record), encoding="utf-8")
    said = cautions(replace(fix, job=replace(fix.job, from_run=tmp_path)))
    assert any("found by a scan of the held-out images too" in note for note in said) == seen


def test_another_plan_in_the_same_folder(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    carry_out(prepared(reader, tagged), tmp_path)
    before = (tmp_path / "fix.json").read_bytes()
    with pytest.raises(RunError, match="holds a fix of another plan"):
        carry_out(prepared(reader, tagged, "swap"), tmp_path)
    with pytest.raises(RunError, match="not empty, and not a fix"):
        carry_out(prepared(reader, tagged), tmp_path / "training")
    assert (tmp_path / "fix.json").read_bytes() == before


def test_a_limit_counts_what_is_scanned(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    record = carry_out(prepared(reader, tagged, scan=SCAN.model_copy(update={"limit": 9}), limit=12), tmp_path)
    assert (record.data.train.images, record.data.held_out.images) == (12, 9)
    assert read_record(tmp_path / "fixed").data.images == 9


def test_data_without_splits(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    whole = replace(tagged, images=tuple(replace(row, split=None) for row in tagged.images))
    record = carry_out(prepared(reader, whole, training=settings(epochs=1, select="accuracy")), tmp_path)
    assert record.data.held_out.split == "held-out"
    assert record.data.held_out_how.startswith("The data have no splits")
    assert any("No split is left for validation" in note for note in record.notes)
    counts = (record.data.train.images, record.data.validation.images, record.data.held_out.images)
    assert sum(counts) == len(whole.images)
    assert min(counts) > 0


def test_the_selected_epoch_is_what_is_saved(many: Dataset, reader: Path, tmp_path: Path) -> None:
    # All epochs are right about everything: the first of them is kept, though the weights move on.
    training = settings(epochs=3, lr=1e-5, select="accuracy", schedule=None)
    record = carry_out(prepared(reader, many, training=training), tmp_path)
    arm = record.arms.fixed
    assert [point.measures["accuracy"] for point in arm.validation] == [1.0] * 3
    assert arm.selected_step == arm.validation[0].step
    best = torch.load(tmp_path / "training" / "control" / "best.pt", weights_only=True)
    assert all(torch.equal(tensor, best[name]) for name, tensor in load_file(tmp_path / "fixed.safetensors").items())
    assert not all(torch.equal(tensor, best[name]) for name, tensor in last_good(tmp_path).items())
    assert "The dataset's own split" in record.data.held_out_how


def test_what_a_control_beside_left_half_copied_is_copied_again(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    first = carry_out(prepared(reader, tagged, "corm"), tmp_path / "corm")
    half = tmp_path / "swap" / "control.partial"
    half.mkdir(parents=True)
    (half / "scan.json").write_text("{}")
    fix = prepared(reader, tagged, "swap")
    (tmp_path / "swap" / "plan.json").write_bytes(to_json(fix.plan))
    record = carry_out(fix, tmp_path / "swap", beside=tmp_path / "corm")
    is_whole(tmp_path / "swap", record)
    one, two = first.arms.control, record.arms.control
    assert (one.checkpoint_sha256, one.losses, one.seconds) == (two.checkpoint_sha256, two.losses, two.seconds)
    assert not half.exists()
    assert not (tmp_path / "swap" / "training" / "control").exists()


def test_the_control_does_not_know_the_method(tagged: Dataset, reader: Path, tmp_path: Path) -> None:
    carry_out(prepared(reader, tagged, "corm"), tmp_path / "corm")
    carry_out(prepared(reader, tagged, "swap"), tmp_path / "swap")
    corm, swap = (tmp_path / name / "control.safetensors" for name in ("corm", "swap"))
    assert corm.read_bytes() == swap.read_bytes()
    assert json.loads((tmp_path / "swap" / "plan.json").read_bytes())["method"] == "swap"


def test_a_dataset_of_one_more_class_than_the_model_is_refused(reader: Path, tmp_path: Path) -> None:
    four = open_dataset(str(toys.draw(tmp_path, toys.Toy(classes=4, train=2, test=2))))
    with pytest.raises(Exception, match="output"):
        prepared(reader, four)
