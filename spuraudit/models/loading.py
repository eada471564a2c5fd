"""MODEL -> Model: what the user typed becomes a network with everything needed to ask it."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch

from spuraudit.errors import ModelError, UsageError
from spuraudit.models.architectures import OWN, check_kwargs, classifier_names, create, default_cfg
from spuraudit.models.checkpoint import read_checkpoint
from spuraudit.models.device import resolve_device
from spuraudit.models.identify import identify
from spuraudit.models.layout import lay_channels_last
from spuraudit.models.model import Model
from spuraudit.models.precision import Precision, resolve_precision
from spuraudit.models.preprocess import NO_OVERRIDES, PreprocessOverrides, input_size, resolve
from spuraudit.models.timm_weights import create_pretrained
from spuraudit.models.weights import WeightsMismatchError, fit
from spuraudit.record.scan import ModelRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from spuraudit.models.checkpoint import Checkpoint, Value
    from spuraudit.record.geometry import Preprocess

Size = tuple[int, int]


@dataclass(frozen=True)
class _Size:
    """The input size that was asked for, and by whom."""

    size: Size
    origin: str


@dataclass(frozen=True)
class _Place:
    """Where the network runs, and with which numbers."""

    device: torch.device
    precision: Precision


def load(
    spec: str,
    *,
    arch: str | None = None,
    kwargs: Mapping[str, Value] | None = None,
    overrides: PreprocessOverrides = NO_OVERRIDES,
    device: str = "auto",
    precision: str = "fp32",
    allow_download: bool = False,
) -> Model:
    """Load a classifier.

    spec: a checkpoint file (.pt, .pth, .ckpt, .tar, .bin, .safetensors) or 'timm:NAME' for timm's published weights,
    which are taken from the local cache, or fetched only with allow_download. arch: the architecture of a file that
    does not state it. kwargs: arguments of the constructor. device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.
    precision: of matrix products and convolutions, 'fp32', 'bf16' or 'fp16' (the weights stay float32).
    Returns the network in eval mode, without gradients, after one pass over a test image has shown that it answers.
    Raises ModelError for everything wrong with the checkpoint, UsageError for impossible options.
    """
    target = resolve_device(device)
    place = _Place(target, resolve_precision(precision, target))
    given = dict(kwargs or {})
    if overrides.img_size is not None and "img_size" in given:
        raise UsageError("The input size is given twice: --img-size and --model-kwargs img_size.", "Leave one out.")
    source, separator, name = spec.partition(":")
    if separator and source == "timm":
        return _from_timm(name, arch, given, overrides, place, allow_download)
    if separator and re.fullmatch(r"[a-z][a-z_-]+", source) and not Path(spec).exists():
        raise ModelError(f"{spec}: models from {source + ':'!r} are not known.", "Give a checkpoint file or timm:NAME.")
    return _from_file(Path(spec), arch, given, overrides, place)


def _from_file(
    path: Path, arch: str | None, given: dict[str, Value], overrides: PreprocessOverrides, place: _Place
) -> Model:
    if not path.exists() and timm.is_model(str(path)):
        raise ModelError(f"There is no file {path}.", f"For timm's published weights write timm:{path}.")
    checkpoint = read_checkpoint(path)
    arch, arch_origin = _architecture(checkpoint, arch, path)
    kwargs: dict[str, Value] = {**checkpoint.kwargs, **given}
    try:
        cfg = default_cfg(arch)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message} ({arch_origin})", error.hint) from error
    check_kwargs(arch, kwargs)
    if "num_classes" not in kwargs:
        outputs = _outputs_in(checkpoint, cfg)
        if outputs is not None and outputs != cfg.get("num_classes"):
            kwargs["num_classes"] = outputs
    stated = [f"{key}={value}" for key, value in checkpoint.kwargs.items() if key not in given]
    notes = [*checkpoint.notes]
    if stated:
        notes.append(f"The checkpoint's own arguments were used: {', '.join(stated)}.")
        arch_origin += f", with {', '.join(stated)} from the checkpoint"
    asked = _asked_size(kwargs, checkpoint, overrides, "img_size" in given)
    network, found = _network(arch, kwargs, checkpoint, cfg, asked)
    preprocess = resolve(
        {**cfg, **_input_size_of(network)},
        cfg_origin=arch if arch in OWN else "timm",
        checkpoint=checkpoint.preprocess,
        checkpoint_file=path.name,
        overrides=overrides,
        built_for=asked.size if asked else None,
        built_for_origin=asked.origin if asked else "",
    )
    return _finish(
        network,
        preprocess,
        place,
        (*notes, *found),
        name=path.name.removesuffix(".tar").rsplit(".", 1)[0],
        source="file",
        file=path.name,
        sha256=checkpoint.sha256,
        size_bytes=checkpoint.size_bytes,
        arch=arch,
        arch_origin=arch_origin,
        kwargs=kwargs,
    )


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


def _asked_size(
    kwargs: Mapping[str, Value], checkpoint: Checkpoint, overrides: PreprocessOverrides, given: bool
) -> _Size | None:
    """The user's size first, then the constructor's, then the training script's."""
    if overrides.img_size is not None:
        return _Size(input_size(overrides.img_size, "--img-size", UsageError), "--img-size")
    constructor = kwargs.get("img_size")
    if constructor is not None:
        origin = "--model-kwargs" if given else "checkpoint"
        if not isinstance(constructor, int):
            raise ModelError(f"img_size={constructor!r} ({origin}) is not a number of pixels.", "For example 224.")
        return _Size(input_size(constructor, f"img_size ({origin})", ModelError), origin)
    if checkpoint.preprocess.img_size is not None:
        stated = input_size(checkpoint.preprocess.img_size, f"img_size in {checkpoint.file}", ModelError)
        return _Size(stated, "checkpoint")
    return None


