"""A checkpoint file -> a draft of its model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, check_kwargs, create, default_cfg, library_of
from spuraudit.models.checkpoint import read_checkpoint
from spuraudit.models.foreign_originals import in_timms_names
from spuraudit.models.identify import undecided
from spuraudit.models.preprocess import input_size, resolve
from spuraudit.models.recognise import outputs_in, recognise
from spuraudit.models.request import AskedSize, Draft, asked_size
from spuraudit.models.weights import WeightsMismatchError, fit
from spuraudit.models.zero_shot import refuse_text_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from spuraudit.models.checkpoint import Checkpoint, Value
    from spuraudit.models.recognise import Recognised
    from spuraudit.models.request import Request

# More kinds than these are not asked on images, one by one.
_MOST_RIVALS = 11


def draft_from_file(name: str, request: Request) -> Draft:
    """The network of a checkpoint file. Raises ModelError, UsageError."""
    path = Path(name)
    if not path.exists() and timm.is_model(name):
        raise ModelError(f"There is no file {path}.", f"For timm's published weights write timm:{path}.")
    return draft_of(read_checkpoint(path, trust_code=request.trust_code), path, request)


def draft_of(checkpoint: Checkpoint, path: Path, request: Request) -> Draft:
    """The network of what a file holds; `path` is for messages and the model's name.

    Where several architectures fit that compute differently, the best is drafted and the others are its rivals.
    """
    known = recognise(checkpoint, path, request)
    draft = _draft(known, checkpoint, path, request)
    if len(known.found) < 2:
        return draft
    error = undecided(known.found, str(path), checkpoint.arch)
    if len(known.found) > _MOST_RIVALS + 1:
        raise error
    return replace(draft, rivals=tuple(one.arch for one in known.found[1:]), undecided=error)


def _draft(known: Recognised, checkpoint: Checkpoint, path: Path, request: Request) -> Draft:
    arch, arch_origin, cfg = known.arch, known.origin, default_cfg(known.arch)
    kwargs: dict[str, Any] = {**known.kwargs, **checkpoint.kwargs, **request.kwargs}
    check_kwargs(arch, kwargs)
    notes = [*checkpoint.notes, *known.notes]
    stated = [f"{key}={value}" for key, value in checkpoint.kwargs.items() if key not in request.kwargs]
    if stated:
        notes.append(f"The checkpoint's own arguments were used: {', '.join(stated)}.")
        arch_origin += f", with {', '.join(stated)} from the checkpoint"
    identity: dict[str, Any] = {
        "name": path.name.removesuffix(".tar").rsplit(".", 1)[0],
        "source": "file",
        "file": path.name,
        "sha256": checkpoint.sha256,
        "size_bytes": checkpoint.size_bytes,
        "arch": arch,
        "arch_origin": arch_origin,
    }
    if library_of(arch)[0] == "open_clip":
        from spuraudit.models.from_open_clip import draft_of_clip

        draft = draft_of_clip(arch, known.tensors, request, identity)
        return replace(draft, notes=(*notes, *draft.notes))
    refuse_text_options(request)
    asked = _asked_size(kwargs, checkpoint, request)
    network, kwargs, found = _Building(arch, cfg, checkpoint.file, asked).network(kwargs, known.tensors)
    preprocess = resolve(
        {**cfg, **_input_size_of(network)},
        cfg_origin=arch if arch in OWN else library_of(arch)[0] or "timm",
        checkpoint=known.preprocess,
        checkpoint_file=path.name,
        overrides=request.overrides,
        built_for=asked.size if asked else None,
        built_for_origin=asked.origin if asked else "",
    )
    return Draft(network, preprocess, {**identity, "kwargs": kwargs}, (*notes, *found))


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


@dataclass(frozen=True)
class _Building:
    """How a network is built for weights: for the asked size where the architecture fixes it."""

    arch: str
    cfg: Mapping[str, Any]
    file: str
    asked: AskedSize | None

    def network(
        self, kwargs: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
        """The network with the weights, the arguments it was built with, and what had to be done for it."""
        full = self._with_outputs(kwargs, tensors)
        try:
            network, fused = self._fit(self._sized(full), tensors)
        except WeightsMismatchError as error:
            return self._otherwise(kwargs, tensors, error)
        return network, full, _FUSED if fused else ()

    def _otherwise(
        self, kwargs: Mapping[str, Any], tensors: Mapping[str, Tensor], error: WeightsMismatchError
    ) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
        """Weights of the default size are moved to the asked one; files of an original repository are renamed."""
        full = self._with_outputs(kwargs, tensors)
        if error.mismatch.only_positions and self.asked is not None:
            # A size in the arguments is the file's own, unless the user gave it there.
            network, fused = self._fit(full if self.asked.origin == "--img-size" else _less_size(full), tensors)
            if not hasattr(network, "set_input_size"):
                raise error
            network.set_input_size(img_size=self.asked.size)  # type: ignore[operator]
            height, width = self.asked.size
            moved = f"Position tables were resampled to {height}x{width} ({self.asked.origin})."
            return network, full, (moved, *(_FUSED if fused else ()))
        renamed = in_timms_names(self.arch, self._sized(kwargs), tensors)
        if renamed is None:
            raise error
        full = self._with_outputs(kwargs, renamed)
        try:
            network, fused = self._fit(self._sized(full), renamed)
        except WeightsMismatchError:
            raise error from None
        note = (
            f"The names are those of the original repository: timm's own conversion for {self.arch} made "
            f"{len(renamed)} tensors of the file's {len(tensors)}."
        )
        return network, full, (note, *(_FUSED if fused else ()))

    def _fit(self, kwargs: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[nn.Module, bool]:
        return fit(lambda: create(self.arch, kwargs), tensors, self.arch, self.file)

    def _sized(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        fixed = bool(self.cfg.get("fixed_input_size")) or "img_size" in kwargs
        size = {"img_size": self.asked.size} if self.asked is not None and fixed else {}
        return {**_less_size(kwargs), **size}

    def _with_outputs(self, kwargs: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The number of outputs by the shape of the file's classifier, unless it is given or the usual one."""
        outputs = outputs_in(tensors, self.cfg)
        if "num_classes" in kwargs or outputs is None or outputs == self.cfg.get("num_classes"):
            return dict(kwargs)
        return {**kwargs, "num_classes": outputs}


_FUSED = ("The file holds the re-parameterised (deployment) form; the network was fused before loading.",)


def _less_size(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "img_size"}


def _input_size_of(network: nn.Module) -> dict[str, Any]:
    """The input size as the built network states it (a constructor may have changed the default)."""
    cfg = getattr(network, "pretrained_cfg", None) or {}
    return {"input_size": cfg["input_size"]} if cfg.get("input_size") else {}
