"""`spuraudit models info`: what would be used of a model, and what would have to be fetched for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import open_clip
import open_clip.factory
import pytest
import spec_files
import torch
import yaml
from spec_files import CLIP, TORCHVISION, Ran

ZOO = {"version": 1, "models": [{"id": "mine", "name": "My network", "group": "Drawn", "spec": "bare.pt"}]}
#: A network whose gradient torch refuses, since it overwrites what it has computed.
OVERWRITES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        seen = x.mean(dim=(2, 3)).exp()
        answer = self.head(seen)
        seen.add_(1)
        return answer * seen.exp()

def overwrites():
    return Net(), dict(mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(3, 32, 48), crop_pct=1.0)

def bare():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A network in every form."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "architectures").mkdir()
    (folder / "architectures" / f"{CLIP}.json").write_text(json.dumps(spec_files.CLIP_CONFIG))
    open_clip.add_model_config(folder / "architectures")
    network = spec_files.known("test_resnet")
    spec_files.save_forms(folder, network)
    spec_files.save_folders(folder, network)
    (folder / "config").mkdir()
    (folder / "config" / "config.json").write_bytes((folder / "saved" / "config.json").read_bytes())
    spec_files.put_in_cache(folder / "hub", "someone/began", folder / "config")
    spec_files.save_clip(folder / "clip.pt")
    torch.save(spec_files.known(TORCHVISION).state_dict(), folder / "vision.pt")
    (folder / "odd.py").write_text(OVERWRITES)
    (folder / "mine.yaml").write_text(yaml.safe_dump(ZOO))
    (folder / "names.txt").write_text("red\ngreen\nblue\nyellow\nwhite\nblack\n")
    yield folder
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder / "architectures")
    del open_clip.factory._MODEL_CONFIGS[CLIP]


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that leads to all of it; the hub's cache is the one there, and nobody can be asked."""
    spec_files.enter(original, tmp_path, monkeypatch)
    yield tmp_path
    sys.modules.pop("odd", None)


IDENTIFIED = "(identified by names and shapes of the weights)"
OWN_SIZE = (
    "Input  160x160 (timm), bilinear (timm), crop 0.95 center (timm), mean 0.5,0.5,0.5 ({0}), std 0.5,0.5,0.5 ({0})"
)
INSIDE = [
    "Head   softmax, 3 outputs",
    "Drop   The network has no active dropout: dropout with p = 0.5 was put before its classifier 'fc' "
    "(96 values per image).",
    "Grid   5x5 of 96 channels at layer4 (NCHW)",
]
RESNET = "test_resnet num_classes=3"


@pytest.mark.parametrize(
    ("spec", "model", "origin"),
    [
        ("bare.pt", f"bare: {RESNET} {IDENTIFIED}", "timm"),
        ("safe.safetensors", f"safe: {RESNET} {IDENTIFIED}", "timm"),
        ("trained.pth.tar", f"trained: {RESNET} (checkpoint)", "timm"),
        ("robust.pt", f"robust: {RESNET} {IDENTIFIED}", "checkpoint"),
        ("zoo:mine.yaml#mine", f"My network: {RESNET} {IDENTIFIED}", "timm"),
    ],
)
def test_a_network_in_a_file(
    spec: str, model: str, origin: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(capsys, monkeypatch, "models", "info", spec)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"Model  {model}, 372,979 parameters, 3 outputs, sha256 ")
    assert lines[1] == OWN_SIZE.format(origin)
    assert lines[-3:] == INSIDE
    assert all(line.startswith("Note   ") for line in lines[2:-3])
    assert str(here) not in ran.out


