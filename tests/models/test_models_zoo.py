"""zoo:ENTRY: the shipped zoo's specs exist, its files are asked for, and entries load as their sources load them."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from model_networks import build
from torch import Tensor

from spuraudit.errors import ModelError, UsageError
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.adapters import BUILDERS
from spuraudit.models.adapters.mocov3 import position_table
from spuraudit.models.architectures import create
from spuraudit.models.from_zoo import draft_from_adapter, draft_of_entry, request_of
from spuraudit.models.loading import SOURCES
from spuraudit.models.request import Request
from spuraudit.record.zoo_file import ZooEntry, load_zoo

SHIPPED = load_zoo()
# What timm 0.4.12 loaded under the bare names of 2022; None: this timm no longer states an address.
OF_2022 = {
    "deit-t-16": "deit_tiny_patch16_224-a1311bcf",
    "deit-s-16": "deit_small_patch16_224-cd65a155",
    "deit-b-16": "deit_base_patch16_224-b5f2ef4d",
    "swin-b-4-window7": "swin_base_patch4_window7_224_22kto1k",
    "swin-s-4-window7": "swin_small_patch4_window7_224.pth",
    "swin-t-4-window7": "swin_tiny_patch4_window7_224.pth",
    "vit-t-16": "Ti_16-i21k-300ep",
    "vit-s-16": "S_16-i21k-300ep",
    "vit-s-32": "S_32-i21k-300ep",
    "vit-b-16": "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_224",
    "vit-b-32": "B_32-i21k-300ep",
    "efficientnet-b0": "efficientnet_b0_ra-3dd342df",
    "efficientnet-b4": "efficientnet_b4_ra2_320-7eb33cd5",
    "mnasnet-a1": "mnasnet_a1-d9418771",
    "mobilenetv2-100": "mobilenetv2_100_ra-b33bc2c4",
    "resnet18": "download.pytorch.org/models/resnet18-",
    "resnet34": "resnet34-43635321",
    "resnet50": "resnet50_ram-a26f946b",
    "resnext50-32x4d": "resnext50_32x4d_ra-d733960d",
    "wide-resnet50": "wide_resnet50_racm-8234f177",
    "wide-resnet101": "wide_resnet101_2-32ee1156",
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPURAUDIT_ZOO", "SPURAUDIT_ZOO_FILES"):
        monkeypatch.delenv(name, raising=False)


def brought(entry: ZooEntry) -> list[str]:
    """Names of the files that the user brings."""
    if entry.adapter is not None:
        return list(entry.adapter.files.values())
    return [] if ":" in str(entry.spec) else [str(entry.spec)]


@pytest.mark.parametrize("entry", SHIPPED.entries, ids=lambda entry: entry.id)
def test_every_shipped_entry_names_something_that_exists(entry: ZooEntry) -> None:
    if entry.adapter is not None:
        assert entry.adapter.kind in BUILDERS
        return
    word, _, name = str(entry.spec).partition(":")
    if word == "timm":
        for spec in (name, *(other.removeprefix("timm:") for other in entry.alternatives)):
            assert spec in timm.list_models(pretrained=True)
        url = timm.get_pretrained_cfg(name).url
        assert (OF_2022.get(entry.id) or "") in (url or "")
        assert bool(url) == (entry.id in OF_2022)
    elif word == "open_clip":
        arch, _, tag = name.partition(",")
        assert (arch, tag) in open_clip.list_pretrained()
        assert (entry.classnames, entry.templates) == ("imagenet", "openai")
    else:
        assert entry.arch in timm.list_models()
        assert name == ""
    assert word in SOURCES or name == ""


@pytest.mark.parametrize("entry", SHIPPED.entries, ids=lambda entry: entry.id)
def test_every_shipped_entry_resolves_without_a_download(entry: ZooEntry, tmp_path: Path) -> None:
    if brought(entry):
        with pytest.raises(ModelError, match=f"model_zoo.yaml, line {entry.line}: .*{entry.id}") as error:
            draft_of_entry(entry, Request())
        assert brought(entry)[0] in error.value.message
        assert str(entry.get).strip() in str(error.value.hint)
        assert "SPURAUDIT_ZOO_FILES" in str(error.value.hint)
    for name in brought(entry):
        (tmp_path / name).touch()
    there = next(one for one in load_zoo(files=tmp_path).entries if one.id == entry.id)
    spec, request = request_of(there, Request())
    if there.adapter is not None:
        assert spec == f"zoo:{SHIPPED.file}#{there.id}"
    elif brought(there):
        assert spec == str(tmp_path / str(there.spec))
    else:
        assert spec == there.spec
    assert request.overrides == PreprocessOverrides(**there.preprocess)
    assert (request.class_names is not None) == (there.group in ("CLIP ViTs", "CLIP ResNets"))
    assert request.class_names is None or len(request.class_names) == 1000


def test_the_authors_preset_is_for_timm_models_alone() -> None:
    own, authors = load_zoo(preset="own"), load_zoo(preset="si-authors")
    assert own == SHIPPED
    for before, after in zip(own.entries, authors.entries, strict=True):
        if str(before.spec).startswith("timm:"):
            assert before.preprocess == {}
            assert after.preprocess == {
                "img_size": (224, 224), "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bilinear",
                "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
            }  # fmt: skip
        else:
            assert after == before


def network_and_file(folder: Path, name: str = "mine.pt") -> torch.nn.Module:
    network = build("test_resnet", num_classes=5)
    torch.save(network.state_dict(), folder / name)
    return network


MINE = """\
version: 1
models:
- id: mine
  name: My network
  spec: weights/mine.pt
  arch: test_resnet
  preprocess: {mean: 0.4, std: [0.3, 0.3, 0.3], crop_pct: 0.9, img_size: 128}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    network_and_file(tmp_path / "weights")
    (tmp_path / "my.yaml").write_text(MINE)
    return tmp_path / "my.yaml"


