"""CLIP networks of folders -> drafts of zero-shot classifiers; and what a tag of open_clip would have fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import open_clip
import torch

from spuraudit.errors import ModelError, UsageError
from spuraudit.models.from_open_clip import PREFIX, Clip, build, config_of, draft_of_settled, tag_config
from spuraudit.models.hub import Fetch, Repo, cached, in_float32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from spuraudit.models.request import Draft, Request


def open_clip_name(described: object, where: str) -> str:
    """The architecture of open_clip that a `model_cfg` describes. Raises ModelError where it is none of them."""
    known = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    if isinstance(described, dict):
        for comparable in (dict, _without_tokenizer):
            wanted = comparable(described)
            for name, config in known.items():
                if config is not None and comparable(config) == wanted:
                    return str(name)
    raise ModelError(
        f"{where}: 'model_cfg' describes none of open_clip's {len(known)} architectures.",
        "If it is one of them all the same, give open_clip:ARCH,FILE with the weight file.",
    )


def _without_tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """A pushed model may name its own repository as the place of the very same tokenizer."""
    text = {name: value for name, value in config.get("text_cfg", {}).items() if name != "hf_tokenizer_name"}
    return {**config, "text_cfg": text}


def clip_draft(
    arch: str, tensors: Mapping[str, Tensor], stated: Mapping[str, Any], request: Request, record: Mapping[str, Any]
) -> Draft:
    """The zero-shot classifier of tensors in open_clip's names.

    arch: with or without 'open_clip:' in front. stated: mean, std, interpolation and resize_mode, as far as known.
    record: fields of `ModelRecord` that say where it is from. Raises ModelError, UsageError, ConfigError.
    """
    if request.arch is not None:
        raise UsageError(f"The folder names its architecture, {arch}; --arch has no effect.", "Leave --arch out.")
    name = arch.removeprefix(PREFIX)
    return draft_of_settled(Clip(name, config_of(name), stated), tensors, request, record)


def clip_fetches(name: str) -> list[Fetch]:
    """What `open_clip:name` (`ARCH,TAG`) would have fetched: weights, and the files of a text tower of transformers.

    Empty for a file. No request is made. Raises ModelError for an unknown architecture.
    """
    arch, _, tag = name.partition(",")
    arch = arch.replace("/", "-")
    config = config_of(arch)
    published = tag_config(arch, tag)
    place, _, file = str(published.get("hf_hub") or "").rpartition("/")
    if not place:
        return []
    lacking = []
    weights = (file,) if file else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    safe = f"{file.rpartition('.')[0]}.safetensors"
    if all(cached(Repo(place), one) is None for one in (safe, *weights)):
        count = _count(arch, config)
        lacking.append(Fetch(f"weights of {arch}, {tag}", Repo(place).page, in_float32(count), None, count))
    text = config["text_cfg"]
    for what, entry, known in (
        ("text tower", "hf_model_name", "config.json"),
        ("tokenizer", "hf_tokenizer_name", None),
    ):
        source = text.get(entry)
        files = (known,) if known else ("tokenizer.json", "tokenizer_config.json")
        if source and all(cached(Repo(source), one) is None for one in files):
            lacking.append(Fetch(f"{what} of {arch} ({files[0]})", Repo(source).page))
    return lacking


def _count(arch: str, config: Mapping[str, Any]) -> int | None:
    """Parameters, built without memory for them; None where the text tower's shape lies on the hub."""
    if config["text_cfg"].get("hf_model_name"):
        return None
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build(arch, config).parameters())
    except ModelError:
        return None
