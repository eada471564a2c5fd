"""What is asked of a source of models, and what it gives: the seam between `loading` and the `from_*` modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from spuraudit.errors import ModelError, UsageError
from spuraudit.models.preprocess import NO_OVERRIDES, PreprocessOverrides, input_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from torch import nn

    from spuraudit.models.checkpoint import Value
    from spuraudit.record.geometry import Preprocess

    class Source(Protocol):
        """Makes a draft of what stands behind the colon of a spec."""

        def __call__(self, name: str, request: Request) -> Draft: ...


def _silent(text: str) -> None:
    del text


@dataclass(frozen=True)
class Request:
    """What the user said of a model besides naming it.

    arch, kwargs: of the network. trust_code: whether code of the user's may be run. class_names, templates: of a
    zero-shot classifier, as typed; data_names: of the data's classes, where none are typed. device: where the network
    will run. say: told of what takes long.
    """

    arch: str | None = None
    kwargs: Mapping[str, Value] = field(default_factory=dict)
    overrides: PreprocessOverrides = NO_OVERRIDES
    allow_download: bool = False
    trust_code: bool = False
    class_names: tuple[str, ...] | None = None
    templates: str | None = None
    data_names: tuple[str, ...] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    say: Callable[[str], None] = _silent


@dataclass(frozen=True)
class Draft:
    """A network with its weights, on the CPU, before it is asked anything.

    identity: fields of `ModelRecord` that say what it is. rivals: architectures that the same weights fit and that
    compute differently; `undecided` is the error where nothing tells which one is meant.
    """

    network: nn.Module
    preprocess: Preprocess
    identity: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    undecided: ModelError | None = None


@dataclass(frozen=True)
class AskedSize:
    """The input size (height, width) that was asked for, and by whom."""

    size: tuple[int, int]
    origin: str


def asked_size(request: Request) -> AskedSize | None:
    """The user's size: of `--img-size`, else of the constructor's img_size. Raises UsageError, ModelError."""
    if request.overrides.img_size is not None:
        return AskedSize(input_size(request.overrides.img_size, "--img-size", UsageError), "--img-size")
    constructor = request.kwargs.get("img_size")
    if constructor is None:
        return None
    if not isinstance(constructor, int):
        raise ModelError(f"img_size={constructor!r} (--model-kwargs) is not a number of pixels.", "For example 224.")
    return AskedSize(input_size(constructor, "img_size (--model-kwargs)", ModelError), "--model-kwargs")
