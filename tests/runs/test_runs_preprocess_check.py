"""Clean images show that another normalisation or padding was meant; nothing is said without enough of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.alternatives import paddings
from spuraudit.models.architectures import create
from spuraudit.models.model import Model
from spuraudit.record.scan import Notice
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.chance import PROBE_IMAGES
from spuraudit.runs.clean import clean_answers
from spuraudit.runs.cohort import limited
from spuraudit.runs.prepare import Machine, Scan, arrange
from spuraudit.runs.preprocess_check import preprocess_check
from spuraudit.runs.progress import Silent

ROOT = Path(__file__).resolve().parents[2]
HALF = PreprocessOverrides(mean=(0.5,), std=(0.5,))
IMAGENET = PreprocessOverrides(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
AS_IT_IS = PreprocessOverrides()


class TrainedOnHalves(nn.Module):
    """Reads the object where pixels come as (x - 0.5) / 0.5, and the frame where they come as they are.

    Pixels of 0..255 make it overflow. The darkest colour of a picture (0.2) is -0.6 after the normalisation by halves,
    and below -1 after those of ImageNet and CLIP. `passes` counts the images it was asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.object = toys.Reader(toys.OBJECT)
        self.frame = toys.Reader(toys.FRAME)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes + 1)."""
        self.passes += len(x)
        lowest = x.flatten(1).amin(dim=1)
        halves = ((lowest < -0.5) & (lowest > -0.7))[:, None]
        answer: Tensor = torch.where(halves, self.object(x * 0.5 + 0.5), self.frame(x))
        return answer / (x.flatten(1).amax(dim=1) < 10)[:, None]


class Listener(Silent):
    """Counts what a run tells."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def begin(self, what: str, total: int, unit: str) -> None:
        self.total += total

    def advance(self, amount: int) -> None:
        self.done += amount


def drawn(folder: Path, odd_every: int, per_class: int = 40) -> Path:
    """Three classes; every n-th image has the frame of another class."""
    return toys.draw(folder, toys.Toy(test=per_class, train=0, odd_every=odd_every))


def arranged(model: Model, data: Path, batch_size: int = 32, **settings: Any) -> Scan:
    return arrange(model, open_dataset(str(data)), ScanSettings(**settings), Machine(batch_size, 1))


def checked(scan: Scan, rows: int = PROBE_IMAGES, listener: Listener | None = None) -> Notice | None:
    """The check as a scan makes it: after the probe, on its images."""
    asked = limited(scan.cohort.rows, rows)
    right = clean_answers(scan, asked, "probe", Silent()).right.numpy()
    return preprocess_check(scan, asked, right, listener or Silent())


def test_the_better_normalisation_is_named_with_its_figures(tmp_path: Path) -> None:
    scan = arranged(toys.as_model(TrainedOnHalves()), drawn(tmp_path, odd_every=10))
    notice = checked(scan)
    assert notice is not None
    assert notice.code == "SPA006"
    assert notice.text == (
        "With --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5, 120 of 120 clean images are answered right instead of 108: the "
        "preprocessing in use is probably not the one of the training."
    )


def test_the_better_padding_alone_is_named(tmp_path: Path) -> None:
    """Images labelled by the answers of a network that pads as TensorFlow does; the one in use has its weights."""
    side, images = 64, 60
    torch.manual_seed(5)
    network = create("mobilenetv2_035", {"num_classes": 4}).eval()
    model = toys.as_model(network, outputs=4)
    preprocess = model.record.preprocess
    larger = preprocess.model_copy(
        update={"geometry": preprocess.geometry.model_copy(update={"height": side, "width": side})}
    )
    update = {"arch": "mobilenetv2_035", "kwargs": {"num_classes": 4}, "preprocess": larger}
    model = replace(model, record=model.record.model_copy(update=update))
    (same,) = paddings(model)
    coarse = torch.randint(0, 256, (images, 3, 6, 6), generator=torch.Generator().manual_seed(0)).float()
    pictures = nn.functional.interpolate(coarse, size=side)
    with torch.no_grad():  # a random network names one class always; about its mean it names all of them
        network.classifier.bias -= same.model.logits(pictures / 255).mean(dim=0)
    labels = same.model.logits(pictures / 255).argmax(dim=1).tolist()
    for number, picture in enumerate(pictures):
        toys.save(tmp_path / f"images/{number}.png", picture.permute(1, 2, 0).byte().numpy())
    toys.write_list(tmp_path, [(f"{k}.png", toys.NAMES[label], "test", "", str(k)) for k, label in enumerate(labels)])
    toys.write_yaml(tmp_path, toys.description(toys.Toy(classes=4, masks=False)))
    notice = checked(arranged(model, tmp_path))
    assert notice is not None
    assert notice.text.startswith("With --model-kwargs pad_type=same, 60 of 60 clean images are answered right instead")
    assert notice.text.endswith(": the padding in use is probably not the one of the training.")


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_batches_do_not_matter(tmp_path: Path, batch_size: int) -> None:
    data = drawn(tmp_path, odd_every=10)
    usual = checked(arranged(toys.as_model(TrainedOnHalves()), data))
    assert usual is not None
    assert checked(arranged(toys.as_model(TrainedOnHalves()), data, batch_size)) == usual


