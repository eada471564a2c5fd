"""open_clip's image-text networks by name, with random weights: what identification must know of them."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import open_clip
import torch

from spuraudit.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

# Beside the weights in state dicts of OpenAI's own networks, which compute with QuickGELU.
OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")


def names() -> list[str]:
    """All whose text tower is open_clip's own: the others are fetched from a hub."""
    return [name for name in open_clip.list_models() if "hf_model_name" not in _config(name)["text_cfg"]]


@cache
def default_cfg(name: str) -> dict[str, Any]:
    """Evaluation values in the form of a timm pretrained_cfg; no layer is a classifier.

    Raises ModelError for an unknown name, and for a network with a tower of a hub.
    """
    if name not in open_clip.list_models():
        hint = did_you_mean(name, open_clip.list_models()) or "Names are those of open_clip.list_models()."
        raise ModelError(f"open_clip has no network {name!r}.", hint)
    if name not in names():
        raise ModelError(f"open_clip's {name} cannot be built from a file: its text tower is fetched from a hub.")
    with torch.device("meta"):
        shown = build(name, {}).visual.preprocess_cfg  # type: ignore[union-attr]
    size = shown["size"]  # type: ignore[index]
    height, width = (size, size) if isinstance(size, int) else size
    return {
        "url": "open_clip" if open_clip.list_pretrained_tags_by_model(name) else "",
        "input_size": (3, height, width),
        "mean": tuple(shown["mean"]),  # type: ignore[index]
        "std": tuple(shown["std"]),  # type: ignore[index]
        "interpolation": shown["interpolation"],  # type: ignore[index]
        "crop_pct": 1.0,
        "crop_mode": "squash" if shown["resize_mode"] == "squash" else "center",  # type: ignore[index]
    }


def build(name: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """The network with random weights; nothing is fetched. Raises what open_clip raises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that the weights are random is meant
    try:
        network: nn.Module = open_clip.create_model(name, device=torch.get_default_device(), **kwargs)
    finally:
        logging.disable(before)
    return network


def _config(name: str) -> dict[str, Any]:
    return open_clip.get_model_config(name) or {"text_cfg": {}}
