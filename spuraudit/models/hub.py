"""The Hugging Face hub's local cache, what a spec would have fetched and how large, and fetching what is allowed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import torch

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, create, default_cfg
from spuraudit.models.folder_files import (
    CONFIG,
    OPEN_CLIP_CONFIG,
    PROCESSOR,
    WEIGHTS,
    contents,
    licence_in,
    outputs_in,
    shards_of,
    weights_in,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
_YES = ("1", "true", "yes", "on")
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Fetch:
    """A file that would be fetched.

    where: its address or repository. bytes: its size, None where nothing tells it. licence: None where none is stated.
    parameters: where the size is an estimate, the number of parameters it was made from, at four bytes each.
    """

    what: str
    where: str
    bytes: int | None = None
    licence: str | None = None
    parameters: int | None = None

    @property
    def size(self) -> str:
        """Such as `about 102 MB: 25.6 M parameters in float32`."""
        if self.bytes is None:
            return "size unknown until asked"
        if self.parameters is None:
            return size_text(self.bytes)
        return f"about {size_text(self.bytes)}: {self.parameters / 1e6:,.1f} M parameters in float32"


@dataclass(frozen=True)
class Repo:
    """A repository of the hub at a revision (None: its main branch)."""

    name: str
    revision: str | None = None

    @property
    def page(self) -> str:
        """Its address, without the scheme."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT.partition('://')[2]}/{self.name}{f'@{self.revision}' if self.revision else ''}"


def offline() -> str | None:
    """The variable by which the user has forbidden the hub: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((name for name in names if os.environ.get(name, "").strip().lower() in _YES), None)


def why_not() -> str:
    """Why nothing is fetched, for messages."""
    forbidden = offline()
    return f"{forbidden} is set" if forbidden else "nothing is downloaded without being asked to"


def way_out(alternative: str) -> str:
    """The hint beside `why_not`: how to allow it, or what to give instead."""
    forbidden = offline()
    return f"Use --allow-download{f' without {forbidden}' if forbidden else ''}, or {alternative}."


def size_text(count: int) -> str:
    """Bytes in decimal units, three digits."""
    unit, name = next(((unit, name) for unit, name in _UNITS if count >= unit), (1.0, "bytes"))
    number = count / unit
    return f"{number:.0f} {name}" if number >= 100 else f"{number:.3g} {name}"


def parse_repo(text: str) -> Repo:
    """`org/name[@revision]`. Raises ModelError for what cannot be a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    name, _, revision = text.partition("@")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ModelError(
            f"'hf-hub:{text}' names no repository: {str(error).splitlines()[0]}",
            "For example hf-hub:timm/resnet18.a1_in1k",
        ) from error
    return Repo(name, revision or None)


def cached(repo: Repo, file: str) -> Path | None:
    """The file in the local cache. No request is made."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo.name, file, revision=repo.revision)
    return Path(found) if isinstance(found, str) else None


def known_absent(repo: Repo, file: str) -> bool:
    """Whether the cache has written down that the repository holds no such file. No request is made."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo.name, file, revision=repo.revision)
    return found is not None and not isinstance(found, str)


def snapshot(repo: Repo) -> Path | None:
    """The folder of the cache that holds the repository's config; None where that is not in the cache."""
    found = next((path for name in (CONFIG, OPEN_CLIP_CONFIG) if (path := cached(repo, name)) is not None), None)
    return found.parent if found is not None else None


def download(repo: Repo, files: Sequence[str], notes: list[str]) -> Path | None:
    """The first of `files` that the repository holds, fetched into the cache; None where it holds none of them.

    What was fetched is added to `notes`. Raises ModelError where the hub does not answer, refuses, or is forbidden.
    """
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if offline():
        raise ModelError(f"{repo.page} cannot be asked: {why_not()}.", way_out("give a checkpoint file"))
    try:
        for name in files:
            known = cached(repo, name)
            try:
                path = Path(hf_hub_download(repo.name, name, revision=repo.revision))
            except LocalEntryNotFoundError:  # no connection: says nothing about the file
                raise
            except EntryNotFoundError:
                continue
            if path != known:
                notes.append(fetched_note(hf_hub_url(repo.name, name, revision=repo.revision), path))
            return path
    except Exception as error:  # network, hub and disk raise unrelated kinds
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{' or '.join(files)} could not be fetched from {repo.page}: {first[:200]}",
            "Check the name, the connection and, for a repository with conditions, your access to it; "
            "or give a checkpoint file.",
        ) from error
    return None


def fetched_note(address: str, path: Path) -> str:
    """What a record says of a file that was fetched."""
    return f"Fetched {address} ({path.stat().st_size:,} bytes)."


