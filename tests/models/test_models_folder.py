"""Folders as timm, transformers and open_clip save them, with random weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_networks import build
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import Tensor, nn

from spuraudit.data.geometry import place, resized_size
from spuraudit.errors import ModelError, UsageError
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.from_folder import _merged
from spuraudit.models.processor_config import overrides_of
from spuraudit.models.request import Request
from spuraudit.record.geometry import Geometry

SMALL_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}


def timm_folder(path: Path, arch: str = "test_resnet", safe: object = True, **kwargs: object) -> nn.Module:
    network = build(arch, **{"num_classes": 7, **kwargs}).eval()
    save_for_hf(network, str(path), safe_serialization=safe)  # type: ignore[arg-type]
    return network


def edit(path: Path, **changes: object) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in {**config, **changes}.items() if value is not ...}))


def pixels_of(model: object) -> Tensor:
    geometry = model.record.preprocess.geometry
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, geometry.height, geometry.width, generator=generator)


def same_answers(model: object, network: nn.Module) -> bool:
    pixels = pixels_of(model)
    with torch.no_grad():
        answer = network.eval()(model.normalise(pixels))
    return torch.allclose(model.logits(pixels), getattr(answer, "logits", answer), rtol=1e-4, atol=1e-5)


def test_a_folder_of_timm_and_its_record(tmp_path: Path) -> None:
    network = timm_folder(tmp_path / "my_net", safe="both")
    config = json.loads((tmp_path / "my_net" / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3], "crop_pct": 0.8, "interpolation": "bicubic"}
    (tmp_path / "my_net" / "config.json").write_text(json.dumps(config))
    model = load(f"local-dir:{tmp_path / 'my_net'}", device="cpu")
    record = model.record
    assert (record.source, record.name, record.file) == ("local-dir", "my_net", "model.safetensors")
    weights = tmp_path / "my_net" / "model.safetensors"
    assert record.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record.size_bytes == weights.stat().st_size
    assert (record.arch, record.num_classes, record.kwargs["num_classes"]) == ("test_resnet", 7, 7)
    assert record.arch_origin == "config.json, with num_classes=7, global_pool=avg from config.json"
    assert record.notes[0].startswith("config.json's own arguments were used: num_classes=7")
    preprocess = record.preprocess
    assert preprocess.mean == (0.1, 0.2, 0.3)
    assert (preprocess.geometry.crop_pct, preprocess.geometry.interpolation) == (0.8, "bicubic")
    assert (preprocess.geometry.height, preprocess.geometry.width) == (160, 160)
    assert set(preprocess.origin.values()) == {"config.json"}
    assert str(tmp_path) not in record.model_dump_json()
    assert same_answers(model, network)
    # the user's word wins
    other = load(f"local-dir:{tmp_path / 'my_net'}", overrides=PreprocessOverrides(mean=(0.4,)), device="cpu")
    assert other.record.preprocess.origin["mean"] == "--mean"
    # the other form of the same weights
    weights.unlink()
    pickled = load(f"local-dir:{tmp_path / 'my_net'}", device="cpu")
    assert pickled.record.file == "pytorch_model.bin"
    assert same_answers(pickled, network)


@pytest.mark.parametrize("size", [96, (96, 64)])
def test_the_size_that_the_saved_network_was_built_for(size: object, tmp_path: Path) -> None:
    network = timm_folder(tmp_path, "test_vit", img_size=size, global_pool="avg")
    model = load(f"local-dir:{tmp_path}", device="cpu")
    geometry = model.record.preprocess.geometry
    assert (geometry.height, geometry.width) == ((96, 96) if size == 96 else size)
    assert model.record.kwargs["global_pool"] == "avg"
    assert same_answers(model, network)


def test_the_flat_config_of_older_timm(tmp_path: Path) -> None:
    network = timm_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    flat = {**config["pretrained_cfg"], "architecture": "test_resnet", "std": [0.3, 0.3, 0.3]}
    (tmp_path / "config.json").write_text(json.dumps(flat))
    model = load(f"local-dir:{tmp_path}", device="cpu")
    assert model.record.preprocess.std == (0.3, 0.3, 0.3)
    assert same_answers(model, network)


def test_a_timm_network_in_the_wrapper_of_transformers(tmp_path: Path) -> None:
    network = timm_folder(tmp_path)
    state = {f"timm_model.{name}": tensor for name, tensor in network.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    edit(tmp_path / "config.json", model_type="timm_wrapper", architectures=["TimmWrapperForImageClassification"])
    assert same_answers(load(f"local-dir:{tmp_path}", device="cpu"), network)


def break_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text('{\n  "architecture": "test_resnet",\n  "num_classes" 7\n}')


def break_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def break_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def break_architecture(folder: Path) -> None:
    edit(folder / "config.json", architecture="test_resnett")


def break_no_architecture(folder: Path) -> None:
    edit(folder / "config.json", architecture=...)


def break_head(folder: Path) -> None:
    edit(folder / "config.json", num_classes=9)


def break_arguments(folder: Path) -> None:
    edit(folder / "config.json", model_args={"block_args": {"a": 1}})


def break_weights(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in state.items() if name != "fc.bias"}, folder / "model.safetensors")


BROKEN = {
    break_no_config: (r"holds neither config\.json nor open_clip_config\.json", "checkpoint file"),
    break_config: (r"config\.json is not JSON: line 3: Expecting ':'", "truncated"),
    break_list: (r"config\.json holds a list", None),
    break_no_weights: (r"holds no weights: none of model\.safetensors, model\.safetensors\.index\.json", "--arch"),
    break_architecture: (r"config\.json: Unknown architecture 'test_resnett'", "'test_resnet'"),
    break_no_architecture: (r"names no architecture: neither 'architecture' \(timm\) nor 'model_type'", "--arch"),
    break_head: (r"config\.json states 9 outputs, but fc\.weight in model\.safetensors has 7", "num_classes=N"),
    break_arguments: (r"model_args has block_args=\{'a': 1\}", "--model-kwargs"),
    break_weights: (r"model\.safetensors does not fit .*1 missing in the file \(fc\.bias\)", "Some layers differ"),
}


@pytest.mark.parametrize("breaking", BROKEN, ids=lambda one: one.__name__)
def test_folders_that_are_no_model(breaking: object, tmp_path: Path) -> None:
    timm_folder(tmp_path)
    breaking(tmp_path)
    message, hint = BROKEN[breaking]
    with pytest.raises(ModelError, match=message) as caught:
        load(f"local-dir:{tmp_path}", device="cpu")
    assert hint is None or hint in caught.value.hint


def test_a_wrong_number_of_outputs_can_be_overruled(tmp_path: Path) -> None:
    network = timm_folder(tmp_path)
    edit(tmp_path / "config.json", num_classes=9)
    model = load(f"local-dir:{tmp_path}", kwargs={"num_classes": 7}, device="cpu")
    assert same_answers(model, network)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load(f"local-dir:{tmp_path / 'none'}", device="cpu")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file, not a folder"):
        load(f"local-dir:{tmp_path / 'file'}", device="cpu")


def test_text_options_are_for_zero_shot_models(tmp_path: Path) -> None:
    timm_folder(tmp_path)
    with pytest.raises(UsageError, match="--classnames had no effect"):
        load(f"local-dir:{tmp_path}", class_names=("a", "b"), device="cpu")


def shard(folder: Path, network: nn.Module) -> list[Path]:
    """The same weights in two files and an index, as transformers cuts them."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = list(state)
    files = {"model-00001-of-00002.safetensors": names[: len(names) // 2], "model-00002-of-00002.safetensors": []}
    files["model-00002-of-00002.safetensors"] = names[len(names) // 2 :]
    for file, part in files.items():
        save_file({name: state[name] for name in part}, folder / file)
    table = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    (folder / "model.safetensors").unlink()
    return [folder / file for file in files]


def test_shards_are_merged(tmp_path: Path) -> None:
    network = timm_folder(tmp_path)
    first, second = shard(tmp_path, network)
    model = load(f"local-dir:{tmp_path}", device="cpu")
    assert same_answers(model, network)
    assert model.record.file == "model.safetensors.index.json"
    assert model.record.sha256 == hashlib.sha256(first.read_bytes() + second.read_bytes()).hexdigest()
    assert model.record.size_bytes == first.stat().st_size + second.stat().st_size


def test_a_prefix_of_one_shard_is_not_one_of_the_whole(tmp_path: Path) -> None:
    parts = {"a.safetensors": {"model.0.weight": torch.ones(2)}, "b.safetensors": {"head.weight": torch.zeros(3)}}
    for file, tensors in parts.items():
        save_file(tensors, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.0.weight": "a.safetensors", "head.weight": "b.safetensors"}}))
    merged = _merged(index, Request()).tensors
    assert sorted(merged) == ["head.weight", "model.0.weight"]
    assert torch.equal(merged["model.0.weight"], torch.ones(2))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"fc.weight": "gone.safetensors"}, r"lists gone\.safetensors, which is not there"),
        ({"fc.weight": "../model.safetensors"}, r"points outside its folder: '\.\./model\.safetensors'"),
        ({"other": "model-00001-of-00002.safetensors"}, r"lacks 'other', which model\.safetensors\.index\.json places"),
        ({}, "lists no files"),
        (["fc.weight"], "lists no files"),
    ],
)
def test_an_index_that_is_wrong(table: object, message: str, tmp_path: Path) -> None:
    shard(tmp_path, timm_folder(tmp_path))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(ModelError, match=message):
        load(f"local-dir:{tmp_path}", device="cpu")


