"""What a file says its network is, and what its tensors show: architecture, the network's own tensors, normaliser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import timm
import torch

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, check_kwargs, classifier_names, create, default_cfg, library_of
from spuraudit.models.conversion import Converted, convert
from spuraudit.models.foreign_heads import rehung
from spuraudit.models.identify import Identified, fitting, known_by_name, load_index, unknown
from spuraudit.models.preprocess import PreprocessOverrides
from spuraudit.models.torchvision_models import names as torchvision_names
from spuraudit.models.torchvision_models import stated_by_names
from spuraudit.models.weights import fused_names
from spuraudit.models.wrappers import find, normaliser_in, notes_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from spuraudit.models.checkpoint import Checkpoint
    from spuraudit.models.request import Request
    from spuraudit.models.wrappers import Inner


_RENORMALISED = (
    "The network renormalises its input (transform_input), as torchvision builds it for its published weights; the "
    "file does not tell: --model-kwargs transform_input=false takes that out."
)


@dataclass(frozen=True)
class Recognised:
    """What a checkpoint's network is.

    origin: who says so. tensors: the network's own, in the architecture's names. kwargs: arguments of the constructor
    that names and shapes show. found: all architectures that fit, where the file had to be identified.
    """

    arch: str
    origin: str
    tensors: Mapping[str, Tensor]
    preprocess: PreprocessOverrides
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    found: tuple[Identified, ...] = ()


def recognise(checkpoint: Checkpoint, path: Path, request: Request) -> Recognised:
    """The user's word first, then the file's where that is known, then what the tensors fit. Raises ModelError."""
    if request.arch is not None:
        other = checkpoint.arch if checkpoint.arch not in (None, request.arch) else None
        origin = "--arch" + (f" (the checkpoint says {other!r})" if other else "")
        return _named(request.arch, origin, checkpoint, path, request)
    if checkpoint.arch is not None and _is_known(checkpoint.arch):
        return _stated(checkpoint.arch, checkpoint, path, request)
    return _identified(checkpoint, path, request)


def outputs_in(tensors: Mapping[str, Tensor], cfg: Mapping[str, Any]) -> int | None:
    """Number of outputs by the shape of the classifier; None where there is no such layer."""
    for name in classifier_names(cfg):
        for kind in ("weight", "bias"):
            tensor = tensors.get(f"{name}.{kind}")
            if tensor is not None and tensor.ndim > 0:
                return int(tensor.shape[0])
    return None


def _is_known(arch: str) -> bool:
    if arch in torchvision_names():
        return True
    try:
        default_cfg(arch)
    except ModelError:
        return False
    return True


def _identified(checkpoint: Checkpoint, path: Path, request: Request) -> Recognised:
    """By names and shapes; what the file says of its architecture, if anything, is unknown."""

    def read(tensors: Mapping[str, Tensor]) -> Converted | None:
        found = fitting(tensors)
        if found:
            return Converted(tensors, found)
        converted = convert(tensors, request.kwargs)
        if converted is not None and converted.found:
            return converted
        moved = rehung(tensors, _usual_layers(), lambda renamed: bool(fitting(renamed)))
        return Converted(moved.tensors, fitting(moved.tensors), note=moved.note) if moved is not None else None

    inner = find(checkpoint.tensors, read, checkpoint.file)
    if inner is None:
        like_known = find(checkpoint.tensors, lambda tensors: tensors if known_by_name(tensors) else None, str(path))
        tensors = like_known.tensors if like_known is not None else checkpoint.tensors
        raise unknown(tensors, str(path), checkpoint.arch)
    first = inner.reading.found[0]
    known = Recognised(first.arch, first.origin, inner.reading.tensors, checkpoint.preprocess)
    known = replace(known, kwargs=inner.reading.kwargs, found=inner.reading.found)
    said = f"The file says {checkpoint.arch!r}, which is unknown: identified instead." if checkpoint.arch else None
    return _completed(known, inner, checkpoint, (said, inner.reading.note, inner.reading.assumed))


def _usual_layers() -> list[str]:
    return [layers[0] for layers in load_index().classifiers if len(layers) == 1]


def _stated(arch: str, checkpoint: Checkpoint, path: Path, request: Request) -> Recognised:
    """The file's own word is timm's name; torchvision's where timm has no such name, or another network of it."""
    theirs = f"torchvision:{arch}" if arch in torchvision_names() else None
    if theirs is None or timm.is_model(arch):
        known = _named(arch, "checkpoint", checkpoint, path, request)
        if theirs is None or _Names(arch, {**checkpoint.kwargs, **request.kwargs}).fit(known.tensors):
            return known
        other = _named(theirs, f"checkpoint ({arch!r}, as torchvision's)", checkpoint, path, request)
        return other if _Names(theirs, {**checkpoint.kwargs, **request.kwargs}).fit(other.tensors) else known
    return _named(theirs, f"checkpoint ({arch!r}, as torchvision's)", checkpoint, path, request)


