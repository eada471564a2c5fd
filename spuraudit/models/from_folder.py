"""A folder as the Hugging Face hub keeps it, on the disk or in the hub's cache -> a draft of its model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from spuraudit.errors import ModelError
from spuraudit.models.architectures import classifier_names, default_cfg
from spuraudit.models.checkpoint import Checkpoint, read_checkpoint
from spuraudit.models.folder_clip import clip_draft, open_clip_name
from spuraudit.models.folder_files import (
    CARD,
    CONFIG,
    OPEN_CLIP_CONFIG,
    PROCESSOR,
    WEIGHTS,
    Contents,
    contents,
    licence_in,
    outputs_in,
    read_json,
    shards_of,
    weights_in,
)
from spuraudit.models.from_file import draft_of
from spuraudit.models.from_open_clip import PREFIX
from spuraudit.models.hub import cached, download, known_absent, offline, parse_repo, repo_fetches, way_out, why_not
from spuraudit.models.preprocess import PreprocessOverrides
from spuraudit.models.processor_config import overrides_of
from spuraudit.models.zero_shot import refuse_text_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.models.checkpoint import Value
    from spuraudit.models.hub import Repo
    from spuraudit.models.request import Draft, Request


@dataclass(frozen=True)
class _Identity:
    """What a record says of where the folder came from."""

    source: str
    name: str


def draft_from_folder(name: str, request: Request) -> Draft:
    """The network of a folder with config.json and weights. Raises ModelError, UsageError."""
    folder = Path(name)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise ModelError(
            f"The folder {folder} {what}.", "Give a folder with config.json and weights, or the checkpoint file itself."
        )
    return _draft(folder, request, _Identity("local-dir", folder.resolve().name))


def draft_from_hub(name: str, request: Request) -> Draft:
    """The network of a hub repository `org/name[@revision]`: from the local cache, or fetched when allowed."""
    repo = parse_repo(name)
    notes: list[str] = []
    folder = _in_cache(repo, request, notes)
    draft = _draft(folder, request, _Identity("hf-hub", repo.name))
    licence = licence_in(folder)
    at = f"From {repo.page}, commit {folder.name}; licence: {licence or 'not stated in what is cached'}."
    return replace(draft, notes=(at, *notes, *draft.notes))


def _in_cache(repo: Repo, request: Request, notes: list[str]) -> Path:
    """The repository's folder in the cache, with all that is needed; fetches where that is allowed."""
    lacking = repo_fetches(repo)
    if request.overrides.mean is not None and request.overrides.std is not None:
        lacking = [one for one in lacking if one.what != PROCESSOR]
    if not lacking:
        config = cached(repo, CONFIG) or cached(repo, OPEN_CLIP_CONFIG)
        assert config is not None  # or it would be lacking
        return config.parent
    if request.allow_download and not offline():
        return _fetched(repo, request, notes)
    files = "; ".join(f"{one.what} ({one.size})" for one in lacking)
    licence = next((one.licence for one in lacking if one.licence), None)
    raise ModelError(
        f"'hf-hub:{repo.name}' is not whole in the local cache, and {why_not()}. From {repo.page} "
        f"(licence: {licence or 'unknown until asked'}) would come: {files}.",
        way_out("give local-dir:PATH or a checkpoint file"),
    )


def _fetched(repo: Repo, request: Request, notes: list[str]) -> Path:
    """Every file that is needed, of one commit: what the cache has of another one is of no use."""
    for name in (CONFIG, OPEN_CLIP_CONFIG, CARD):
        download(repo, (name,), notes)
    config = cached(repo, CONFIG) or cached(repo, OPEN_CLIP_CONFIG)
    if config is None:
        raise ModelError(
            f"{repo.page} holds neither {CONFIG} nor {OPEN_CLIP_CONFIG}.",
            "Only models of timm, transformers and open_clip can be taken from the hub.",
        )
    kind = contents(config.parent).kind
    if kind == "timm":
        refuse_text_options(request)  # before the weights come
    if kind == "transformers" and not known_absent(repo, PROCESSOR):
        download(repo, (PROCESSOR,), notes)
    weights = download(repo, WEIGHTS[kind], notes)
    if weights is None:
        raise ModelError(f"{repo.page} holds none of {', '.join(WEIGHTS[kind])}.", "Give a checkpoint file.")
    for shard in shards_of(weights) if weights.suffix == ".json" else ():
        if download(repo, (shard,), notes) is None:
            raise ModelError(f"{repo.page} lists {shard} in {weights.name} but does not hold it.")
    return weights.parent


