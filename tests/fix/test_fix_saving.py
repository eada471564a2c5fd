"""A trained network becomes a checkpoint that gives it back."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import open_clip
import open_clip.factory
import pytest
import torch
import toys
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from trainings import Smooth, seeded

from spuraudit.errors import FixError, UsageError
from spuraudit.fix.saving import as_saved, check_output, check_savable, converted, save_checkpoint
from spuraudit.models import Model, load
from spuraudit.models.architectures import create
from spuraudit.models.heads import AsClassifier
from spuraudit.record.folder import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN = {"tool": "spuraudit", "options": {"share": 0.5}}


def network(arch: str, outputs: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return create(arch, {"num_classes": outputs})


def loaded(folder: Path, arch: str, outputs: int) -> Model:
    torch.save(network(arch, outputs).state_dict(), folder / "model.pt")
    return load(str(folder / "model.pt"), arch=arch, device="cpu")


def images(model: Model) -> Tensor:
    """Two of them, of the model's size."""
    geometry = model.record.preprocess.geometry
    return torch.rand(2, 3, geometry.height, geometry.width, generator=torch.Generator().manual_seed(1))


def changed(model: Model) -> Model:
    """As if it had been trained."""
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(1.01)
    return model


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "paper_cnn", "torchvision:shufflenet_v2_x0_5"])
def test_what_was_saved_comes_back(tmp_path: Path, arch: str) -> None:
    model = changed(loaded(tmp_path, arch, 3))
    save_checkpoint(model, tmp_path / "fixed.safetensors", ORIGIN)
    given = as_saved(model, tmp_path / "fixed.safetensors")
    assert torch.allclose(given.logits(images(model)), model.logits(images(model)), atol=1e-5)
    assert (given.record.arch, given.record.num_classes) == (model.record.arch, 3)
    assert given.record.preprocess.geometry == model.record.preprocess.geometry
    assert (given.record.preprocess.mean, given.record.preprocess.std) == (
        model.record.preprocess.mean,
        model.record.preprocess.std,
    )
    assert (given.record.file, given.record.sha256) == ("fixed.safetensors", sha256_of(tmp_path / "fixed.safetensors"))


def test_names_are_those_of_the_library(tmp_path: Path) -> None:
    model = loaded(tmp_path, "test_resnet", 3)
    save_checkpoint(model, tmp_path / "fixed.safetensors", ORIGIN)
    network("test_resnet", 3).load_state_dict(load_file(tmp_path / "fixed.safetensors"), strict=True)


def test_a_network_whose_answers_are_turned_into_logits(tmp_path: Path) -> None:
    # One output is two classes to the tool, and one output to its file.
    model = changed(loaded(tmp_path, "test_resnet", 1))
    assert isinstance(model.network, AsClassifier)
    assert model.record.num_classes == 2
    save_checkpoint(model, tmp_path / "fixed.safetensors", ORIGIN)
    network("test_resnet", 1).load_state_dict(load_file(tmp_path / "fixed.safetensors"), strict=True)
    given = as_saved(model, tmp_path / "fixed.safetensors")
    assert torch.allclose(given.logits(images(model)), model.logits(images(model)), atol=1e-5)


