"""Published weights of timm: from the local cache, or fetched when the user allows it. Never in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import timm
import torch

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, default_cfg
from spuraudit.models.hub import (
    download,
    fetched_note,
    offline,
    timm_address,
    timm_cached,
    timm_fetch,
    timm_repo,
    way_out,
    why_not,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn


def create_pretrained(name: str, kwargs: Mapping[str, Any], allow_download: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """timm's network `name` (architecture, or architecture.tag) with its published weights, and what was fetched.

    Raises ModelError where the name is unknown, has no published weights, or they are neither in the local cache nor
    allowed to be fetched.
    """
    if name in OWN:
        raise ModelError(
            f"'timm:{name}': there are no published weights.", f"Give a checkpoint file and --arch {name}."
        )
    cfg = default_cfg(name)
    if not (cfg.get("hf_hub_id") or cfg.get("url")):
        raise ModelError(f"timm has no published weights for {name!r}.", "Give a checkpoint file and --arch.")
    if kwargs.get("num_classes", cfg["num_classes"]) != cfg["num_classes"]:
        raise ModelError(
            f"num_classes={kwargs['num_classes']}: the published weights of {name!r} have {cfg['num_classes']} "
            "outputs; another head would be random.",
            "Leave num_classes out, or give a fine-tuned checkpoint and --arch.",
        )
    path, notes = weights_file(name, cfg, allow_download)
    overlay: dict[str, Any] = {"file": str(path)}
    if path.suffix == ".npz":
        overlay["custom_load"] = True  # a foreign format: the architecture's own reader
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs)
    except Exception as error:  # timm raises many kinds here, all about this file or these arguments
        given = ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) or "its defaults"
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"The weights in {path} cannot be loaded into {name!r} with {given}: {first[:200]}",
            "Check --model-kwargs; if the cached file is damaged, delete it and fetch it again.",
        ) from error
    bad = [key for key, tensor in network.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ModelError(f"The weights in {path} are NaN or infinite: {', '.join(bad[:5])}.", "Fetch the file again.")
    return network, notes


def weights_file(name: str, cfg: Mapping[str, Any], allow_download: bool) -> tuple[Path, tuple[str, ...]]:
    """The weight file of a pretrained_cfg, from a local cache or fetched into it, and notes of what was fetched."""
    found = timm_cached(cfg)
    if found is not None:
        return found, ()
    if not allow_download or offline():
        lacking = timm_fetch(name, cfg)
        raise ModelError(
            f"The weights of 'timm:{name}' are not in the local cache, and {why_not()}. They would come from "
            f"{lacking.where} (licence: {lacking.licence or 'not stated'}), {lacking.size}.",
            way_out(f"give a checkpoint file and --arch {name}"),
        )
    notes: list[str] = []
    return _fetched(name, cfg, notes), tuple(notes)


def _fetched(name: str, cfg: Mapping[str, Any], notes: list[str]) -> Path:
    """The weight file, fetched into the cache it is looked up in."""
    place, address = timm_repo(cfg), timm_address(cfg)
    if place is not None:
        path = download(*place, notes)
        if path is None:
            raise ModelError(
                f"{place[0].page} holds none of {', '.join(place[1])}.", f"Give a checkpoint file and --arch {name}."
            )
        return path
    if address is None:
        raise ModelError(f"timm has no published weights for {name!r}.", "Give a checkpoint file and --arch.")
    url, path = address
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except Exception as error:  # network and disk raise unrelated kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"The weights of 'timm:{name}' could not be fetched from {url}: {first[:200]}",
            f"Check the connection, or give a checkpoint file and --arch {name}.",
        ) from error
    notes.append(fetched_note(url, path))
    return path
