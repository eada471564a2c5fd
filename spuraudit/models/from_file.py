"""A checkpoint file -> a draft of its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, check_kwargs, classifier_names, create, default_cfg
from spuraudit.models.checkpoint import read_checkpoint
from spuraudit.models.identify import identify
from spuraudit.models.preprocess import input_size, resolve
from spuraudit.models.request import AskedSize, Draft, asked_size
from spuraudit.models.weights import WeightsMismatchError, fit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from spuraudit.models.checkpoint import Checkpoint, Value
    from spuraudit.models.request import Request


def draft_from_file(name: str, request: Request) -> Draft:
    """The network of a checkpoint file. Raises ModelError, UsageError."""
    path = Path(name)
    if not path.exists() and timm.is_model(name):
        raise ModelError(f"There is no file {path}.", f"For timm's published weights write timm:{path}.")
    return draft_of(read_checkpoint(path), path, request)


def draft_of(checkpoint: Checkpoint, path: Path, request: Request) -> Draft:
    """The network of what a file holds; `path` is for messages and the model's name."""
    arch, arch_origin = _architecture(checkpoint, request.arch, path)
    kwargs: dict[str, Value] = {**checkpoint.kwargs, **request.kwargs}
    try:
        cfg = default_cfg(arch)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message} ({arch_origin})", error.hint) from error
    check_kwargs(arch, kwargs)
    if "num_classes" not in kwargs:
        outputs = _outputs_in(checkpoint, cfg)
        if outputs is not None and outputs != cfg.get("num_classes"):
            kwargs["num_classes"] = outputs
    stated = [f"{key}={value}" for key, value in checkpoint.kwargs.items() if key not in request.kwargs]
    notes = [*checkpoint.notes]
    if stated:
        notes.append(f"The checkpoint's own arguments were used: {', '.join(stated)}.")
        arch_origin += f", with {', '.join(stated)} from the checkpoint"
    asked = _asked_size(kwargs, checkpoint, request)
    network, found = _network(arch, kwargs, checkpoint, cfg, asked)
    preprocess = resolve(
        {**cfg, **_input_size_of(network)},
        cfg_origin=arch if arch in OWN else "timm",
        checkpoint=checkpoint.preprocess,
        checkpoint_file=path.name,
        overrides=request.overrides,
        built_for=asked.size if asked else None,
        built_for_origin=asked.origin if asked else "",
    )
    identity = {
        "name": path.name.removesuffix(".tar").rsplit(".", 1)[0],
        "source": "file",
        "file": path.name,
        "sha256": checkpoint.sha256,
        "size_bytes": checkpoint.size_bytes,
        "arch": arch,
        "arch_origin": arch_origin,
        "kwargs": kwargs,
    }
    return Draft(network, preprocess, identity, (*notes, *found))


def _architecture(checkpoint: Checkpoint, arch: str | None, path: Path) -> tuple[str, str]:
    if arch is not None:
        other = checkpoint.arch if checkpoint.arch not in (None, arch) else None
        return arch, "--arch" + (f" (the checkpoint says {other!r})" if other else "")
    if checkpoint.arch is not None:
        return checkpoint.arch, "checkpoint"
    identified = identify(checkpoint.tensors, str(path))
    return identified.arch, identified.origin


def _outputs_in(checkpoint: Checkpoint, cfg: Mapping[str, Any]) -> int | None:
    """Number of outputs by the shape of the file's classifier; None where the file has no such layer."""
    for name in classifier_names(cfg):
        for kind in ("weight", "bias"):
            tensor = checkpoint.tensors.get(f"{name}.{kind}")
            if tensor is not None and tensor.ndim > 0:
                return int(tensor.shape[0])
    return None


def _asked_size(kwargs: Mapping[str, Value], checkpoint: Checkpoint, request: Request) -> AskedSize | None:
    """The user's size first, then the file's constructor arguments, then its training script's."""
    asked = asked_size(request)
    if asked is not None:
        return asked
    constructor = kwargs.get("img_size")
    if isinstance(constructor, int):
        return AskedSize(input_size(constructor, "img_size (checkpoint)", ModelError), "checkpoint")
    if constructor is not None:
        raise ModelError(f"img_size={constructor!r} (checkpoint) is not a number of pixels.", "For example 224.")
    if checkpoint.preprocess.img_size is not None:
        stated = input_size(checkpoint.preprocess.img_size, f"img_size in {checkpoint.file}", ModelError)
        return AskedSize(stated, "checkpoint")
    return None


def _network(
    arch: str, kwargs: Mapping[str, Value], checkpoint: Checkpoint, cfg: Mapping[str, Any], asked: AskedSize | None
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network with the file's weights, built for the asked size where the architecture fixes it."""
    rest = {key: value for key, value in kwargs.items() if key != "img_size"}
    fixed = bool(cfg.get("fixed_input_size")) or "img_size" in kwargs
    sized = {**rest, "img_size": asked.size} if asked is not None and fixed else rest
    notes: tuple[str, ...] = ()
    try:
        network, fused = fit(lambda: create(arch, sized), checkpoint.tensors, arch, checkpoint.file)
    except WeightsMismatchError as error:
        if asked is None or not error.mismatch.only_positions:
            raise
        # The weights belong to the default size: load them there, then move the position tables to the asked size.
        network, fused = fit(lambda: create(arch, rest), checkpoint.tensors, arch, checkpoint.file)
        if not hasattr(network, "set_input_size"):
            raise
        network.set_input_size(img_size=asked.size)  # type: ignore[operator]
        notes = (f"Position tables were resampled to {asked.size[0]}x{asked.size[1]} ({asked.origin}).",)
    if fused:
        notes += ("The file holds the re-parameterised (deployment) form; the network was fused before loading.",)
    return network, notes


def _input_size_of(network: nn.Module) -> dict[str, Any]:
    """The input size as the built network states it (a constructor may have changed the default)."""
    cfg = getattr(network, "pretrained_cfg", None) or {}
    return {"input_size": cfg["input_size"]} if cfg.get("input_size") else {}