def _network(
    arch: str, kwargs: Mapping[str, Value], checkpoint: Checkpoint, cfg: Mapping[str, Any], asked: _Size | None
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


def _from_timm(
    name: str,
    arch: str | None,
    given: dict[str, Value],
    overrides: PreprocessOverrides,
    place: _Place,
    allow_download: bool,
) -> Model:
    if arch is not None and arch != name:
        raise UsageError(f"timm:{name} names its architecture; --arch {arch} contradicts it.", "Leave --arch out.")
    cfg = default_cfg(name)
    check_kwargs(name, given)
    asked: _Size | None = None
    if overrides.img_size is not None:
        asked = _Size(input_size(overrides.img_size, "--img-size", UsageError), "--img-size")
    elif isinstance(given.get("img_size"), int):
        asked = _Size(input_size(given["img_size"], "img_size", ModelError), "--model-kwargs")  # type: ignore[arg-type]
    kwargs: dict[str, Any] = dict(given)
    if asked is not None and cfg.get("fixed_input_size"):
        kwargs["img_size"] = asked.size
    network = create_pretrained(name, kwargs, allow_download)
    preprocess = resolve(
        cfg,
        cfg_origin="timm",
        overrides=overrides,
        built_for=asked.size if asked else None,
        built_for_origin=asked.origin if asked else "",
    )
    return _finish(
        network,
        preprocess,
        place,
        (),
        name=name,
        source="timm",
        file=None,
        sha256=_digest(network),
        size_bytes=None,
        arch=name,
        arch_origin="name",
        kwargs=given,
    )


def _digest(network: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of the state, in order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _finish(
    network: nn.Module, preprocess: Preprocess, place: _Place, notes: tuple[str, ...], **identity: Any
) -> Model:
    """Eval mode, no gradients, on the device; then ask once, so that a network that cannot answer stops here."""
    network = network.eval().requires_grad_(False).float().to(place.device)
    draft = ModelRecord(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        num_classes=0,
        preprocess=preprocess,
        precision=place.precision,
        notes=list(notes),
        **identity,
    )
    model = Model(network=network, record=draft, device=place.device)
    geometry = preprocess.geometry
    # All grey values: an even grey could be all zeros after normalisation.
    shape = (1, 3, geometry.height, geometry.width)
    ramp = torch.linspace(0, 1, math.prod(shape), device=place.device).reshape(shape)
    logits = _first_answer(model, ramp)
    lay_channels_last(model, ramp, logits)
    return replace(model, record=draft.model_copy(update={"num_classes": int(logits.shape[1])}))


def _first_answer(model: Model, ramp: Tensor) -> Tensor:
    """Logits of one image, (1, outputs): finite, and at least two."""
    record, geometry = model.record, model.record.preprocess.geometry
    try:
        logits = model.logits(ramp)
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{record.name} ({record.arch}) does not answer an image of {geometry.height}x{geometry.width} pixels: "
            f"{first[:200]}",
            "Check --img-size and --model-kwargs.",
        ) from error
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ModelError(
            f"{record.name} ({record.arch}) answers with the shape {tuple(logits.shape)}, not with at least two "
            "logits per image.",
            "Only classifiers with a softmax head can be audited; check that the checkpoint has its classifier.",
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"{record.name} ({record.arch}) answers a test image with NaN or infinity.",
            "float16 ends at 65,504, which the activations exceed: use --precision bf16 or fp32."
            if record.precision == "fp16"
            else "The weights are finite, so the activations overflow: check --model-kwargs and the checkpoint.",
        )
    return logits
