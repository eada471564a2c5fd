from __future__ import annotations

import math

import pytest
import timm
import torch
from model_networks import as_model, build

from spuraudit.errors import ModelError, UsageError
from spuraudit.models.architectures import default_cfg
from spuraudit.models.preprocess import PreprocessOverrides, resolve, with_geometry

CFG = {"input_size": (3, 224, 192), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "crop_pct": 0.9}


@pytest.mark.parametrize(
    "arch", ["mobilenetv2_100", "mobileone_s0", "vit_tiny_patch16_224", "resnet18.fb_ssl_yfcc100m_ft_in1k"]
)
def test_equals_timm(arch: str) -> None:
    cfg = default_cfg(arch)
    theirs = timm.data.resolve_data_config({}, pretrained_cfg=cfg)
    ours = resolve(cfg, cfg_origin="timm")
    assert (3, ours.geometry.height, ours.geometry.width) == tuple(theirs["input_size"])
    assert ours.mean == tuple(theirs["mean"])
    assert ours.std == tuple(theirs["std"])
    for name in ("crop_pct", "crop_mode", "interpolation"):
        assert getattr(ours.geometry, name) == theirs[name]
    assert set(ours.origin.values()) == {"timm"}


def test_test_size_is_not_taken() -> None:
    cfg = {**CFG, "test_input_size": (3, 288, 288), "test_crop_pct": 1.0}
    geometry = resolve(cfg, cfg_origin="timm").geometry
    assert (geometry.height, geometry.width, geometry.crop_pct) == (224, 192, 0.9)


def test_the_last_word_wins_and_is_written_down() -> None:
    preprocess = resolve(
        CFG,
        cfg_origin="timm",
        checkpoint=PreprocessOverrides(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bilinear"),
        overrides=PreprocessOverrides(std=(0.25,), crop_pct=1.0, img_size=96, crop_mode="squash"),
    )
    assert preprocess.mean == (0.5, 0.5, 0.5)
    assert preprocess.std == (0.25, 0.25, 0.25)
    geometry = preprocess.geometry
    assert (geometry.height, geometry.width, geometry.crop_pct, geometry.crop_mode) == (96, 96, 1.0, "squash")
    assert preprocess.origin == {
        "mean": "checkpoint",
        "std": "--std",
        "interpolation": "checkpoint",
        "crop_pct": "--crop-pct",
        "crop_mode": "--crop-mode",
        "img_size": "--img-size",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": (0.5, 0.5)}, "--mean needs one value or three"),
        ({"mean": ()}, "--mean needs one value or three"),
        ({"mean": (123.7, 116.3, 103.5)}, r"--mean must be from 0 to 1, in units of \[0, 1\] pixels"),
        ({"mean": (math.nan, 0, 0)}, "--mean must be"),
        ({"std": (0.0,)}, "--std must be above 0"),
        ({"std": (-0.5,)}, "--std must be above 0"),
        ({"std": (58.4,)}, "--std must be above 0"),
        ({"crop_pct": 0.0}, "--crop-pct must be above 0"),
        ({"crop_pct": 1.5}, "--crop-pct must be above 0"),
        ({"crop_pct": math.nan}, "--crop-pct must be above 0"),
        ({"interpolation": "cubic"}, "--interpolation must be one of nearest, bilinear, bicubic, lanczos"),
        ({"crop_mode": "centre"}, "--crop-mode must be one of"),
        ({"img_size": 0}, "--img-size must be a number of pixels"),
        ({"img_size": (224, 224, 3)}, "--img-size must be a number of pixels"),
    ],
)
def test_impossible_overrides(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(CFG, cfg_origin="timm", overrides=PreprocessOverrides(**values))


def test_impossible_values_elsewhere_are_the_models_fault() -> None:
    with pytest.raises(ModelError, match=r"mean in net.pt must be from 0 to 1"):
        resolve(CFG, cfg_origin="timm", checkpoint=PreprocessOverrides(mean=(127.0,)), checkpoint_file="net.pt")
    with pytest.raises(ModelError, match="1 channels"):
        resolve({**CFG, "input_size": (1, 28, 28)}, cfg_origin="timm")
    with pytest.raises(ModelError, match="interpolation of the architecture"):
        resolve({**CFG, "interpolation": "hamming"}, cfg_origin="timm")


def test_a_dataset_may_fix_the_crop() -> None:
    model = as_model(build("paper_cnn"), 28)
    geometry = model.record.preprocess.geometry.model_copy(update={"crop_pct": 0.875})
    other = with_geometry(model, geometry, "dataset")
    assert other.network is model.network
    assert other.record.preprocess.geometry.crop_pct == 0.875
    assert other.record.preprocess.geometry.crop_mode == "center"
    assert other.record.preprocess.origin["crop_pct"] == other.record.preprocess.origin["crop_mode"] == "dataset"
    assert model.record.preprocess.geometry.crop_pct == 1.0
    assert other.record.preprocess.mean == model.record.preprocess.mean


def test_normalisation_is_inside_the_model() -> None:
    model = as_model(build("paper_cnn"), 28)
    pixels = torch.rand(2, 3, 28, 28)
    expected = (pixels - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(
        1, 3, 1, 1
    )
    assert torch.equal(model.normalise(pixels), expected)
    assert torch.equal(model.logits(pixels), model.network(expected))
