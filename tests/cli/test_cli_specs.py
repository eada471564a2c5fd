"""`spuraudit scan SPEC` for every kind of spec: what the record says of the model, resuming, and what is refused."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import open_clip.factory
import pytest
import spec_files
import torch
import toys
import yaml
from spec_files import CLIP, QUICK, TORCHVISION, Ran, record_of, value_of

from spuraudit.models.preprocess import resolve

ZOO = {
    "version": 1,
    "models": [
        {"id": "mine", "name": "My network", "group": "Drawn", "spec": "bare.pt"},
        {"id": "gone", "name": "Gone", "group": "Drawn", "spec": "gone.pt", "get": "Ask the author."},
    ],
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data whose classes name outputs, the same without, and one network in every form."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "architectures").mkdir()
    (folder / "architectures" / f"{CLIP}.json").write_text(json.dumps(spec_files.CLIP_CONFIG))
    open_clip.add_model_config(folder / "architectures")
    toys.draw(folder / "data", spec_files.TOY)
    toys.draw(folder / "unmapped", toys.Toy(test=6, train=1, outputs=False))
    network = spec_files.known("test_resnet")
    spec_files.save_forms(folder, network)
    spec_files.save_folders(folder, network)
    spec_files.save_clip(folder / "clip.pt")
    torch.save(spec_files.known(TORCHVISION).state_dict(), folder / "vision.pt")
    (folder / "nets.py").write_text(spec_files.NETS)
    (folder / "mine.yaml").write_text(yaml.safe_dump(ZOO))
    (folder / "names.txt").write_text("\n".join(spec_files.NAMES))
    yield folder
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder / "architectures")
    del open_clip.factory._MODEL_CONFIGS[CLIP]


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that leads to all of it; the hub's cache is the one there, and nobody can be asked."""
    spec_files.enter(original, tmp_path, monkeypatch)
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if name == "nets":
            del sys.modules[name]


class Case(NamedTuple):
    """spec: `@` stands for a folder in front. said: fields of the record. notes: how each begins."""

    spec: str
    said: dict[str, Any]
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    data: str = "data"


