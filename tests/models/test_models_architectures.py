from __future__ import annotations

import pytest
import torch
from torch import nn

from spuraudit.errors import ModelError
from spuraudit.models.architectures import check_kwargs, classifier_names, create, default_cfg


def test_the_papers_cnn() -> None:
    network = create("paper_cnn", {})
    assert [type(module) for module in network.children()] == [
        nn.Conv2d,
        nn.ReLU,
        nn.Identity,
        nn.Dropout,
        nn.Flatten,
        nn.Linear,
    ]
    assert network.classifier.in_features == 21_632  # 32 x 26 x 26
    assert network.drop.p == 0.5
    assert network(torch.zeros(2, 3, 28, 28)).shape == (2, 10)
    pooled = create("paper_cnn", {"pool": True, "num_classes": 4, "width": 8, "img_size": 32, "in_chans": 1})
    assert pooled.classifier.in_features == 8 * 15 * 15
    assert pooled(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


def test_default_cfg() -> None:
    assert default_cfg("paper_cnn")["input_size"] == (3, 28, 28)
    assert classifier_names(default_cfg("mobilenetv2_100")) == ("classifier",)
    assert classifier_names(default_cfg("deit_tiny_distilled_patch16_224")) == ("head", "head_dist")
    with pytest.warns(UserWarning, match="deprecated"):
        assert default_cfg("vit_base_patch16_224_in21k")["num_classes"] == 21843


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mobilenet_v2_100", "'mobilenetv2_100'"),
        ("paper_cn", "'paper_cnn'"),
        ("hf-hub:timm/resnet18", "Names are timm's"),
        ("/tmp/resnet18", "'resnet18'"),
        ("zzzz", "Names are timm's"),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    for call in (default_cfg, lambda arch: create(arch, {})):
        with pytest.raises(ModelError, match="Unknown architecture") as caught:
            call(name)
        assert hint in caught.value.hint


def test_unknown_tag() -> None:
    with pytest.raises(ModelError, match="no weights with the tag 'ra_in2k'") as caught:
        default_cfg("mobilenetv2_100.ra_in2k")
    assert "'ra_in1k'" in caught.value.hint


@pytest.mark.parametrize(
    ("arch", "kwargs", "message"),
    [
        ("mobilenetv2_100", {"widht": 3}, "'mobilenetv2_100' refuses widht=3: it has no such argument"),
        ("paper_cnn", {"drop_rate": 0.3}, "'paper_cnn' refuses drop_rate=0.3: it has no such argument"),
        (
            "mobilenetv1_100",
            {"channel_multiplier": 0.75},
            "refuses channel_multiplier=0.75: it fixes this argument itself",
        ),
        ("paper_cnn", {"img_size": 2}, "cannot be built with img_size=2"),
        ("vit_tiny_patch16_224", {"embed_dim": 191}, "cannot be built with|refuses embed_dim"),
    ],
)
def test_arguments_the_constructor_refuses(arch: str, kwargs: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create(arch, kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pretrained": True}, "'pretrained' cannot be set"),
        ({"checkpoint_path": "x.pt"}, "'checkpoint_path' cannot be set"),
        ({"in_chans": 1}, "in_chans=1: only networks for RGB"),
        ({"pad_type": "smae"}, "pad_type must be 'same'"),
    ],
)
def test_arguments_that_are_not_the_users(kwargs: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_kwargs("mobilenetv2_100", kwargs)
