"""Files in the names of other libraries: torchvision, transformers, open_clip, OpenAI, original repositories."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from spuraudit.errors import ModelError
from spuraudit.models import Model, PreprocessOverrides, load
from spuraudit.models.architectures import create, default_cfg
from spuraudit.models.conversion import from_transformers
from spuraudit.models.foreign_names import clip_names
from spuraudit.models.foreign_open_clip import build
from spuraudit.models.from_file import draft_from_file
from spuraudit.models.request import Request


def unlike_the_start(network: nn.Module) -> nn.Module:
    """Random statistics and scales, so that no tensor can stand for another."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and tensor.ndim > 0:
                tensor.add_(0.05 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


def saved(tmp_path: Path, state: dict[str, Tensor], suffix: str = ".pt", **beside: object) -> str:
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path)
    else:
        torch.save({"state_dict": state, **beside} if beside else state, path)
    return str(path)


def difference(model: Model, answer: Callable[[Tensor], Tensor], side: int | None = None) -> float:
    side = side or model.record.preprocess.geometry.height
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = answer(model.normalise(pixels))
    return float((model.logits(pixels) - expected).abs().max() / expected.abs().max().clamp(min=1))


TORCHVISION = {
    "alexnet": ({}, "torchvision:alexnet"),
    "squeezenet1_1": ({}, "torchvision:squeezenet1_1"),
    "mobilenet_v2": ({"width_mult": 1.0}, "torchvision:mobilenet_v2"),
    "shufflenet_v2_x0_5": ({}, "torchvision:shufflenet_v2_x0_5"),
    "mnasnet0_5": ({}, "torchvision:mnasnet0_5"),
    "regnet_y_400mf": ({}, "torchvision:regnet_y_400mf"),
    "resnet18": ({}, "resnet18"),
    "vit_b_32": ({}, "torchvision:vit_b_32"),
    "googlenet": ({"init_weights": False, "aux_logits": True, "transform_input": True}, "torchvision:googlenet"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("alexnet", "vit_b_32") else name for name in TORCHVISION],
)
def test_torchvisions_networks(name: str, tmp_path: Path) -> None:
    kwargs, arch = TORCHVISION[name]
    torch.manual_seed(0)
    network = unlike_the_start(torchvision.models.get_model(name, weights=None, num_classes=5, **kwargs))
    # resnetblur18 takes the weights of resnet18, too
    model = load(saved(tmp_path, network.state_dict()), device="cpu", choose=lambda models: models[0])
    assert model.record.arch == arch
    assert model.record.num_classes == 5
    assert difference(model, network) < 1e-4
    assert model.record.kwargs.get("aux_logits", name == "googlenet") is (name == "googlenet")


def test_googlenet_without_its_auxiliary_classifiers(tmp_path: Path) -> None:
    kwargs = {"init_weights": False, "aux_logits": False, "num_classes": 5}
    torch.manual_seed(0)
    network = torchvision.models.get_model("googlenet", weights=None, **kwargs)
    path = saved(tmp_path, unlike_the_start(network).state_dict())
    model = load(path, arch="torchvision:googlenet", kwargs={"transform_input": False}, device="cpu")
    assert difference(model, network) < 1e-4