FILE = {"source": "file", "arch": "test_resnet", "arch_origin": "identified by names and shapes of the weights"}
CODE = {"source": "code", "file": None, "arch_origin": "name", "num_classes": 3}
CONFIG = {"arch": "test_resnet", "arch_origin": "config.json, with num_classes=3, global_pool=avg from config.json"}
ARGUMENTS = "config.json's own arguments were used: num_classes=3, global_pool=avg."
CASES = {
    "state dict": Case("@bare.pt", {**FILE, "name": "bare", "file": "bare.pt"}),
    "safetensors": Case("@safe.safetensors", {**FILE, "name": "safe", "file": "safe.safetensors"}),
    "timm checkpoint": Case(
        "@trained.pth.tar",
        {**FILE, "name": "trained", "file": "trained.pth.tar", "arch_origin": "checkpoint"},
        ("The averaged (EMA) weights under 'state_dict_ema' were used.",),
    ),
    "Lightning": Case(
        "@epoch=2.ckpt",
        {**FILE, "name": "epoch=2", "file": "epoch=2.ckpt"},
        (
            "The weights lie under 'state_dict'.",
            "The network lies under 'model.', which was removed from its names.",
            "1 of 93 tensors is no part of the network and was left out: loss.weight.",
        ),
    ),
    "robustness": Case(
        "@robust.pt",
        {**FILE, "name": "robust", "file": "robust.pt"},
        (
            "The weights lie under 'model'.",
            "The prefix 'module.' was removed from all names.",
            "The network lies under 'model.', which was removed from its names.",
            "96 of 188 tensors are no part of the network and were left out: attacker.* (94), normalizer.* (2).",
            "The file holds a normaliser of [0, 1] pixels in front of the network; its mean and std are used.",
        ),
    ),
    "torchvision": Case(
        "@vision.pt",
        {"source": "file", "file": "vision.pt", "arch": TORCHVISION, "arch_origin": "--arch"},
        options=("--arch", TORCHVISION),
    ),
    "timm's cache": Case(
        "timm:test_vit",
        {"source": "timm", "name": "test_vit", "file": None, "arch": "test_vit", "num_classes": 1000},
    ),
    "hub": Case(
        "hf-hub:someone/drawn",
        {**CONFIG, "source": "hf-hub", "name": "someone/drawn", "file": "model.safetensors"},
        ("From huggingface.co/someone/drawn, commit abc; licence: ", ARGUMENTS),
    ),
    "folder": Case(
        "local-dir:@saved",
        {**CONFIG, "source": "local-dir", "name": "saved", "file": "model.safetensors"},
        (ARGUMENTS,),
    ),
    "CLIP": Case(
        f"open_clip:{CLIP},@clip.pt",
        {"source": "open_clip", "name": "clip", "file": "clip.pt", "arch": f"open_clip:{CLIP}", "num_classes": 3},
        ("The weights lie under 'state_dict'.",),
        data="unmapped",
    ),
    "zoo": Case(
        "zoo:@mine.yaml#mine",
        {**FILE, "name": "My network", "file": "bare.pt"},
        ("Zoo entry 'mine' of mine.yaml.",),
    ),
    "module": Case(
        "nets:build",
        {**CODE, "name": "nets:build", "arch": "nets:build"},
        ("Built by build in nets.py, sha256 ",),
        ("--trust-code",),
    ),
    "code file": Case(
        "@nets.py:build",
        {**CODE, "name": "nets.py:build", "arch": "nets.py:build"},
        ("Built by build in nets.py, sha256 ",),
        ("--trust-code",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_scan_of(name: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    options = ("--data", case.data, *QUICK, *case.options, "-o", "run")
    ran = Ran(capsys, monkeypatch, "scan", case.spec.replace("@", ""), *options)
    assert ran.code == 0, ran.err
    record = record_of(here / "run")
    model = record["model"]
    assert {key: model[key] for key in case.said} == case.said
    assert [note[: len(begin)] for note, begin in zip(model["notes"], case.notes, strict=True)] == list(case.notes)
    assert value_of(record, "clean_accuracy") == 1
    assert record["run"]["argv"][1] == case.spec.replace("@", "")

    # What was understood is on the terminal before anything is asked.
    lines = ran.err.splitlines()
    assert lines[0].startswith(f"Model  {model['name']}: {model['arch']} ")
    assert lines[0].endswith(f"sha256 {model['sha256'][:12]}")
    assert lines[1].startswith("Input  ")
    own = [line for line in lines[2:] if not line.startswith("Text   ")]
    assert len(lines[2:]) - len(own) == (model["text_head"] is not None)
    assert own[: len(case.notes)] == [f"Note   {note}" for note in model["notes"]]

    if model["file"] is None:
        assert len(model["sha256"]) == 64
    else:
        lies_in = here / "saved" if model["file"] == "model.safetensors" else here
        assert model["sha256"] == hashlib.sha256((lies_in / model["file"]).read_bytes()).hexdigest()
        assert model["size_bytes"] == (lies_in / model["file"]).stat().st_size

    # The same model by its full path: the same scan, which is there already; and the path stays here.
    again = Ran(capsys, monkeypatch, "scan", case.spec.replace("@", f"{here}/"), *options)
    assert again.code == 0, again.err
    assert "Resuming: 1 of 1 parts are already there." in again.err
    resumed = record_of(here / "run")
    assert resumed["run"]["resumed_parts"] == 1
    for part in ("model", "measurements", "observations"):
        assert resumed[part] == record[part]
    for file in ("plan.json", "scan.json", "report.html"):
        content = (here / "run" / file).read_text()
        for place in (here, here.resolve(), (here / "bare.pt").resolve().parent, Path.home()):
            assert str(place) not in content, file


def test_a_vision_transformer_that_transformers_saved(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    processor = {"size": {"height": 32, "width": 32}, "image_mean": [0.4] * 3, "image_std": [0.25] * 3}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = transformers.ViTConfig(**shape, image_size=32, patch_size=8, num_labels=3)
        network = transformers.ViTForImageClassification(config)
    cfg = {"mean": (0.4,) * 3, "std": (0.25,) * 3, "interpolation": "bilinear", "crop_pct": 1.0}
    spec_files.fitted(network, resolve({**cfg, "input_size": (3, 32, 32)}, cfg_origin="processor"))
    network.save_pretrained("vit")
    transformers.ViTImageProcessor(**processor).save_pretrained("vit")
    ran = Ran(capsys, monkeypatch, "scan", "local-dir:vit", "--data", "data", *QUICK, "-o", "run")
    assert ran.code == 0, ran.err
    record = record_of(here / "run")
    model = record["model"]
    assert (model["source"], model["name"], model["file"]) == ("local-dir", "vit", "model.safetensors")
    assert model["preprocess"]["mean"] == [0.4] * 3
    assert model["preprocess"]["origin"]["mean"] == "preprocessor_config.json"
    assert value_of(record, "clean_accuracy") == 1


def test_class_names_of_a_zero_shot_classifier(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = ("scan", f"open_clip:{CLIP},clip.pt", *QUICK, "--data")
    assert Ran(capsys, monkeypatch, *scan, "unmapped", "-o", "own").code == 0
    own = record_of(here / "own")
    assert own["model"]["text_head"]["class_names"] == "red, green, blue"
    assert (own["model"]["text_head"]["templates"], own["model"]["text_head"]["prompts"]) == ("openai", 80)
    # Names in a file are those of the outputs; here they are the dataset's.
    assert Ran(capsys, monkeypatch, *scan, "data", "--classnames", "names.txt", "-o", "given").code == 0
    given = record_of(here / "given")
    assert given["model"]["text_head"] == own["model"]["text_head"]
    assert given["measurements"] == own["measurements"]
    # In another order the answers are others' classes.
    (here / "turned.txt").write_text("green\nblue\nred\n")
    turned = Ran(capsys, monkeypatch, *scan, "data", "--classnames", "turned.txt", "-o", "turned")
    assert turned.code == 2
    assert "Clean accuracy is near chance: 0.0%" in turned.err
    # ImageNet's names where the dataset's classes are numbers of outputs.
    imagenet = ("data", "--templates", "simple", "--allow-chance", "-o", "imagenet")
    assert Ran(capsys, monkeypatch, *scan, *imagenet).code == 0
    text = record_of(here / "imagenet")["model"]["text_head"]
    assert (text["class_names"], text["templates"]) == ("open_clip's names of ImageNet's classes", "simple")


REFUSED = {
    "code untrusted": (["nets:build"], "nets:build: building this model runs the code of nets", "--trust-code"),
    "file untrusted": (["nets.py:build"], "runs the code of nets.py, which may do anything", "--trust-code"),
    "no function": (["nets.py:bild", "--trust-code"], "nets.py has no 'bild'", "Did you mean 'build'?"),
    "arch of code": (["nets.py:build", "--trust-code", "--arch", "test_vit"], "--arch test_vit has no", "Leave --arch"),
    "torchvision": (["torchvision:resnet18"], "names an architecture, and no weights", "--arch torchvision:resnet18"),
    "names for a file": (["bare.pt", "--classnames", "names.txt"], "--classnames had no effect", "zero-shot model"),
    "templates for a file": (["bare.pt", "--templates", "eight"], "--templates had no effect", "zero-shot model"),
    "names for timm": (["timm:test_vit", "--classnames", "imagenet"], "--classnames had no effect", "zero-shot"),
    "names for a folder": (["local-dir:saved", "--classnames", "names.txt"], "--classnames had no effect", "zero-shot"),
    "names for code": (
        ["nets:build", "--trust-code", "--templates", "simple"],
        "--templates had no effect",
        "zero-shot",
    ),
    "arch of CLIP": ([f"open_clip:{CLIP},clip.pt", "--arch", CLIP], "--arch has no effect", "Leave --arch out."),
    "CLIP without weights": ([f"open_clip:{CLIP}"], "names no weights", f"open_clip:{CLIP},FILE"),
    "CLIP not there": (["open_clip:ViT-B-32,openai"], "huggingface.co/timm/vit_base_patch32", "--allow-download"),
    "word of names": ([f"open_clip:{CLIP},clip.pt", "--classnames", "imagnet"], "is no file", "'imagenet'"),
    "another arch": (["bare.pt", "--arch", "test_vit"], "bare.pt does not fit the architecture 'test_vit'", "--arch"),
    "unknown word": (["openclip:ViT-B-32,openai"], "models from 'openclip:' are not known", "'open_clip'"),
    "timm by its name alone": (["resnet18"], "There is no file resnet18", "timm:resnet18"),
    "contradiction": (["timm:test_vit", "--arch", "test_resnet"], "contradicts it", "Leave --arch out."),
    "timm not there": (
        ["timm:test_resnet"],
        "timm/test_resnet.r160_in1k (licence: apache-2.0), about 1.88 MB",
        "--allow",
    ),
    "hub not there": (["hf-hub:someone/else"], "huggingface.co/someone/else", "--allow-download"),
    "no folder": (["local-dir:gone"], "The folder gone does not exist", "config.json"),
    "no zoo entry": (["zoo:mine.yaml#min"], "mine.yaml has no model 'min'", "Did you mean 'mine'?"),
    "a zoo entry's file": (["zoo:mine.yaml#gone"], "the zoo entry 'gone' needs gone.pt", "Get it: Ask the author."),
    "no zoo run": (["bare.pt", "--against", "data"], "data: no zoo run here (no zoo.json)", "`spuraudit zoo` wrote"),
    "no such zoo run": (["bare.pt", "--against", "gone"], "gone: no zoo run here", "`spuraudit zoo` wrote"),
    "head": (["bare.pt", "--head", "sigmod"], "There is no head 'sigmod'", "Use softmax or sigmoid."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, message, hint = REFUSED[name]
    ran = Ran(capsys, monkeypatch, "scan", *arguments, "--data", "data", *QUICK, "-o", "run")
    assert ran.code == 2
    assert ran.out == ""
    said, _, way_out = ran.err.partition("Error: ")[2].partition("\n")
    assert message in said
    assert hint in way_out
    assert not (here / "run").exists()


def test_a_run_folder_named_like_a_file(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(capsys, monkeypatch, "scan", "bare.pt", "--data", "data", *QUICK, "-o", "run/bare.pt")
    assert ran.code == 2
    assert "-o run/bare.pt: unknown format '.pt'." in ran.err
    assert "A run folder's name must not end like a file." in ran.err
    assert not (here / "run").exists()