def timm_repo(cfg: Mapping[str, Any]) -> tuple[Repo, tuple[str, ...]] | None:
    """The repository of a timm pretrained_cfg, and acceptable file names."""
    if not cfg.get("hf_hub_id"):
        return None
    name, _, revision = str(cfg["hf_hub_id"]).partition("@")
    repo = Repo(name, revision or None)
    special = cfg.get("hf_hub_filename")
    if special is None:
        return repo, _TIMM_FILES
    stem = str(special).removesuffix(".bin")
    # The hub keeps the safe form beside the pickled one under the same stem (open_clip drops 'pytorch_').
    safe = [f"{stem}.safetensors", f"{stem.replace('pytorch_', '')}.safetensors"] if special.endswith(".bin") else []
    return repo, (*dict.fromkeys(safe), special)


def timm_address(cfg: Mapping[str, Any]) -> tuple[str, Path] | None:
    """Address of the weights of a timm pretrained_cfg, and where torch.hub would keep them."""
    url = cfg.get("url")
    if not url:
        return None
    address, name = url if isinstance(url, list | tuple) else (url, Path(urlparse(str(url)).path).name)
    return str(address), Path(torch.hub.get_dir()) / "checkpoints" / name


def timm_cached(cfg: Mapping[str, Any]) -> Path | None:
    """The weight file of a timm pretrained_cfg in one of the local caches."""
    place = timm_repo(cfg)
    if place is not None:
        found = next((path for name in place[1] if (path := cached(place[0], name)) is not None), None)
        if found is not None:
            return found
    address = timm_address(cfg)
    return address[1] if address is not None and address[1].is_file() else None


def timm_fetch(name: str, cfg: Mapping[str, Any]) -> Fetch:
    """What `timm:name` would have fetched."""
    place, address = timm_repo(cfg), timm_address(cfg)
    where = place[0].page if place is not None else address[0] if address is not None else ""
    count = count_parameters(name, {})
    return Fetch(f"weights of {name}", where, in_float32(count), cfg.get("license"), count)


def count_parameters(arch: str, kwargs: Mapping[str, Any]) -> int | None:
    """Parameters of an architecture, built without memory for them; None where it cannot be built so."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in create(arch, kwargs).parameters())
    except ModelError:
        return None


def in_float32(parameters: int | None) -> int | None:
    """Bytes of so many parameters."""
    return None if parameters is None else 4 * parameters


def repo_fetches(repo: Repo) -> list[Fetch]:
    """The files of a repository that are needed and not cached, as far as the cache tells. No request is made."""
    folder = snapshot(repo)
    if folder is None:
        names = (
            f"{CONFIG} or {OPEN_CLIP_CONFIG}",
            f"{PROCESSOR} (where there is one)",
            "model.safetensors, pytorch_model.bin or their open_clip forms",
        )
        return [Fetch(name, repo.page) for name in names]
    found, licence = contents(folder), licence_in(folder)
    missing = []
    if found.kind == "transformers" and cached(repo, PROCESSOR) is None and not known_absent(repo, PROCESSOR):
        missing.append(Fetch(PROCESSOR, repo.page, licence=licence))
    weights = weights_in(folder, found.kind)
    if weights is None:
        count = _parameters_of(found.config) if found.kind == "timm" else None
        missing.append(Fetch(_either(WEIGHTS[found.kind]), repo.page, in_float32(count), licence, count))
    elif weights.suffix == ".json":
        absent = [name for name in shards_of(weights) if not (folder / name).is_file()]
        missing += [Fetch(name, repo.page, licence=licence) for name in absent]
    return missing


def _either(names: Sequence[str]) -> str:
    return " or ".join(name for name in names if not name.endswith(".json"))


def _parameters_of(config: Mapping[str, Any]) -> int | None:
    kwargs = config.get("model_args")
    stated = {"num_classes": outputs_in(config), **(kwargs if isinstance(kwargs, dict) else {})}
    return count_parameters(str(config["architecture"]), stated)


def would_fetch(spec: str) -> list[Fetch]:
    """What loading `spec` would have to fetch; empty where nothing is missing. No request is made.

    Sizes are estimates from the number of parameters; None where the cache does not tell the architecture.
    Raises ModelError for an unknown architecture or tag, for an impossible name of a repository, and for a zoo entry
    whose files the user has to bring and has not; UsageError for an unknown zoo entry.
    """
    word, _, name = spec.partition(":")
    if word == "timm" and name not in OWN:
        cfg = default_cfg(name)
        return (
            [] if timm_cached(cfg) is not None or not (timm_repo(cfg) or timm_address(cfg)) else [timm_fetch(name, cfg)]
        )
    if word == "hf-hub":
        return repo_fetches(parse_repo(name))
    if word == "open_clip":
        from spuraudit.models.folder_clip import clip_fetches  # which needs this module

        return clip_fetches(name)
    if word == "zoo":
        from spuraudit.models.from_zoo import zoo_fetches  # as above

        return zoo_fetches(name)
    return []
