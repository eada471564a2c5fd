from __future__ import annotations

import pytest
import torch
from torch import nn

from spuraudit.errors import ModelError
from spuraudit.models.architectures import (
    check_kwargs,
    classifier_names,
    create,
    default_cfg,
    known_architectures,
    library_of,
)


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


def test_the_epsilon_of_layer_norms() -> None:
    network = create("test_vit", {"layer_norm_eps": 1e-12})
    assert {module.eps for module in network.modules() if isinstance(module, nn.LayerNorm)} == {1e-12}
    with pytest.raises(ModelError, match="resnet10t has no layer norm"):
        create("resnet10t", {"layer_norm_eps": 1e-5})


@pytest.mark.parametrize(
    ("arch", "message", "hint"),
    [
        ("torchvision:vgg17", "torchvision has no classifier 'vgg17'", "'vgg16'"),
        ("torchvision:quantized_resnet18", "torchvision has no classifier", ""),
        ("open_clip:ViT-B-33", "open_clip has no network 'ViT-B-33'", "'ViT-B-32'"),
        ("open_clip:roberta-ViT-B-32", "its text tower is fetched from a hub", ""),
    ],
)
def test_unknown_names_of_other_libraries(arch: str, message: str, hint: str) -> None:
    for call in (default_cfg, lambda arch: create(arch, {})):
        with pytest.raises(ModelError, match=message) as caught:
            call(arch)
        assert hint in str(caught.value.hint)


def test_arguments_that_torchvision_refuses() -> None:
    with pytest.raises(ModelError, match="'torchvision:resnet18' refuses widht=3: it has no such argument"):
        create("torchvision:resnet18", {"widht": 3})


def test_every_name_is_somebodys() -> None:
    known = known_architectures()
    assert {"paper_cnn", "resnet50", "torchvision:resnet50", "open_clip:ViT-B-32"} <= set(known)
    assert not any("quantized" in name or "roberta" in name for name in known)
    assert library_of("torchvision:vgg16") == ("torchvision", "vgg16")
    assert library_of("hf-hub:timm/resnet18") == (None, "hf-hub:timm/resnet18")