def test_the_layout_in_memory_is_not_saved(tmp_path: Path) -> None:
    model = loaded(tmp_path, "test_resnet", 3)
    files = []
    for name, layout in (("last", torch.channels_last), ("first", torch.contiguous_format)):
        model.network.to(memory_format=layout)
        files.append(tmp_path / f"{name}.safetensors")
        save_checkpoint(model, files[-1], ORIGIN)
    assert files[0].read_bytes() == files[1].read_bytes()


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(3 * toys.SIDE * toys.SIDE, 3)
        self.again = nn.Linear(3 * toys.SIDE * toys.SIDE, 3)
        self.again.weight = self.classifier.weight

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 3)."""
        pixels = self.flatten(x)
        logits: Tensor = self.classifier(pixels) + self.again(pixels.flip(1))
        return logits


def of_code(model: Model) -> Model:
    return replace(model, record=model.record.model_copy(update={"source": "code"}))


def test_tied_weights(tmp_path: Path) -> None:
    model = of_code(toys.as_model(seeded(Tied)))
    save_checkpoint(model, tmp_path / "fixed.safetensors", ORIGIN)
    fresh = Tied()
    fresh.load_state_dict(load_file(tmp_path / "fixed.safetensors"), strict=True)
    pixels = images(model)
    assert torch.equal(fresh(pixels), model.network(pixels))
    assert fresh.again.weight is fresh.classifier.weight


def test_a_network_of_the_users_own_is_scanned_under_its_files_name(tmp_path: Path) -> None:
    model = of_code(toys.as_model(seeded(Smooth)))
    file = tmp_path / "fixed.safetensors"
    save_checkpoint(model, file, ORIGIN)
    given = as_saved(model, file)
    assert given.network is model.network
    assert (given.record.name, given.record.sha256) == ("fixed", sha256_of(file))


def test_a_file_that_does_not_give_the_network_back_is_an_error(tmp_path: Path) -> None:
    model = loaded(tmp_path, "test_resnet", 3)
    save_checkpoint(model, tmp_path / "fixed.safetensors", ORIGIN)
    changed(changed(model))
    with pytest.raises(FixError, match="does not give the trained network back"):
        as_saved(model, tmp_path / "fixed.safetensors")


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    # The library keeps metadata in a hash table with a seed of the process: one order in 24 by chance.
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom spuraudit.models import load\n"
        "from spuraudit.fix.saving import save_checkpoint\n"
        "model = load(sys.argv[1], arch='paper_cnn', device='cpu')\n"
        "for number in range(3): save_checkpoint(model, Path(f'{sys.argv[2]}-{number}'), {'a': 1})\n"
    )
    loaded(tmp_path, "paper_cnn", 3)
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.pt"), str(tmp_path / name)], check=True)
    files = [file.read_bytes() for file in sorted(tmp_path.glob("*-?"))]
    assert len(files) == 6
    assert len(set(files)) == 1
    with safe_open(str(tmp_path / "one-0"), framework="pt") as file:
        assert {"arch", "args", "format", "model_kwargs", "provenance"} == set(file.metadata())


def test_for_torch(tmp_path: Path) -> None:
    model = loaded(tmp_path, "test_resnet", 3)
    save_checkpoint(model, tmp_path / "fixed.safetensors", ORIGIN)
    (tmp_path / "fixed.pt").write_bytes(converted(tmp_path / "fixed.safetensors"))
    content = torch.load(tmp_path / "fixed.pt", weights_only=True)
    assert json.loads(content["provenance"]) == ORIGIN
    assert all(torch.equal(tensor, model.network.state_dict()[name]) for name, tensor in content["state_dict"].items())
    given = load(str(tmp_path / "fixed.pt"), device="cpu")
    assert torch.allclose(given.logits(images(model)), model.logits(images(model)), atol=1e-5)


@pytest.mark.parametrize("name", ["fixed", "fixed.onnx", "fixed.bin"])
def test_unknown_suffixes(name: str) -> None:
    with pytest.raises(UsageError, match="a checkpoint ends in"):
        check_output(Path(name))
    check_output(Path("fixed.SAFETENSORS"))
    check_output(Path("fixed.pth"))


CLIP = "drawn-clip-of-fix"
CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def clip(tmp_path: Path) -> Iterator[Path]:
    """Random weights of a small CLIP that open_clip knows."""
    (tmp_path / "architectures").mkdir()
    (tmp_path / "architectures" / f"{CLIP}.json").write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(tmp_path / "architectures")
    weights = open_clip.create_model(CLIP, pretrained=None, load_weights=False).state_dict()
    torch.save({"state_dict": weights}, tmp_path / "clip.pt")
    yield tmp_path / "clip.pt"
    del open_clip.factory._MODEL_CONFIGS[CLIP]
    open_clip.factory._rescan_model_configs()


def test_a_zero_shot_classifier_is_refused_with_a_way_out(clip: Path) -> None:
    model = load(f"open_clip:{CLIP},{clip}", class_names=("red", "green"), templates="simple", device="cpu")
    with pytest.raises(FixError, match=r"answers by class names \(zero-shot\)") as caught:
        check_savable(model)
    assert "--start new-head" in (caught.value.hint or "")