def vit_of_transformers(folder: Path, **processor: object) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL_VIT, num_labels=5))
    network.save_pretrained(folder)
    if processor:
        transformers.ViTImageProcessor(**processor).save_pretrained(folder)
    return network


def test_a_vision_transformer_of_transformers(tmp_path: Path) -> None:
    size = {"height": 32, "width": 32}
    network = vit_of_transformers(tmp_path, size=size, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.2, 0.2])
    model = load(f"local-dir:{tmp_path}", device="cpu")
    record = model.record
    assert (record.num_classes, record.file, record.name) == (5, "model.safetensors", tmp_path.name)
    assert record.preprocess.mean == (0.4, 0.5, 0.6)
    assert record.preprocess.origin["std"] == "preprocessor_config.json"
    geometry = record.preprocess.geometry
    assert (geometry.height, geometry.crop_pct, geometry.crop_mode, geometry.interpolation) == (
        32,
        1.0,
        "squash",
        "bilinear",
    )
    assert same_answers(model, network)


def test_a_missing_processor_is_said(tmp_path: Path) -> None:
    network = vit_of_transformers(tmp_path)
    model = load(f"local-dir:{tmp_path}", device="cpu")
    assert any("There is no preprocessor_config.json" in note for note in model.record.notes)
    assert model.record.preprocess.geometry.height == 32
    assert model.record.preprocess.origin["mean"] == "timm"
    assert same_answers(model, network)


