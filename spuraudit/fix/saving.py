"""A trained network as a checkpoint that timm, torch and this tool load, with where it comes from inside."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from spuraudit.errors import FixError, UsageError
from spuraudit.models import load
from spuraudit.models.heads import AsClassifier
from spuraudit.record.folder import sha256_of, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from spuraudit.models.model import Model
    from spuraudit.record.geometry import Preprocess

SUFFIXES = (".safetensors", ".pt", ".pth")
#: Largest difference between a network and what its file gives, in units of the largest logit.
_SAME = 1e-3


def check_output(path: Path) -> None:
    """Raises UsageError for a file that cannot become a checkpoint."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a checkpoint ends in {', '.join(SUFFIXES)}.", "For example -o fixed.safetensors.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", "Name a file, for example -o fixed.safetensors.")


def check_savable(model: Model) -> None:
    """Raises FixError for models that no single checkpoint holds."""
    if model.record.text_head is not None:
        raise FixError(
            f"{model.record.name} answers by class names (zero-shot): its image tower and its text head are two files.",
            "Fix a classifier: load the image tower as a timm model (timm:vit_base_patch16_clip_224.openai) and use "
            "--start new-head.",
        )


def save_checkpoint(model: Model, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write the network's state dict as safetensors, under the names its library gives them.

    Beside the weights: `arch`, `args` (number of classes, preprocessing) and `model_kwargs`, from which this tool
    builds the same model without options; `provenance`: JSON of what was done to which file. Whole or not at all.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _own(model.network).state_dict().items()}
    record = model.record
    arguments = {"num_classes": record.num_classes, **_preprocessing(record.preprocess)}
    beside = {"arch": record.arch, "args": arguments, "model_kwargs": dict(record.kwargs), "provenance": provenance}
    write_bytes(path, _safetensors(tensors, beside))


def _own(network: nn.Module) -> nn.Module:
    """Without the wrapper that turns its answers into logits."""
    return network.network if isinstance(network, AsClassifier) else network


def _preprocessing(preprocess: Preprocess) -> dict[str, Any]:
    geometry = preprocess.geometry
    return {
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "img_size": [geometry.height, geometry.width],
        "crop_pct": geometry.crop_pct,
        "crop_mode": geometry.crop_mode,
        "interpolation": geometry.interpolation,
    }


def _safetensors(tensors: Mapping[str, Tensor], beside: Mapping[str, Any]) -> bytes:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in beside.items()}
    # Tied weights share memory, which the format does not hold: each gets its own.
    content = save({name: tensor.clone() for name, tensor in tensors.items()}, metadata={"format": "pt", **texts})
    return _in_order(content)


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted: the library writes them in an order of chance, and files have hashes."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _torch(tensors: Mapping[str, Tensor], beside: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save({**beside, "provenance": json.dumps(beside["provenance"]), "state_dict": dict(tensors)}, buffer)
    return buffer.getvalue()


def converted(checkpoint: Path) -> bytes:
    """A checkpoint that `save_checkpoint` wrote as safetensors, as torch.save writes it."""
    with safe_open(str(checkpoint), framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
        texts = dict(file.metadata())
    beside = {name: json.loads(texts[name]) for name in ("args", "model_kwargs", "provenance")}
    return _torch(tensors, {"arch": texts["arch"], **beside})


def as_saved(model: Model, path: Path) -> Model:
    """The model that a saved checkpoint gives, which is what is scanned: the file's own name and hash in its record.

    A network of the user's own code cannot be built from a file; it is taken as it is. Raises FixError where the file
    does not give the trained network back.
    """
    if model.record.source == "code":
        record = model.record.model_copy(
            update={"name": path.stem, "file": path.name, "sha256": sha256_of(path), "size_bytes": path.stat().st_size}
        )
        return replace(model, record=record)
    loaded = load(str(path), device=str(model.device), precision=model.record.precision, head=model.record.head)
    geometry = model.record.preprocess.geometry
    pixels = torch.linspace(0, 1, 3 * geometry.height * geometry.width, device=model.device)
    pixels = pixels.reshape(1, 3, geometry.height, geometry.width)
    trained, given = model.logits(pixels), loaded.logits(pixels)
    if trained.shape != given.shape or float((trained - given).abs().max()) > _SAME * float(trained.abs().max()):
        raise FixError(
            f"{path} does not give the trained network back: its logits differ.",
            f"The trained weights are in the file. Load it with the architecture that {model.record.name} needs.",
        )
    return loaded
