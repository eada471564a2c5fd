"""Labelled clean images choose among candidates, or say that they cannot."""

from __future__ import annotations

import re
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.errors import DataError, ModelError
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.model import Model
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.judging import chooser
from spuraudit.runs.prepare import Machine

ROOT = Path(__file__).resolve().parents[2]
HALF = PreprocessOverrides(mean=(0.5,), std=(0.5,))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 test images; every fourth has the frame of another class: 27 are right by the frame, all by the object."""
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(test=12, train=2, odd_every=4))


class Overflow(nn.Module):
    """Answers every image with NaN."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 4)."""
        return torch.full((len(x), 4), torch.nan)


class Blind(nn.Module):
    """Knows the objects, and never says one of the classes."""

    def __init__(self, never: int) -> None:
        super().__init__()
        self.network = toys.Reader(toys.OBJECT)
        self.never = never

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 4)."""
        logits: Tensor = self.network(x)
        logits[:, self.never] = -1e3
        return logits


def named(arch: str, network: nn.Module, outputs: int = 4) -> Model:
    model = toys.as_model(network, outputs=outputs)
    return replace(model, record=model.record.model_copy(update={"arch": arch}))


def choose(data: Path, candidates: list[Model], **settings: Any) -> Model:
    return chooser(open_dataset(str(data)), ScanSettings(**settings), Machine(16, 1))(candidates)


@pytest.mark.parametrize("order", [1, -1])
def test_the_clearly_best_is_chosen_whatever_the_order(data: Path, order: int) -> None:
    candidates = [named("by_frame", toys.Reader(toys.FRAME)), named("by_object", toys.Reader(toys.OBJECT))]
    chosen = choose(data, candidates[::order])
    assert chosen.record.arch == "by_object"
    assert chosen.record.arch_origin == "labelled clean images: 36 of 36 right, next by_frame 27"
    assert chosen.network is candidates[1].network
    assert candidates[1].record.arch_origin == "checkpoint"


def test_candidates_that_answer_alike_are_one_and_the_first_stands_for_them(data: Path) -> None:
    candidates = [named(f"twin_{number}", toys.Reader(toys.OBJECT)) for number in range(3)]
    chosen = choose(data, [*candidates, named("by_frame", toys.Reader(toys.FRAME))])
    assert chosen.record.arch == "twin_0"
    assert chosen.record.arch_origin.endswith("next by_frame 27")
    assert choose(data, candidates).record.arch_origin == "labelled clean images: 36 of 36 right"


def test_a_tie_of_different_answers_is_not_decided(data: Path) -> None:
    with pytest.raises(ModelError, match="do not tell them apart") as caught:
        choose(data, [named("one", Blind(0)), named("other", Blind(1)), named("by_chance", toys.Constant(4))])
    assert "  one: 24 of 36 right\n  other: 24 of 36 right\n  by_chance: 12" in caught.value.message
    assert "--arch one" in str(caught.value.hint)


def test_a_small_lead_is_not_decided(data: Path) -> None:
    """Among so few images the frame misleads at most seven times: 2^-6 is above 0.01."""
    candidates = [named("by_frame", toys.Reader(toys.FRAME)), named("by_object", toys.Reader(toys.OBJECT))]
    with pytest.raises(ModelError, match="do not tell them apart") as caught:
        choose(data, candidates, limit=15)
    assert "  by_object: 15 of 15 right\n  by_frame: " in caught.value.message
    assert "--arch by_object; with few images raise --limit" in str(caught.value.hint)


def test_one_image_decides_nothing(data: Path) -> None:
    candidates = [named("constant", toys.Constant(4)), named("by_object", toys.Reader(toys.OBJECT))]
    with pytest.raises(ModelError, match="of 1 right"):
        choose(data, candidates, limit=1)


def test_nobody_above_chance(data: Path) -> None:
    with pytest.raises(ModelError, match="none of them is above chance") as caught:
        choose(data, [named("constant", toys.Constant(4)), named("overflow", Overflow())])
    assert "  constant: 12 of 36 right\n  overflow: 0 of 36 right" in caught.value.message


def test_one_that_overflows_loses(data: Path) -> None:
    chosen = choose(data, [named("overflow", Overflow()), named("by_object", toys.Reader(toys.OBJECT))])
    assert chosen.record.arch_origin == "labelled clean images: 36 of 36 right, next overflow 0"


def test_each_is_asked_in_its_own_preprocessing(data: Path) -> None:
    """One network twice: a narrow crop shows it the object where it looks for the frame."""
    whole, cropped = (named(name, toys.Reader(toys.FRAME)) for name in ("whole", "cropped"))
    preprocess = cropped.record.preprocess
    narrow = preprocess.model_copy(update={"geometry": preprocess.geometry.model_copy(update={"crop_pct": 0.4})})
    cropped = replace(cropped, record=cropped.record.model_copy(update={"preprocess": narrow}))
    chosen = choose(data, [whole, cropped])
    assert chosen.record.arch_origin == "labelled clean images: 36 of 36 right, next whole 27"
    assert chosen.record.preprocess == narrow


def test_the_losers_are_freed(data: Path) -> None:
    candidates = [named("by_frame", toys.Reader(toys.FRAME)), named("by_object", toys.Reader(toys.OBJECT))]
    loser = weakref.ref(candidates[0].network)
    kept = choose(data, candidates)
    del candidates
    assert loser() is None
    assert kept.record.arch == "by_object"


def test_the_split_of_the_scan_is_asked(data: Path) -> None:
    candidates = [named("constant", toys.Constant(4)), named("by_object", toys.Reader(toys.OBJECT))]
    with pytest.raises(ModelError, match="by_object: 6 of 6 right"):
        choose(data, candidates, split="train")


def test_classes_that_do_not_fit_are_said(tmp_path: Path) -> None:
    folder = toys.draw(tmp_path, toys.Toy(test=2, train=0, outputs=False))
    with pytest.raises(DataError, match="3 classes, the model has 4 outputs"):
        choose(folder, [named("by_object", toys.Reader(toys.OBJECT)), named("by_frame", toys.Reader(toys.FRAME))])


# --- real weights on real photos -------------------------------------------------------------------------------------


def real(shared: Path, file: str, arch: str, overrides: PreprocessOverrides, **kwargs: Any) -> Model:
    """One of the networks that a real checkpoint fits."""
    return load(str(shared / "data/weights" / file), arch=arch, kwargs=kwargs, overrides=overrides, device="cpu")


@pytest.mark.shared
@pytest.mark.slow
def test_tensorflows_weights_are_told_from_pytorchs_network(shared: Path) -> None:
    """The trap of timm's twins: tf_ names pad and normalise as TensorFlow does, the others as PyTorch does."""
    arch, file = "mobilenetv2_100", "mobilenetv2_100.tf_same.pt"
    candidates = [
        real(shared, file, arch, PreprocessOverrides()),
        real(shared, file, arch, HALF, pad_type="same"),
    ]
    dataset = open_dataset(str(ROOT / "examples/butterflies"), data_dir=shared / "data/leeds_butterfly_256")
    chosen = chooser(dataset, ScanSettings(), Machine(32, 2))(candidates)
    assert chosen.record.kwargs["pad_type"] == "same"
    assert chosen.network is candidates[1].network
    assert re.fullmatch(
        r"labelled clean images: 12\d of 128 right, next mobilenetv2_100 9\d", chosen.record.arch_origin
    )