def test_labels_that_disagree_with_the_head(tmp_path: Path) -> None:
    vit_of_transformers(tmp_path)
    edit(tmp_path / "config.json", id2label={"0": "a", "1": "b"})
    with pytest.raises(ModelError, match=r"states 2 outputs, but head\.weight in model\.safetensors has 5"):
        load(f"local-dir:{tmp_path}", device="cpu")


def test_a_resnet_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 32, 64, 128], depths=[1, 1, 1, 1], layer_type="basic", num_labels=5
    )
    network = transformers.ResNetForImageClassification(config)
    network.save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.8).save_pretrained(tmp_path)
    model = load(f"local-dir:{tmp_path}", device="cpu")
    geometry = model.record.preprocess.geometry
    assert (geometry.height, geometry.crop_pct, geometry.crop_mode) == (64, 0.8, "center")
    assert same_answers(model, network)


def test_a_type_of_transformers_that_is_not_known(tmp_path: Path) -> None:
    vit_of_transformers(tmp_path)
    edit(tmp_path / "config.json", model_type="segformer")
    with pytest.raises(ModelError, match=r"'segformer' is not known; known are vit, "):
        load(f"local-dir:{tmp_path}", device="cpu")


TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def tiny_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A small architecture that open_clip knows by name, and a cache of text heads of the test's own."""
    monkeypatch.setenv("SPURAUDIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny-in-a-folder.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(tmp_path / "configs")
    yield "tiny-in-a-folder"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path / "configs")
    del open_clip.factory._MODEL_CONFIGS["tiny-in-a-folder"]