def test_too_few_wrong_answers_cost_nothing(tmp_path: Path) -> None:
    """Nine wrong answers cannot give p < 0.01 over four alternatives: 4 x 2^-8 = 0.016."""
    network = TrainedOnHalves()
    scan = arranged(toys.as_model(network), drawn(tmp_path, odd_every=13))
    network.passes = 0
    assert checked(scan) is None
    assert network.passes == 120


def test_a_right_preprocessing_costs_a_quarter_of_each_alternative(tmp_path: Path) -> None:
    """Wrong answers of which no alternative mends one: behind on the first images, none is asked the others."""
    network = toys.Reader(toys.FRAME)
    passes: list[int] = []
    network.register_forward_hook(lambda _, given, __: passes.append(len(given[0])))
    scan = arranged(toys.as_model(network), drawn(tmp_path, odd_every=4))
    passes.clear()
    assert checked(scan) is None
    assert sum(passes) == 120 + 4 * 32


def test_a_gain_below_five_points_is_not_reported(tmp_path: Path) -> None:
    """11 of 239 images: p = 2^-10, and yet 4.6 points."""
    scan = arranged(toys.as_model(TrainedOnHalves()), drawn(tmp_path, odd_every=20, per_class=80))
    rows = scan.cohort.rows
    right = clean_answers(scan, rows, "probe", Silent()).right.numpy()
    assert (~right).sum() == 12
    assert preprocess_check(scan, rows, right, Silent()) is not None
    left = [index for index in range(len(rows)) if index != int((~right).argmax())]
    assert preprocess_check(scan, [rows[index] for index in left], right[left], Silent()) is None


def test_one_image_says_nothing(tmp_path: Path) -> None:
    scan = arranged(toys.as_model(TrainedOnHalves()), drawn(tmp_path, odd_every=10), limit=1)
    assert checked(scan) is None


def test_progress_is_told_of_every_image(tmp_path: Path) -> None:
    listener = Listener()
    checked(arranged(toys.as_model(TrainedOnHalves()), drawn(tmp_path, odd_every=10)), listener=listener)
    assert listener.total == listener.done >= 4 * 32 + 88


def test_images_of_the_probe_are_not_read_again(tmp_path: Path) -> None:
    scan = arranged(toys.as_model(TrainedOnHalves()), drawn(tmp_path, odd_every=10))
    rows = limited(scan.cohort.rows, PROBE_IMAGES)
    right = clean_answers(scan, rows, "probe", Silent()).right.numpy()
    shutil.rmtree(tmp_path / "images")
    assert preprocess_check(scan, rows, right, Silent()) is not None


def test_the_scan_stays_as_it_was(tmp_path: Path) -> None:
    scan = arranged(toys.as_model(TrainedOnHalves()), drawn(tmp_path, odd_every=10))
    before = scan.model.record.model_dump(), scan.plan.sha256
    checked(scan)
    assert (scan.model.record.model_dump(), scan.plan.sha256) == before


# --- real weights on real photos -------------------------------------------------------------------------------------


def butterflies(shared: Path, file: str, arch: str, overrides: PreprocessOverrides, limit: int, **kwargs: Any) -> Scan:
    model = load(str(shared / "data/weights" / file), arch=arch, kwargs=kwargs, overrides=overrides, device="cpu")
    dataset = open_dataset(str(ROOT / "examples/butterflies"), data_dir=shared / "data/leeds_butterfly_256")
    return arrange(model, dataset, ScanSettings(audits=("noise",), limit=limit), Machine(32, 2))


@pytest.mark.shared
@pytest.mark.slow
def test_timms_defaults_are_wrong_for_tensorflows_weights(shared: Path) -> None:
    """Of 128 butterflies 96 are right with the defaults, 118 with halves, 125 with halves and padding 'same'."""
    notice = checked(butterflies(shared, "mobilenetv2_100.tf_same.pt", "mobilenetv2_100", AS_IT_IS, 128))
    assert notice is not None
    flags, _, figures = notice.text.partition(", 1")
    assert flags == "With --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --model-kwargs pad_type=same"
    assert figures.startswith("25 of 128 clean images are answered right instead of 96")


@pytest.mark.shared
@pytest.mark.slow
def test_a_padding_that_is_right_is_not_blamed(shared: Path) -> None:
    """The padding is given, the normalisation is wrong: only the latter is named, though the user chose it."""
    scan = butterflies(shared, "mobilenetv2_100.tf_same.pt", "mobilenetv2_100", IMAGENET, 128, pad_type="same")
    notice = checked(scan)
    assert notice is not None
    assert notice.text.startswith("With --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5, 12")


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "arch", "overrides", "kwargs"),
    [
        ("mobilenetv2_100.pt", "mobilenetv2_100", AS_IT_IS, {}),
        ("mobilenetv2_100.tf_same.pt", "mobilenetv2_100", HALF, {"pad_type": "same"}),
        ("mobilenetv1_100.pt", "mobilenetv1_100", AS_IT_IS, {"pad_type": "same"}),
        ("mobileone_s0.pt", "mobileone_s0", AS_IT_IS, {}),
    ],
)
def test_right_settings_are_not_questioned(
    shared: Path, file: str, arch: str, overrides: PreprocessOverrides, kwargs: dict[str, Any]
) -> None:
    assert checked(butterflies(shared, file, arch, overrides, 64, **kwargs)) is None