def test_an_entry_loads_as_its_file_does(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(f"zoo:{mine}#mine", device="cpu")
    record = model.record
    assert (record.name, record.source, record.file, record.arch) == ("My network", "file", "mine.pt", "test_resnet")
    assert record.arch_origin == "zoo file"
    assert (record.preprocess.mean, record.preprocess.std) == ((0.4,) * 3, (0.3,) * 3)
    assert (record.preprocess.geometry.height, record.preprocess.geometry.crop_pct) == (128, 0.9)
    origin = record.preprocess.origin
    assert {origin[name] for name in ("mean", "std", "crop_pct", "img_size")} == {"zoo file"}
    assert origin["interpolation"] == "timm"
    assert record.notes[0] == "Zoo entry 'mine' of my.yaml."
    plain = load(
        str(mine.parent / "weights" / "mine.pt"),
        arch="test_resnet",
        overrides=PreprocessOverrides(mean=(0.4,), std=(0.3,), crop_pct=0.9, img_size=128),
        device="cpu",
    )
    pixels = torch.rand(2, 3, 128, 128)
    assert torch.equal(model.logits(pixels), plain.logits(pixels))
    monkeypatch.setenv("SPURAUDIT_ZOO", str(mine))
    assert load("zoo:mine", device="cpu").record == record


def test_the_command_line_wins_over_the_entry(mine: Path) -> None:
    overrides = PreprocessOverrides(mean=(0.1,), img_size=160)
    record = load(f"zoo:{mine}#mine", overrides=overrides, kwargs={"drop_rate": 0.2}, device="cpu").record
    assert record.preprocess.mean == (0.1,) * 3
    assert record.preprocess.geometry.height == 160
    assert (record.preprocess.origin["mean"], record.preprocess.origin["std"]) == ("--mean", "zoo file")
    assert record.preprocess.origin["img_size"] == "--img-size"
    assert record.kwargs["drop_rate"] == 0.2
    with pytest.raises(ModelError, match="does not fit the architecture 'resnet18'"):
        load(f"zoo:{mine}#mine", arch="resnet18", device="cpu")


def test_one_input_size_wherever_it_was_said(mine: Path) -> None:
    (entry,) = load_zoo(mine).entries
    _, request = request_of(entry, Request(kwargs={"img_size": 96}))
    assert (request.overrides.img_size, request.kwargs) == (None, {"img_size": 96})
    mine.write_text(MINE.replace(", img_size: 128", "") + "  kwargs: {img_size: 128, drop_rate: 0.1}\n")
    (entry,) = load_zoo(mine).entries
    _, request = request_of(entry, Request(overrides=PreprocessOverrides(img_size=96)))
    assert (request.overrides.img_size, request.kwargs) == (96, {"drop_rate": 0.1})


def test_files_folders_and_code_are_found_beside_the_zoo_file(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "net.py").write_text("def build(): ...\n")
    (tmp_path / "names.txt").write_text("gull\ntern\n")
    (tmp_path / "texts.txt").write_text("a {}\n")
    (tmp_path / "z.yaml").write_text(
        "version: 1\nmodels:\n- {id: a, spec: 'local-dir:nets'}\n- {id: b, spec: 'net.py:build'}\n"
        "- {id: c, spec: 'package.module:build'}\n- {id: d, spec: 'local-dir:none'}\n"
        "- {id: e, spec: 'open_clip:RN50,openai', classnames: names.txt, templates: texts.txt}\n"
    )
    a, b, c, d, e = load_zoo(tmp_path / "z.yaml").entries
    assert request_of(a, Request())[0] == f"local-dir:{tmp_path / 'nets'}"
    assert request_of(b, Request())[0] == f"{tmp_path / 'net.py'}:build"
    assert request_of(c, Request())[0] == "package.module:build"
    with pytest.raises(ModelError, match=r"z\.yaml, line 6: the zoo entry 'd' needs none, which is not there"):
        request_of(d, Request())
    spec, request = request_of(e, Request())
    assert (spec, request.class_names) == ("open_clip:RN50,openai", ("gull", "tern"))
    assert request.templates == str(tmp_path / "texts.txt")
    _, asked = request_of(e, Request(class_names=("x", "y"), templates="simple"))
    assert (asked.class_names, asked.templates) == (("x", "y"), "simple")


def test_a_preset_is_named_behind_the_entry(mine: Path) -> None:
    mine.write_text(
        "version: 1\npresets: {dim: {specs: [local-dir], preprocess: {mean: 0.2}}}\n"
        "models:\n- {id: mine, spec: 'local-dir:weights', preprocess: {std: 0.3}}\n"
    )
    config = {"architecture": "test_resnet", "num_classes": 5, "pretrained_cfg": {"mean": [0.5] * 3}}
    (mine.parent / "weights" / "config.json").write_text(json.dumps(config))
    (mine.parent / "weights" / "mine.pt").rename(mine.parent / "weights" / "pytorch_model.bin")
    plain, dim = (load(f"zoo:{mine}#mine{preset}", device="cpu").record.preprocess for preset in ("", "@dim"))
    assert (plain.mean, plain.std) == ((0.5,) * 3, (0.3,) * 3)
    assert (dim.mean, dim.std, dim.origin["mean"]) == ((0.2,) * 3, (0.3,) * 3, "zoo file")
    with pytest.raises(UsageError, match=r"my\.yaml has no preset 'dimm'"):
        load(f"zoo:{mine}#mine@dimm")


def test_unknown_entries_name_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"model_zoo\.yaml has no model 'resnet5'") as error:
        load("zoo:resnet5")
    assert "'resnet50'" in str(error.value.hint)