def test_the_name_of_a_library(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = unlike_the_start(torchvision.models.squeezenet1_1(num_classes=3))
    state = network.state_dict()
    assert load(saved(tmp_path, state), arch="torchvision:squeezenet1_1", device="cpu").record.arch_origin == "--arch"
    # as pytorch/examples writes it, with DataParallel around the features alone
    inside = {name.replace("features.", "features.module."): tensor for name, tensor in state.items()}
    model = load(saved(tmp_path, inside, arch="squeezenet1_1", best_acc1=torch.tensor(50.0)), device="cpu")
    assert model.record.arch == "torchvision:squeezenet1_1"
    assert model.record.arch_origin == "checkpoint ('squeezenet1_1', as torchvision's)"
    assert difference(model, network) < 1e-4
    with pytest.raises(ModelError, match="torchvision has no classifier 'squeezenet1_l'") as caught:
        load(saved(tmp_path, state), arch="torchvision:squeezenet1_l", device="cpu")
    assert "'squeezenet1_1'" in caught.value.hint


def test_a_stated_name_that_both_libraries_have(tmp_path: Path) -> None:
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(num_classes=3)
    assert load(saved(tmp_path, resnet.state_dict(), arch="resnet18"), device="cpu").record.arch == "resnet18"
    network = unlike_the_start(torchvision.models.efficientnet_b0(num_classes=3))
    model = load(saved(tmp_path, network.state_dict(), arch="efficientnet_b0"), device="cpu")
    assert model.record.arch == "torchvision:efficientnet_b0"
    assert difference(model, network) < 1e-4


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "efficientnet_b0", "convnext_tiny", "inception_v3", "swin_t"])
def test_torchvisions_preprocessing(name: str) -> None:
    cfg = default_cfg(f"torchvision:{name}")
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert cfg["input_size"] == (3, transform.crop_size[0], transform.crop_size[0])
    assert math.floor(cfg["input_size"][1] / cfg["crop_pct"]) == transform.resize_size[0]
    assert cfg["interpolation"] == transform.interpolation.value
    assert (list(cfg["mean"]), list(cfg["std"])) == (transform.mean, transform.std)


@pytest.mark.slow
def test_the_size_of_a_torchvision_transformer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = unlike_the_start(torchvision.models.vit_b_32(image_size=64, num_classes=3))
    model = load(
        saved(tmp_path, network.state_dict()), arch="torchvision:vit_b_32", kwargs={"img_size": 64}, device="cpu"
    )
    assert difference(model, network) < 1e-4
    with pytest.raises(ModelError, match="only square images"):
        load(
            saved(tmp_path, network.state_dict()),
            arch="torchvision:vit_b_32",
            device="cpu",
            overrides=PreprocessOverrides(img_size=(64, 96)),
        )


def as_in_swins_repository(network: nn.Module) -> dict[str, Tensor]:
    """microsoft/Swin-Transformer: patch merging belongs to the stage before, tables of positions are stored."""
    state = {}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if len(parts) > 2 and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        state[".".join(parts).replace("head.fc.", "head.")] = tensor
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    return state