def test_a_folder_of_open_clip(tiny_clip: str, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.create_model(tiny_clip, pretrained=None).eval()
    folder = tmp_path / "clip"
    folder.mkdir()
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    described = {**TINY_CLIP, "text_cfg": {**TINY_CLIP["text_cfg"], "hf_tokenizer_name": "some-org/this-very-repo"}}
    stated = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": described, "preprocess_cfg": stated}))
    # timm's config of the image tower lies beside it and has no classifier
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", "num_classes": 0}))
    names = ("a cat", "a crane", "a boat")
    model = load(f"local-dir:{folder}", class_names=names, templates="simple", device="cpu")
    record = model.record
    assert (record.source, record.name, record.file) == ("local-dir", "clip", "open_clip_model.safetensors")
    assert (record.arch, record.arch_origin) == (f"open_clip:{tiny_clip}", "open_clip_config.json")
    assert record.preprocess.mean == (0.1, 0.2, 0.3)
    assert (record.preprocess.geometry.crop_mode, record.preprocess.geometry.interpolation) == ("squash", "bilinear")
    assert record.num_classes == 3
    # the same as the file by its architecture's name
    by_name = load(
        f"open_clip:{tiny_clip},{folder / 'open_clip_model.safetensors'}",
        overrides=PreprocessOverrides(mean=(0.1, 0.2, 0.3), std=(0.5,)),
        class_names=names,
        templates="simple",
        device="cpu",
    )
    assert by_name.record.sha256 == record.sha256
    assert torch.equal(by_name.logits(pixels_of(model)), model.logits(pixels_of(model)))
    with pytest.raises(UsageError, match="--arch has no effect"):
        load(f"local-dir:{folder}", class_names=names, arch="vit_tiny_patch16_224", device="cpu")
    edit(folder / "open_clip_config.json", model_cfg={**TINY_CLIP, "embed_dim": 24})
    with pytest.raises(ModelError, match="describes none of open_clip's"):
        load(f"local-dir:{folder}", class_names=names, device="cpu")


@pytest.mark.slow
def test_a_clip_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("SPURAUDIT_CACHE", str(tmp_path / "cache"))
    shape = open_clip.get_model_config("ViT-S-32-alt")
    text, vision = shape["text_cfg"], shape["vision_cfg"]
    config = transformers.CLIPConfig(
        projection_dim=shape["embed_dim"],
        text_config={
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_attention_heads": text["heads"],
            "num_hidden_layers": text["layers"],
            "hidden_act": "gelu",
            "projection_dim": shape["embed_dim"],
        },
        vision_config={
            "hidden_size": vision["width"],
            "intermediate_size": 4 * vision["width"],
            "num_attention_heads": vision["width"] // 64,
            "num_hidden_layers": vision["layers"],
            "patch_size": vision["patch_size"],
            "image_size": vision["image_size"],
            "hidden_act": "gelu",
            "projection_dim": shape["embed_dim"],
        },
    )
    network = transformers.CLIPModel(config).eval()
    network.save_pretrained(tmp_path / "clip")
    side = vision["image_size"]
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(tmp_path / "clip")
    model = load(f"local-dir:{tmp_path / 'clip'}", class_names=("a cat", "a boat"), templates="simple", device="cpu")
    assert (model.record.arch, model.record.arch_origin) == ("open_clip:ViT-S-32-alt", "config.json")
    assert model.record.preprocess.geometry.crop_mode == "center"
    pixels = pixels_of(model)
    with torch.no_grad():
        features = network.get_image_features(pixel_values=model.normalise(pixels))
    features = getattr(features, "pooler_output", features)
    ours = model.network.visual(model.normalise(pixels))
    assert torch.allclose(nn.functional.normalize(ours), nn.functional.normalize(features), atol=1e-5)
    edit(tmp_path / "clip" / "preprocessor_config.json", size={"shortest_edge": side + 32})
    with pytest.raises(ModelError, match="resized to more than the input size"):
        load(f"local-dir:{tmp_path / 'clip'}", class_names=("a cat", "a boat"), device="cpu")


PROCESSORS = {
    "squash": ("ViTImageProcessor", {"size": {"height": 40, "width": 32}}),
    "squash and crop": (
        "DeiTImageProcessor",
        {"size": {"height": 48, "width": 48}, "crop_size": {"height": 42, "width": 42}},
    ),
    "shorter edge and crop": (
        "BitImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}},
    ),
    "CLIP": ("CLIPImageProcessor", {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}),
    "a number": ("CLIPImageProcessor", {"size": 48, "crop_size": 40}),
    "a number for both sides": ("ViTImageProcessor", {"size": 40}),
    "ConvNeXt": ("ConvNextImageProcessor", {"size": {"shortest_edge": 56}, "crop_pct": 0.875}),
    "large ConvNeXt": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "other scale": (
        "ViTImageProcessor",
        {"size": {"height": 32, "width": 32}, "do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3},
    ),
    "no normalisation": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "do_normalize": False}),
    "bicubic": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "resample": 3}),
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_the_same_pixels_as_transformers_own_processor(case: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    name, arguments = PROCESSORS[case]
    processor = getattr(transformers, name)(**arguments)
    processor.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "preprocessor_config.json").read_text())
    stated = overrides_of({**config, **({"size": arguments["size"]} if "number" in case else {})}, "the file")
    height, width = stated.img_size
    geometry = Geometry(
        height=height,
        width=width,
        crop_pct=stated.crop_pct,
        crop_mode=stated.crop_mode,
        interpolation=stated.interpolation,
    )
    # Smooth, so that filters of two libraries agree, and without symmetry.
    y, x = np.mgrid[0:120, 0:90] / 120
    photo = np.stack([0.5 + 0.4 * np.sin(4 * x + y), 0.9 * y, 0.3 + 0.6 * x * y], axis=-1)
    image = Image.fromarray((255 * photo).astype(np.uint8))
    theirs = processor(images=image, return_tensors="pt")["pixel_values"][0]
    ours = torch.from_numpy(np.array(place(image, geometry))).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(value).reshape(-1, 1, 1) for value in (stated.mean, stated.std))
    assert theirs.shape == ours.shape
    # two grey levels: both round to 8 bits after each step
    assert ((ours - mean) / std - theirs).abs().max() <= 2.01 / 255 / std.min()