@pytest.fixture
def moco(tmp_path: Path) -> Path:
    """A folder with a random file of MoCo v3's ViT-S."""
    network = create("vit_small_patch16_224", {"num_heads": 12})
    state: dict[str, Tensor] = {**network.state_dict(), "pos_embed": position_table(14, 384)}
    named = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"arch": "vit_small", "state_dict": named}, tmp_path / "linear-vit-s-300ep.pth.tar")
    return tmp_path


def test_an_adapter_entry_becomes_a_model(moco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPURAUDIT_ZOO_FILES", str(moco))
    model = load("zoo:moco-v3-vit-s", overrides=PreprocessOverrides(crop_pct=1), device="cpu")
    record = model.record
    assert (record.name, record.source, record.file) == ("MoCo-v3 ViT-S/", "file", "linear-vit-s-300ep.pth.tar")
    assert (record.arch, record.arch_origin, record.num_classes) == ("mocov3/vit_small", "zoo file", 1000)
    assert record.size_bytes == (moco / str(record.file)).stat().st_size
    assert record.preprocess.geometry.interpolation == "bilinear"
    assert record.preprocess.geometry.crop_pct == 1
    assert (record.preprocess.origin["mean"], record.preprocess.origin["crop_pct"]) == ("moco-v3", "--crop-pct")
    assert str(moco) not in record.model_dump_json()


def test_an_adapters_network_is_fixed(moco: Path) -> None:
    entry = load_zoo(files=moco).entry("moco-v3-vit-s")
    for request, message in (
        (Request(arch="vit_small_patch16_224"), "--arch: the zoo entry 'moco-v3-vit-s' is one fixed network"),
        (Request(kwargs={"num_heads": 6}), "--model-kwargs: the zoo entry"),
        (Request(overrides=PreprocessOverrides(img_size=192)), "position table for 224x224 pixels; .* were 192x192"),
        (Request(templates="openai"), "--templates had no effect"),
    ):
        with pytest.raises(UsageError, match=message):
            draft_from_adapter(entry, request)
    with pytest.raises(UsageError, match="'vgg19' has no adapter"):
        draft_from_adapter(load_zoo().entry("vgg19"), Request())


def test_two_files_make_one_record(tmp_path: Path) -> None:
    state = create("resnet50", {"num_classes": 0}).state_dict()
    torch.save(dict(state), tmp_path / "dino_resnet50_pretrain.pth")
    head = {"module.linear.weight": torch.randn(1000, 2048), "module.linear.bias": torch.randn(1000)}
    torch.save({"state_dict": head}, tmp_path / "dino_resnet50_linearweights.pth")
    draft = draft_of_entry(load_zoo(files=tmp_path).entry("dino-resnet50"), Request())
    assert draft.identity["file"] == "dino_resnet50_pretrain.pth + dino_resnet50_linearweights.pth"
    assert draft.identity["size_bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert any(note.count(".pth ") == 2 for note in draft.notes)
    other = {name: tensor + 1 for name, tensor in head.items()}
    torch.save({"state_dict": other}, tmp_path / "dino_resnet50_linearweights.pth")
    again = draft_of_entry(load_zoo(files=tmp_path).entry("dino-resnet50"), Request())
    assert again.identity["sha256"] != draft.identity["sha256"]
