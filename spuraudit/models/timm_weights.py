"""Published weights of timm: from the local cache, or fetched when the user allows it. Never in silence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import timm
import torch

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, default_cfg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def offline() -> bool:
    """Whether the user has forbidden the hub (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)."""
    words = [os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")]
    return any(word.strip().lower() in ("1", "true", "yes", "on") for word in words)


def create_pretrained(name: str, kwargs: Mapping[str, Any], allow_download: bool) -> nn.Module:
    """timm's network `name` (architecture, or architecture.tag) with its published weights.

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
    path = _cached(cfg) or _fetch(name, cfg, allow_download)
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
    return network


def _hub_place(cfg: Mapping[str, Any]) -> tuple[str, str | None, tuple[str, ...]] | None:
    """Repository, revision and acceptable file names on the Hugging Face hub."""
    if not cfg.get("hf_hub_id"):
        return None
    repo, _, revision = str(cfg["hf_hub_id"]).partition("@")
    special = cfg.get("hf_hub_filename")
    if special is None:
        return repo, revision or None, _HUB_FILES
    stem = str(special).removesuffix(".bin")
    # The hub keeps the safe form beside the pickled one under the same stem (open_clip drops 'pytorch_').
    safe = [f"{stem}.safetensors", f"{stem.replace('pytorch_', '')}.safetensors"] if special.endswith(".bin") else []
    return repo, revision or None, (*dict.fromkeys(safe), special)


def _url_place(cfg: Mapping[str, Any]) -> tuple[str, Path] | None:
    """Address of the weights, and where torch.hub would keep them."""
    url = cfg.get("url")
    if not url:
        return None
    address, name = url if isinstance(url, list | tuple) else (url, Path(urlparse(str(url)).path).name)
    return str(address), Path(torch.hub.get_dir()) / "checkpoints" / name


def _cached(cfg: Mapping[str, Any]) -> Path | None:
    hub = _hub_place(cfg)
    if hub is not None:
        from huggingface_hub import try_to_load_from_cache

        repo, revision, names = hub
        for name in names:
            found = try_to_load_from_cache(repo, name, revision=revision)
            if isinstance(found, str):
                return Path(found)
    url = _url_place(cfg)
    return url[1] if url is not None and url[1].is_file() else None


def _fetch(name: str, cfg: Mapping[str, Any], allow_download: bool) -> Path:
    hub, url = _hub_place(cfg), _url_place(cfg)
    source = f"huggingface.co/{hub[0]}" if hub is not None else url[0] if url is not None else ""
    if not allow_download or offline():
        why = "HF_HUB_OFFLINE is set" if offline() else "nothing is downloaded without being asked to"
        raise ModelError(
            f"The weights of 'timm:{name}' are not in the local cache, and {why}. They would come from {source} "
            f"(licence: {cfg.get('license') or 'not stated'}).",
            f"Use --allow-download{' without HF_HUB_OFFLINE' if offline() else ''}, "
            f"or give a checkpoint file and --arch {name}.",
        )
    try:
        if hub is not None:
            return _from_hub(*hub)
        if url is None:
            raise ModelError(f"timm has no published weights for {name!r}.", "Give a checkpoint file and --arch.")
        url[1].parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url[0], str(url[1]), progress=False)
        return url[1]
    except ModelError:
        raise
    except Exception as error:  # network, hub and disk raise unrelated kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"The weights of 'timm:{name}' could not be fetched from {source}: {first[:200]}",
            f"Check the connection, or give a checkpoint file and --arch {name}.",
        ) from error


def _from_hub(repo: str, revision: str | None, names: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    missing: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repo, name, revision=revision))
        except LocalEntryNotFoundError:  # no connection: says nothing about the file
            raise
        except EntryNotFoundError as error:
            missing = error
    raise ModelError(f"{repo} holds none of {', '.join(names)}.") from missing