def as_in_convnexts_repository(network: nn.Module) -> dict[str, Tensor]:
    """facebookresearch/ConvNeXt."""
    words = {"conv_dw": "dwconv", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2", "stem": "downsample_layers.0"}
    words |= {"head.norm": "norm", "head.fc": "head"}
    state = {}
    for name, tensor in network.state_dict().items():
        short = name
        for ours, theirs in words.items():
            short = short.replace(f"{ours}.", f"{theirs}.")
        short = short.replace(".blocks.", ".")
        if ".downsample." in short:
            short = short.replace("stages.", "downsample_layers.").replace(".downsample.", ".")
        state[short] = tensor
    return state


@pytest.mark.parametrize(
    ("arch", "original"),
    [("swin_tiny_patch4_window7_224", as_in_swins_repository), ("convnext_tiny", as_in_convnexts_repository)],
)
def test_files_of_original_repositories(
    arch: str, original: Callable[[nn.Module], dict[str, Tensor]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = unlike_the_start(create(arch, {"num_classes": 6}))
    state = original(network)
    assert state.keys() != network.state_dict().keys()
    torch.save({"model": state}, tmp_path / "net.pth")
    model = load(str(tmp_path / "net.pth"), arch=arch, device="cpu")
    assert any("original repository" in note for note in model.record.notes)
    assert model.record.num_classes == 6
    assert difference(model, network) < 1e-4


def test_a_conversion_is_no_way_around_another_input_size(tmp_path: Path) -> None:
    state = create("vit_tiny_patch16_224", {"img_size": 96, "num_classes": 3}).state_dict()
    with pytest.raises(ModelError, match="pos_embed") as caught:
        load(saved(tmp_path, state), arch="vit_tiny_patch16_224", device="cpu")
    assert "--img-size" in caught.value.hint


def vit(transformers: Any, **given: object) -> tuple[nn.Module, dict[str, Any]]:
    sizes = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 384}
    config = transformers.ViTConfig(**{**sizes, "image_size": 48, "patch_size": 16, "num_labels": 5, **given})
    return transformers.ViTForImageClassification(config), config.to_dict()


def deit(transformers: Any, teacher: bool) -> tuple[nn.Module, dict[str, Any]]:
    sizes = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768}
    config = transformers.DeiTConfig(**sizes, image_size=48, patch_size=16, num_labels=5)
    kind = f"DeiTForImageClassification{'WithTeacher' if teacher else ''}"
    return getattr(transformers, kind)(config), config.to_dict()


def resnet(transformers: Any, kind: str, depths: tuple[int, ...], sizes: tuple[int, ...], stem: int) -> Any:
    config = transformers.ResNetConfig(
        layer_type=kind, depths=list(depths), hidden_sizes=list(sizes), embedding_size=stem, num_labels=5
    )
    return transformers.ResNetForImageClassification(config), config.to_dict()


TRANSFORMERS = {
    "ViT": vit,
    "ViT, another epsilon": lambda t: vit(t, layer_norm_eps=1e-3),
    "ViT, ReLU, 6 heads": lambda t: vit(t, hidden_act="relu", num_attention_heads=6),
    "ViT, no qkv bias": lambda t: vit(t, qkv_bias=False),
    "DeiT with teacher": lambda t: deit(t, teacher=True),
    "DeiT": lambda t: deit(t, teacher=False),
    "ResNet-18": lambda t: resnet(t, "basic", (2, 2, 2, 2), (64, 128, 256, 512), 64),
    "ResNet, narrow": lambda t: resnet(t, "bottleneck", (1, 2, 1, 1), (32, 64, 96, 128), 64),
}


@pytest.mark.parametrize("case", TRANSFORMERS)
def test_transformers_with_its_config(case: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs, config = TRANSFORMERS[case](transformers)
    unlike_the_start(theirs)
    arch, kwargs, tensors = from_transformers(config, theirs.state_dict())
    network = create(arch, {**kwargs, "num_classes": 5}).eval()
    network.load_state_dict(tensors, strict=True)
    pixels = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        expected = theirs(pixels).logits
        assert torch.allclose(network(pixels), expected, atol=1e-4 * max(1, float(expected.abs().max())))


BARE = {
    "ViT": (vit, ".safetensors", {}),
    "ViT in memory": (vit, ".bin", {}),
    "DeiT": (lambda t: deit(t, teacher=True), ".bin", {}),
    "ResNet-18": (TRANSFORMERS["ResNet-18"], ".safetensors", {}),
    "ViT, unusual": (lambda t: vit(t, hidden_size=48, num_attention_heads=4), ".bin", {"num_heads": 4}),
}


@pytest.mark.parametrize("case", BARE)
def test_transformers_weights_alone(case: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    make, suffix, kwargs = BARE[case]
    torch.manual_seed(0)
    theirs, _ = make(transformers)
    unlike_the_start(theirs)
    if suffix == ".safetensors":
        theirs.save_pretrained(tmp_path)  # in the names of its files, which are not those in memory
        path = str(tmp_path / "model.safetensors")
    else:
        path = saved(tmp_path, theirs.state_dict(), suffix)
    model = load(path, kwargs=kwargs, device="cpu")
    assert any("transformers'" in note for note in model.record.notes)
    assert model.record.num_classes == 5
    assert difference(model, lambda pixels: theirs(pixels).logits, 48) < 1e-4


def test_another_input_size_of_transformers_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs, _ = vit(transformers)  # 48 pixels
    path = saved(tmp_path, theirs.state_dict())
    model = load(path, overrides=PreprocessOverrides(img_size=96), device="cpu")
    assert model.record.preprocess.geometry.height == 96
    assert any("resampled to 96x96" in note for note in model.record.notes)


def test_what_a_vision_transformer_of_transformers_must_say(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs, config = vit(transformers, hidden_size=48, num_attention_heads=4)
    with pytest.raises(ModelError, match="48 wide; how many attention heads") as caught:
        load(saved(tmp_path, theirs.state_dict()), device="cpu")
    assert "num_heads=N" in caught.value.hint
    with pytest.raises(ModelError, match="activation 'tanh' is not known"):
        from_transformers({**config, "hidden_act": "tanh"}, theirs.state_dict())
    with pytest.raises(ModelError, match="model type 'bert' is not known; known are vit, deit, resnet, clip"):
        from_transformers({"model_type": "bert"}, {})
    headless = {name: one for name, one in theirs.state_dict().items() if not name.startswith("classifier")}
    with pytest.raises(ModelError, match="without a classifier"):
        from_transformers(config, headless)


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    """open_clip's smallest network of the original layout."""
    torch.manual_seed(0)
    return unlike_the_start(build("ViT-S-32-alt", {}))


def test_clip_of_transformers_in_open_clips_names() -> None:
    transformers = pytest.importorskip("transformers")
    import open_clip

    tower = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256}
    act = {"hidden_act": "gelu"}
    config = transformers.CLIPConfig(
        text_config={**tower, **act, "vocab_size": 100, "eos_token_id": 99},
        vision_config={**tower, **act, "image_size": 32, "patch_size": 16},
        projection_dim=24,
    )
    torch.manual_seed(0)
    theirs = unlike_the_start(transformers.CLIPModel(config))
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 64}
    text = {"context_length": 77, "vocab_size": 100, "width": 64, "heads": 1, "layers": 2}
    ours = open_clip.CLIP(24, vision, text).eval()
    ours.load_state_dict(clip_names(theirs.state_dict()), strict=True)
    pixels = torch.rand(2, 3, 32, 32)
    tokens = torch.tensor([[1, 7, 9, 99, *[0] * 73]])
    with torch.no_grad():
        both = theirs(input_ids=tokens, pixel_values=pixels)
        image = ours.encode_image(pixels, normalize=True)
        words = ours.encode_text(tokens, normalize=True)
    assert torch.allclose(image, both.image_embeds, atol=1e-4)
    assert torch.allclose(words, both.text_embeds, atol=1e-4)


@pytest.mark.parametrize(("act", "arch"), [("quick_gelu", "ViT-B-32-quickgelu"), ("gelu", "ViT-B-32")])
def test_which_clip_of_open_clip(act: str, arch: str) -> None:
    """openai/clip-vit-base-patch32 and laion's of the same sizes, without memory for their weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPConfig(text_config={"hidden_act": act}, vision_config={"hidden_act": act})
    with torch.device("meta"):
        theirs = transformers.CLIPModel(config).state_dict()
        names = build(arch, {}).state_dict().keys()
    found, kwargs, tensors = from_transformers(config.to_dict(), theirs)
    assert (found, kwargs) == (f"open_clip:{arch}", {})
    assert tensors.keys() == names


CLASSES = ("a dog", "a cat", "a bird")


def test_a_file_of_open_clip(clip: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, {f"module.{name}": tensor for name, tensor in clip.state_dict().items()}, epoch=3)
    model = load(path, class_names=CLASSES, device="cpu")
    assert model.record.arch.removeprefix("open_clip:") == "ViT-S-32-alt"
    assert model.record.num_classes == 3
    with pytest.raises(ModelError, match="does not fit the architecture 'torchvision:vit_b_32'"):
        load(path, arch="torchvision:vit_b_32", device="cpu")


@pytest.mark.slow
def test_quick_gelu_leaves_no_trace_but_openais_numbers_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build("ViT-B-32-quickgelu", {}).half().state_dict()
    path = saved(tmp_path, state)
    draft = draft_from_file(path, Request(class_names=CLASSES))
    assert {str(draft.identity["arch"]), *draft.rivals} == {"open_clip:ViT-B-32", "open_clip:ViT-B-32-quickgelu"}
    assert "GELU" in draft.undecided.message
    numbers = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    path = saved(tmp_path, state | {name: torch.tensor(value) for name, value in numbers.items()})
    draft = draft_from_file(path, Request(class_names=CLASSES))
    assert str(draft.identity["arch"]).endswith("ViT-B-32-quickgelu")
    assert (draft.rivals, draft.undecided) == ((), None)
    assert any("QuickGELU" in note for note in draft.notes)