def _named(arch: str, origin: str, checkpoint: Checkpoint, path: Path, request: Request) -> Recognised:
    """The tensors that have the names of a named architecture; all of them where none have, for the message."""
    kwargs = {**checkpoint.kwargs, **request.kwargs}
    try:
        default_cfg(arch)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message} ({origin})", error.hint) from error
    check_kwargs(arch, kwargs)
    names = _Names(arch, kwargs)

    def read(tensors: Mapping[str, Tensor]) -> Converted | None:
        if names.fit(tensors):
            return Converted(tensors, ())
        converted = convert(tensors, {"num_heads": 1})  # which the architecture decides
        if converted is not None and names.fit(converted.tensors):
            return converted
        moved = rehung(tensors, classifier_names(default_cfg(arch)), names.fit)
        return Converted(moved.tensors, (), note=moved.note) if moved is not None else None

    inner = find(checkpoint.tensors, read, checkpoint.file)
    if inner is None:
        return Recognised(arch, origin, checkpoint.tensors, checkpoint.preprocess)
    known = Recognised(arch, origin, inner.reading.tensors, checkpoint.preprocess)
    shown = {name: value for name, value in inner.reading.kwargs.items() if name == "layer_norm_eps"}
    return _completed(replace(known, kwargs=shown), inner, checkpoint, (inner.reading.note,))


def _completed(
    known: Recognised, inner: Inner[Converted], checkpoint: Checkpoint, notes: tuple[str | None, ...]
) -> Recognised:
    """With what was left out, and the normaliser among it."""
    said = (*notes_of(inner, list(checkpoint.tensors)), *(note for note in notes if note))
    kwargs = dict(known.kwargs)
    if library_of(known.arch)[0] == "torchvision":
        kwargs |= stated_by_names(library_of(known.arch)[1], known.tensors)
    if "transform_input" in kwargs:
        said += (_RENORMALISED,)
    beside = normaliser_in(checkpoint.tensors, inner.outside, checkpoint.file)
    preprocess = checkpoint.preprocess
    if beside is not None:
        preprocess = replace(preprocess, mean=beside.mean, std=beside.std)
        said += ("The file holds a normaliser of [0, 1] pixels in front of the network; its mean and std are used.",)
    return replace(known, kwargs=kwargs, preprocess=preprocess, notes=said)


class _Names:
    """Whether tensors have the names of an architecture, fused or not; batch norm's counters do not matter."""

    def __init__(self, arch: str, kwargs: Mapping[str, Any]) -> None:
        self._arch = arch
        self._kwargs = {name: value for name, value in kwargs.items() if name != "img_size"}
        self._cfg = default_cfg(arch)
        self._known: dict[tuple[object, ...], tuple[set[str], set[str]]] = {}

    def fit(self, tensors: Mapping[str, Tensor]) -> bool:
        """Names alone: shapes are compared when the weights are loaded, with a message that says which differ."""
        given = dict(self._kwargs)
        if self._arch not in OWN and not self._cfg.get("num_classes", 1) and outputs_in(tensors, self._cfg):
            given.setdefault("num_classes", 2)  # the usual form has no classifier, the file has one
        if library_of(self._arch)[0] == "torchvision":
            given |= stated_by_names(library_of(self._arch)[1], tensors)
        key = tuple((name, str(value)) for name, value in given.items())
        if key not in self._known:
            with torch.device("meta"):
                network = create(self._arch, given).eval()
                plain = _counted_out(network.state_dict())
                self._known[key] = plain, _counted_out(fused_names(network))
        names = _counted_out(tensors)
        return bool(names) and names in self._known[key]


def _counted_out(names: Mapping[str, object] | set[str]) -> set[str]:
    return {name for name in names if not name.endswith("num_batches_tracked")}
