"""Networks that know the drawn pictures, files of them in the forms in which people keep weights, and a command run."""

from __future__ import annotations

import json
import shutil
import socket
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import numpy as np
import open_clip
import torch
import toys
from PIL import Image
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import Tensor, nn

from spuraudit.cli.main import main
from spuraudit.data.geometry import place
from spuraudit.models.architectures import create, default_cfg
from spuraudit.models.preprocess import resolve

if TYPE_CHECKING:
    import pytest

    from spuraudit.record.geometry import Preprocess

#: 18 test images, whose pictures the networks below were fitted to.
TOY = toys.Toy(test=6, train=1)
NAMES = toys.NAMES[:3]
QUICK = ("--audits", "noise", "--trials", "1", "--workers", "1", "--device", "cpu")
CLIP = "drawn-clip"
CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"width": 32, "heads": 2, "layers": 2},
}
TORCHVISION = "torchvision:shufflenet_v2_x0_5"
#: A module of the user's own.
NETS = """
import torch
from spuraudit.models.architectures import create

def build():
    network = create("test_resnet", {"num_classes": 3})
    network.load_state_dict(torch.load("bare.pt"))
    cfg = dict(mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(3, 160, 160), crop_pct=0.95, interpolation="bilinear")
    return network, cfg
"""


class Ran:
    """Exit code and streams of one command, as typed in a shell."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["spuraudit", *arguments])
        self.code = main(list(arguments))
        self.out, self.err = capsys.readouterr()


def record_of(run: Path) -> dict[str, Any]:
    """scan.json."""
    content: dict[str, Any] = json.loads((run / "scan.json").read_bytes())
    return content


def value_of(record: dict[str, Any], metric: str, **scope: object) -> float | None:
    """The one measurement with this metric and exactly this scope (`class_` for class)."""
    wanted = {key.rstrip("_"): value for key, value in scope.items()}
    (found,) = [m for m in record["measurements"] if m["metric"] == metric and m["scope"] == wanted]
    value: float | None = found["value"]
    return value


def shown(preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """The test pictures as a network gets them, (18, 3, H, W), and their classes."""
    images, labels = [], []
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
    for label, name in enumerate(NAMES):
        for number in range(TOY.test):
            picture = Image.fromarray(toys.picture(label, label, tag=False, key=f"{name}/test-{number:03d}"))
            pixels = torch.tensor(np.asarray(place(picture, preprocess.geometry))).permute(2, 0, 1).float() / 255
            images.append((pixels - mean) / std)
            labels.append(label)
    return torch.stack(images), torch.tensor(labels)


def solved(features: Tensor, targets: Tensor) -> Tensor:
    """The smallest W for which features @ W is nearest to the targets."""
    return torch.linalg.lstsq(features.double(), targets.double(), driver="gelsd").solution.float()


def fitted(network: nn.Module, preprocess: Preprocess, outputs: int = 3) -> nn.Module:
    """The network, its last linear layer solved for the test pictures; output k is class k."""
    network = network.eval().requires_grad_(False)
    images, labels = shown(preprocess)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    handle.remove()
    weights = solved(nn.functional.pad(seen[0], (0, 1), value=1.0), 10 * nn.functional.one_hot(labels, outputs) - 5)
    last.weight.copy_(weights[:-1].t())
    last.bias.copy_(weights[-1])
    return network


def known(arch: str, outputs: int = 3) -> nn.Module:
    """A network of the index that knows the test pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = create(arch, {"num_classes": outputs})
    return fitted(network, resolve(default_cfg(arch), cfg_origin="default"), outputs)


def save_forms(folder: Path, network: nn.Module) -> None:
    """One network of timm, as a state dict, as safetensors, and as three training frameworks leave it."""
    state = network.state_dict()
    torch.save(state, folder / "bare.pt")
    save_file(state, folder / "safe.safetensors")
    blank = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    ema = {"arch": "test_resnet", "epoch": 3, "state_dict": blank, "state_dict_ema": state}
    torch.save({**ema, "args": {"model": "test_resnet", "lr": 0.1}}, folder / "trained.pth.tar")
    inside = {f"model.{name}": tensor for name, tensor in state.items()}
    lightning = {"state_dict": {**inside, "loss.weight": torch.ones(3)}, "pytorch-lightning_version": "2.1.0"}
    torch.save({**lightning, "hyper_parameters": {"lr": 0.1}}, folder / "epoch=2.ckpt")
    half = torch.full((3, 1, 1), 0.5)
    wrapped = {
        **{f"module.{name}": tensor for name, tensor in inside.items()},
        **{f"module.attacker.{name}": tensor for name, tensor in inside.items()},
        **{
            f"module.{place}.new_{what}": half
            for place in ("normalizer", "attacker.normalize")
            for what in ("mean", "std")
        },
    }
    torch.save({"model": wrapped, "epoch": 4}, folder / "robust.pt")


def put_in_cache(hub: Path, repo: str, files: Path) -> None:
    """A repository in the layout of huggingface_hub's cache: refs/main names a snapshot."""
    place = hub / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    shutil.copytree(files, place / "snapshots" / "abc")


def save_folders(folder: Path, network: nn.Module) -> None:
    """A folder as timm saves it, the same in the hub's cache, and published weights of timm there."""
    save_for_hf(network, str(folder / "saved"), safe_serialization=True)
    put_in_cache(folder / "hub", "someone/drawn", folder / "saved")
    (folder / "published").mkdir()
    save_file(known("test_vit", 1000).state_dict(), folder / "published" / "model.safetensors")
    put_in_cache(folder / "hub", "timm/test_vit.r160_in1k", folder / "published")


def save_clip(path: Path) -> None:
    """A CLIP whose image tower points at the texts of the classes' names."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = open_clip.create_model(CLIP, pretrained=None, load_weights=False).eval().requires_grad_(False)
    for parameter in clip.parameters():
        if parameter.ndim > 1:
            parameter.mul_(2)
    texts = open_clip.build_zero_shot_classifier(
        clip, open_clip.get_tokenizer(CLIP), NAMES, open_clip.OPENAI_IMAGENET_TEMPLATES
    )
    cfg = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "interpolation": "bicubic"}
    images, labels = shown(resolve({**cfg, "crop_pct": 1.0, "input_size": (3, 32, 32)}, cfg_origin="open_clip"))
    clip.visual.proj = None
    answers = nn.functional.one_hot(labels, 3).float() @ torch.linalg.pinv(texts)
    clip.visual.proj = nn.Parameter(solved(clip.visual(images), answers))
    torch.save({"state_dict": clip.state_dict()}, path)


def write(path: Path, text: str) -> Path:
    """A text file, its common indentation taken off."""
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def enter(original: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in `folder`, which leads to all of `original`; the hub's cache is the one there, and nobody can be asked."""
    for entry in original.iterdir():
        (folder / entry.name).symlink_to(entry)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(original / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "SPURAUDIT_ZOO"):
        monkeypatch.delenv(name, raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
