"""What a folder of the Hugging Face hub holds: by whose convention, where its weights lie, and its licence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import yaml

from spuraudit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["timm", "transformers", "open_clip"]

CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
PROCESSOR = "preprocessor_config.json"
CARD = "README.md"

_OWN_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Names of weight files, the safe form first. An index names the files of weights that were cut into shards.
WEIGHTS: Mapping[Kind, tuple[str, ...]] = {
    "timm": _OWN_WEIGHTS,
    "transformers": _OWN_WEIGHTS,
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
}


@dataclass(frozen=True)
class Contents:
    """A folder's convention and the content of the config that states it."""

    kind: Kind
    config: Mapping[str, Any]
    config_name: str


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ModelError naming file and line."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path} is not JSON: line {error.lineno}: {error.msg}.", "The file may be truncated; get it again."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not an object with named entries.")
    return content


def contents(folder: Path) -> Contents:
    """The convention of a folder. Raises ModelError where it holds no config, or one of no known convention.

    A CLIP model of timm's organisation carries both timm's config, of the image tower without a classifier, and
    open_clip's; the latter is then meant.
    """
    own, clip = folder / CONFIG, folder / OPEN_CLIP_CONFIG
    if not own.is_file() and not clip.is_file():
        raise ModelError(
            f"{folder} holds neither {CONFIG} nor {OPEN_CLIP_CONFIG}.",
            "Give the folder as timm, transformers or open_clip save it, or a checkpoint file.",
        )
    config = read_json(own) if own.is_file() else {}
    if "architecture" in config and not (clip.is_file() and not outputs_in(config)):
        return Contents("timm", config, CONFIG)
    if clip.is_file():
        return Contents("open_clip", read_json(clip), OPEN_CLIP_CONFIG)
    if "model_type" in config or "architectures" in config:
        return Contents("transformers", config, CONFIG)
    raise ModelError(
        f"{own} names no architecture: neither 'architecture' (timm) nor 'model_type' (transformers) is in it.",
        "Give the weight file itself and --arch.",
    )


def outputs_in(config: Mapping[str, Any]) -> int | None:
    """The number of outputs that timm's config states."""
    for holder in (config, config.get("pretrained_cfg")):
        value = holder.get("num_classes") if isinstance(holder, dict) else None
        if isinstance(value, int):
            return value
    return None


def weights_in(folder: Path, kind: Kind) -> Path | None:
    """The weight file of a folder, or the index of its shards; None where there is none."""
    return next((folder / name for name in WEIGHTS[kind] if (folder / name).is_file()), None)


def shards_of(index: Path) -> dict[str, tuple[str, ...]]:
    """File name -> names of its tensors, in order of file names. Raises ModelError for an index without shards."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise ModelError(f"{index} lists no files: its 'weight_map' must be names of tensors and of files.")
    for name in set(table.values()):
        if len(PurePosixPath(name).parts) != 1 or Path(name).name != name:
            raise ModelError(f"{index} points outside its folder: {name!r}.")
    return {
        name: tuple(tensor for tensor, file in table.items() if file == name) for name in sorted(set(table.values()))
    }


def licence_in(folder: Path) -> str | None:
    """The licence that the model card states in its header; None where there is none."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    _, opening, rest = text.partition("---\n")
    if not opening or not text.startswith("---"):
        return None
    try:
        header = yaml.safe_load(rest.partition("\n---")[0])
    except yaml.YAMLError:
        return None
    stated = header.get("license_name") or header.get("license") if isinstance(header, dict) else None
    return str(stated) if stated else None