@pytest.mark.parametrize("spec", ["hf-hub:someone/drawn", "local-dir:saved"])
def test_a_folder_and_its_config(
    spec: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(capsys, monkeypatch, "models", "info", spec)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert f": {RESNET} global_pool=avg (config.json, with num_classes=3, " in lines[0]
    assert lines[1] == OWN_SIZE.format("timm").replace("timm", "config.json")
    assert lines[-3:] == INSIDE


def test_networks_of_other_shapes(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Ran(capsys, monkeypatch, "models", "info", "timm:test_vit")
    assert published.code == 0, published.err
    lines = published.out.splitlines()
    assert lines[0].startswith("Model  test_vit: test_vit (name), ")
    assert "Head   softmax, 1000 outputs" in lines
    assert lines[-1].startswith("Grid   10x10 of 64 channels at ")
    assert lines[-1].endswith("(tokens, 1 in front)")
    vision = Ran(capsys, monkeypatch, "models", "info", "vision.pt")
    assert vision.code == 0, vision.err
    lines = vision.out.splitlines()
    assert lines[0].startswith(f"Model  vision: {TORCHVISION} num_classes=3 {IDENTIFIED}, ")
    assert lines[1].startswith("Input  224x224 (torchvision), bilinear (torchvision), ")
    assert lines[-1] == "Grid   7x7 of 1024 channels at conv5 (NCHW)"


def test_what_the_user_says_is_shown_as_the_users(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("--arch", "test_resnet", "--mean", "0.4", "--img-size", "96", "--crop-mode", "squash", "--head", "sigmoid")
    ran = Ran(capsys, monkeypatch, "models", "info", "bare.pt", *said)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert "(--arch)" in lines[0]
    assert lines[1].startswith("Input  96x96 (--img-size), bilinear (timm), crop 0.95 squash ")
    assert "mean 0.4,0.4,0.4 (--mean), std 0.5,0.5,0.5 (timm)" in lines[1]
    label = "every output is a label of its own, given at a probability of 0.5 or more"
    assert [line for line in lines if line.startswith("Head")] == [f"Head   sigmoid: {label}"]
    assert lines[-1] == "Grid   3x3 of 96 channels at layer4 (NCHW)"


def test_a_zero_shot_classifier(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURAUDIT_CACHE", str(here / "cache"))
    options = ("--classnames", "names.txt", "--templates", "eight")
    ran = Ran(capsys, monkeypatch, "models", "info", f"open_clip:{CLIP},clip.pt", *options)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"Model  clip: open_clip:{CLIP} quick_gelu=False (name), ")
    assert lines[1].startswith("Input  32x32 (open_clip), bicubic (open_clip), crop 1 center (open_clip), ")
    assert "Head   softmax, 6 outputs" in lines
    (text,) = [line for line in lines if line.startswith("Text")]
    assert text.startswith(
        "Text   class names: red, green, blue, yellow, white, ... (6); templates: eight, 8 per class"
    )
    assert lines[-1].startswith("Grid   4x4 of 32 channels at visual.")
    # ImageNet's thousand names take long on a large model: that is said, beside what is asked for.
    imagenet = Ran(capsys, monkeypatch, "models", "info", f"open_clip:{CLIP},clip.pt", "--templates", "simple")
    assert imagenet.code == 0
    assert imagenet.err == f"Encoding 7,000 prompts of {CLIP} on cpu; the result is kept on disk.\n"
    assert "class names: open_clip's names of ImageNet's classes; templates: simple, 7 per class" in imagenet.out


def test_code_of_the_users_own(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Ran(capsys, monkeypatch, "models", "info", "odd:overwrites")
    assert (refused.code, refused.out) == (2, "")
    assert "--trust-code" in refused.err
    ran = Ran(capsys, monkeypatch, "models", "info", "odd:overwrites", "--trust-code")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[1].startswith("Input  48x32 (overwrites()), bicubic (usual value), crop 1 center (overwrites()), ")
    assert "Note   Stated nowhere, so the usual values hold: interpolation bicubic." in lines
    assert lines[-1].startswith("Grid   Not found, since the network cannot be differentiated: ")
    unknown = Ran(capsys, monkeypatch, "models", "info", "odd:bare", "--trust-code")
    assert unknown.code == 2
    assert "odd:bare does not say how its pixels are normalised" in unknown.err
    options = ("--trust-code", "--mean", "0.5", "--std", "0.5")
    bare = Ran(capsys, monkeypatch, "models", "info", "odd:bare", *options)
    assert bare.code == 0, bare.err
    line = "Input  224x224 (usual value), bicubic (usual value), crop 0.875 center (usual value), mean 0.5,0.5,0.5 (--"
    assert bare.out.splitlines()[1].startswith(line)
    assert "Head   softmax, 5 outputs" in bare.out


@pytest.mark.parametrize(
    ("spec", "fetches"),
    [
        (
            "timm:test_resnet",
            ["weights of test_resnet from huggingface.co/timm/test_resnet.r160_in1k (about 1.88 MB: 0.5 M param"],
        ),
        (
            "zoo:resnet18",
            ["weights of resnet18.tv_in1k from huggingface.co/timm/resnet18.tv_in1k (about 46.8 MB: 11.7 M param"],
        ),
        (
            "hf-hub:someone/began",
            ["model.safetensors or pytorch_model.bin from huggingface.co/someone/began (about 1.49 MB: 0.4 M param"],
        ),
        (
            "hf-hub:someone/else",
            [
                "config.json or open_clip_config.json from huggingface.co/someone/else (size unknown until asked)",
                "preprocessor_config.json (where there is one) from huggingface.co/someone/else (size unknown",
                "model.safetensors, pytorch_model.bin or their open_clip forms from huggingface.co/someone/else (size",
            ],
        ),
        (
            "open_clip:ViT-B-32,openai",
            ["weights of ViT-B-32, openai from huggingface.co/timm/vit_base_patch32_clip_224.openai (about 605 MB"],
        ),
        (
            "open_clip:ViT-B-16-SigLIP,webli",
            [
                "weights of ViT-B-16-SigLIP, webli from huggingface.co/timm/ViT-B-16-SigLIP (about 813 MB: 203.2 M",
                "tokenizer of ViT-B-16-SigLIP (tokenizer.json) from huggingface.co/timm/ViT-B-16-SigLIP (size unknown",
            ],
        ),
    ],
)
@pytest.mark.parametrize("offline", [False, True])
def test_what_would_be_fetched(
    spec: str,
    fetches: list[str],
    offline: bool,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ran = Ran(capsys, monkeypatch, "models", "info", spec)
    assert ran.code == 2
    lines = ran.out.splitlines()
    assert [line[: len(start) + 7] for line, start in zip(lines, fetches, strict=True)] == [
        f"Fetch  {start}" for start in fetches
    ]
    allow = "--allow-download without HF_HUB_OFFLINE" if offline else "--allow-download"
    assert ran.err.splitlines() == [
        f"Error: The weights of {spec} are not here.",
        f"  Use {allow}, or give a checkpoint file.",
    ]
    if offline:  # which wins over the permission
        forbidden = Ran(capsys, monkeypatch, "models", "info", spec, "--allow-download")
        assert forbidden.code == 2
        assert "HF_HUB_OFFLINE" in forbidden.err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["gone.pt"], "The checkpoint gone.pt does not exist.", "Give a file"),
        (["saved"], "The checkpoint saved is a folder, not a file.", "It holds config.json: write local-dir:saved."),
        (["timm:test_vitt"], "Unknown architecture 'test_vitt'.", "'test_vit'"),
        (["open_clip:ViT-B-32,opnai"], "no weights 'opnai' for 'ViT-B-32'", "Tags of ViT-B-32: openai, "),
        (["open_clip:ViT-B-33,openai"], "open_clip has no architecture 'ViT-B-33'.", "ViT-B-32"),
        (["hf-hub:a b"], "'hf-hub:a b' names no repository", "For example hf-hub:timm/"),
        (["bare.pt", "--classnames", "names.txt"], "--classnames had no effect", "zero-shot model"),
        (["bare.pt", "--mean", "0.4,x"], "--mean '0.4,x': not numbers.", "Write three"),
        (["bare.pt", "--mean", "124"], "--mean must be from 0 to 1", "Divide values"),
        (["bare.pt", "--crop-mode", "middle"], "--crop-mode must be one of center, squash, border", ""),
    ],
)
def test_refused(
    arguments: list[str],
    message: str,
    hint: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = Ran(capsys, monkeypatch, "models", "info", *arguments)
    assert (ran.code, ran.out) == (2, "")
    said, _, way_out = ran.err.partition("Error: ")[2].partition("\n")
    assert message in said
    assert hint in way_out