def config_with(**changes: object) -> dict[str, object]:
    usual = {"image_processor_type": "ViTImageProcessor", "size": 224, "image_mean": [0.5], "image_std": [0.5]}
    return {key: value for key, value in {**usual, "resample": 2, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_processor_type": "LevitImageProcessor"}, "how LevitImageProcessor prepares images is not known"),
        ({"do_flip_channel_order": True}, "blue, green, red"),
        ({"do_resize": False}, "not resized"),
        ({"rescale_offset": True}, "rescale_offset"),
        ({"rescale_factor": "x"}, "rescale_factor is 'x'"),
        ({"rescale_factor": 1.0, "image_mean": ...}, "image_mean and image_std are not stated"),
        ({"image_mean": [None]}, r"image_mean is \[None\]"),
        ({"resample": 5}, r"resample is 5; known are 0 \(nearest\)"),
        ({"size": {"longest_edge": 200}}, "neither height and width nor a shortest edge"),
        ({"size": ...}, "size is None"),
        ({"do_center_crop": True, "crop_size": 300}, "300 pixels cannot be cut out of 224"),
        (
            {"size": {"height": 100, "width": 200}, "do_center_crop": True, "crop_size": 100},
            "another share of the height than of the width",
        ),
        (
            {
                "size": {"shortest_edge": 100},
                "do_center_crop": True,
                "crop_size": {"height": 90, "width": 80},
            },
            "is not a square",
        ),
    ],
)
def test_processors_that_do_something_else(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        overrides_of(config_with(**changes), "preprocessor_config.json")


@given(st.integers(1, 600), st.integers(0, 300))
def test_the_resize_is_to_the_pixel(side: int, more: int) -> None:
    config = config_with(size=side + more, do_center_crop=True, crop_size=side)
    stated = overrides_of(config, "preprocessor_config.json")
    geometry = Geometry(height=side, width=side, crop_pct=stated.crop_pct, crop_mode="squash")
    assert resized_size((777, 555), geometry) == (side + more, side + more)