def _draft(folder: Path, request: Request, identity: _Identity) -> Draft:
    found = contents(folder)
    weights = weights_in(folder, found.kind)
    if weights is None:
        raise ModelError(
            f"{folder} holds no weights: none of {', '.join(WEIGHTS[found.kind])}.",
            f"{found.config_name} is there; copy the weight file beside it, or give its path and --arch.",
        )
    stored = _merged(weights, request) if weights.suffix == ".json" else _read(weights, request)
    notes: tuple[str, ...] = ()
    if found.kind == "open_clip":
        return _of_open_clip(found.config, stored, folder, request, identity)
    if found.kind == "timm":
        checkpoint = _of_timm(found.config, stored, folder)
    else:
        checkpoint, notes = _of_transformers(found.config, stored, folder)
    if (checkpoint.arch or "").startswith(PREFIX):
        return _clip_of_transformers(checkpoint, folder, request, identity, notes)
    refuse_text_options(request)
    _check_head(checkpoint, found, request, folder)
    # The config names a network of timm, never another library's of the same name.
    draft = draft_of(checkpoint, weights, request if request.arch else replace(request, arch=checkpoint.arch))
    return _named(draft, found, identity, notes, by_user=request.arch is not None)


def _read(path: Path, request: Request) -> Checkpoint:
    return read_checkpoint(path, trust_code=request.trust_code)


def _named(draft: Draft, found: Contents, identity: _Identity, notes: tuple[str, ...], by_user: bool) -> Draft:
    """The same draft, saying that the config and not the weight file told what the network is."""
    said = PROCESSOR if found.kind == "transformers" and not notes else found.config_name
    origin = {key: said if value == "checkpoint" else value for key, value in draft.preprocess.origin.items()}
    arch_origin = str(draft.identity["arch_origin"]).replace("the checkpoint", found.config_name)
    if not by_user:
        arch_origin = arch_origin.replace("--arch", found.config_name)
    own = tuple(note.replace("The checkpoint's own", f"{found.config_name}'s own") for note in draft.notes)
    return replace(
        draft,
        preprocess=draft.preprocess.model_copy(update={"origin": origin}),
        identity={
            **draft.identity,
            "name": identity.name,
            "source": identity.source,
            "arch_origin": arch_origin,
        },
        notes=(*notes, *own),
    )


def _merged(index: Path, request: Request) -> Checkpoint:
    """The tensors of all shards. sha256: over the bytes of the files, in order of their names."""
    tensors: dict[str, Any] = {}
    digest, size = hashlib.sha256(), 0
    for name, listed in shards_of(index).items():
        path = index.parent / name
        if not path.is_file():
            raise ModelError(f"{index} lists {name}, which is not there.", "Get the missing file.")
        shard = _read(path, request)
        # A prefix that all names of one shard share need not be one of the whole.
        found = {shard.prefix + key: tensor for key, tensor in shard.tensors.items()}
        absent = [key for key in listed if key not in found]
        if absent:
            raise ModelError(f"{path} lacks {absent[0]!r}, which {index.name} places there.", "Get the files again.")
        tensors |= found
        digest.update(path.read_bytes())
        size += shard.size_bytes
    return Checkpoint(file=index.name, sha256=digest.hexdigest(), size_bytes=size, tensors=tensors)


def _of_timm(config: Mapping[str, Any], stored: Checkpoint, folder: Path) -> Checkpoint:
    """timm's config: architecture, constructor's arguments and preprocessing (`pretrained_cfg`; once it was flat)."""
    where = folder / CONFIG
    arch, cfg = config["architecture"], config.get("pretrained_cfg", config)
    kwargs = dict(config.get("model_args") or {})
    if not isinstance(arch, str) or not isinstance(cfg, dict):
        raise ModelError(f"{where}: 'architecture' must be a name and 'pretrained_cfg' an object.")
    odd = [name for name, value in kwargs.items() if not _recordable(value)]
    if odd:
        raise ModelError(
            f"{where}: model_args has {odd[0]}={kwargs[odd[0]]!r}, neither a value nor a list of values.",
            "Give the weight file itself with --arch and --model-kwargs.",
        )
    if kwargs.get("in_chans") == 3:
        del kwargs["in_chans"]  # the only number that can be audited
    built = kwargs.pop("img_size", None)  # the cfg may still state the size of the weights it was fine-tuned from
    size = (built, built) if isinstance(built, int) else built or (cfg.get("input_size") or (3,))[1:] or None
    outputs = outputs_in(config)
    if outputs is not None:
        kwargs["num_classes"] = outputs
    stated = {name: cfg.get(name) for name in ("mean", "std", "interpolation", "crop_pct", "crop_mode")}
    stated |= {name: tuple(value) for name, value in stated.items() if isinstance(value, list)}
    return replace(
        stored,
        arch=arch,
        kwargs=kwargs,
        preprocess=PreprocessOverrides(img_size=None if size is None else tuple(size), **stated),
    )


def _recordable(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(one is None or isinstance(one, str | int | float) for one in values)


def _of_transformers(config: Mapping[str, Any], stored: Checkpoint, folder: Path) -> tuple[Checkpoint, tuple[str, ...]]:
    """transformers' config and tensors in timm's terms, and what was not stated."""
    from spuraudit.models.conversion import from_transformers

    arch, kwargs, tensors = from_transformers(config, stored.tensors)
    processor = folder / PROCESSOR
    checkpoint = replace(stored, arch=arch, kwargs=cast("Mapping[str, Value]", kwargs), tensors=tensors)
    if processor.is_file():
        return replace(checkpoint, preprocess=overrides_of(read_json(processor), str(processor))), ()
    size = config.get("image_size")
    preprocess = PreprocessOverrides(img_size=size if isinstance(size, int) else None)
    owner = "open_clip's" if arch.startswith(PREFIX) else "timm's"
    note = f"There is no {PROCESSOR}: what it would state is {owner} for {arch}, unless given."
    return replace(checkpoint, preprocess=preprocess), (note,)


def _of_open_clip(
    config: Mapping[str, Any], stored: Checkpoint, folder: Path, request: Request, identity: _Identity
) -> Draft:
    """open_clip's config: the architecture's description, and how images are prepared."""
    arch = open_clip_name(config.get("model_cfg"), str(folder / OPEN_CLIP_CONFIG))
    stated = config.get("preprocess_cfg")
    record = {**_record(stored, identity), "arch_origin": OPEN_CLIP_CONFIG}
    return clip_draft(arch, stored.tensors, stated if isinstance(stated, dict) else {}, request, record)


def _clip_of_transformers(
    checkpoint: Checkpoint, folder: Path, request: Request, identity: _Identity, notes: tuple[str, ...]
) -> Draft:
    """A CLIP saved by transformers, as open_clip computes it."""
    said = checkpoint.preprocess
    if said.crop_pct not in (None, 1.0):
        raise ModelError(
            f"{folder / PROCESSOR}: images are resized to more than the input size; open_clip's are not.",
            "Give the weight file itself: open_clip:ARCH,FILE, with --crop-pct.",
        )
    stated = {name: value for name in ("mean", "std", "interpolation") if (value := getattr(said, name)) is not None}
    if said.crop_mode is not None:
        stated["resize_mode"] = "squash" if said.crop_mode == "squash" else "shortest"
    record = {**_record(checkpoint, identity), "arch_origin": CONFIG}
    draft = clip_draft(str(checkpoint.arch), checkpoint.tensors, stated, request, record)
    return replace(draft, notes=(*notes, *draft.notes))


def _record(checkpoint: Checkpoint, identity: _Identity) -> dict[str, Any]:
    return {
        "name": identity.name,
        "source": identity.source,
        "file": checkpoint.file,
        "sha256": checkpoint.sha256,
        "size_bytes": checkpoint.size_bytes,
    }


def _check_head(checkpoint: Checkpoint, found: Contents, request: Request, folder: Path) -> None:
    """Raise ModelError where config and weights disagree about the number of outputs."""
    arch = request.arch or checkpoint.arch or ""
    try:
        cfg = default_cfg(arch)
    except ModelError as error:
        raise ModelError(f"{folder / found.config_name}: {error.message}", error.hint) from error
    stated = outputs_in(found.config) if found.kind == "timm" else _labels(found.config)
    if stated is None or "num_classes" in request.kwargs:
        return
    for name in classifier_names(cfg):
        head = checkpoint.tensors.get(f"{name}.weight")
        if head is not None and head.shape[0] != stated:
            raise ModelError(
                f"{folder / found.config_name} states {stated} outputs, but {name}.weight in {checkpoint.file} has "
                f"{head.shape[0]}.",
                "One of the two files belongs to another model; --model-kwargs num_classes=N decides for the weights.",
            )


def _labels(config: Mapping[str, Any]) -> int | None:
    labels = config.get("id2label")
    count = config.get("num_labels", len(labels) if isinstance(labels, dict) else None)
    return count if isinstance(count, int) else None
