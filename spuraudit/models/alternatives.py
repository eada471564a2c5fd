"""What else the same weights could be meant for: another normalisation, another padding.

Neither leaves a trace in a state dict, so labelled images have to tell. The order of channels is
left out: no option changes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from spuraudit.errors import ModelError
from spuraudit.models.architectures import create
from spuraudit.models.layouts import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from spuraudit.models.model import Model

    Channels = tuple[float, float, float]

#: Mean and std of the usual trainings, in [0, 1] pixels: ImageNet, Inception and TensorFlow (-1..1), plain 0..1, CLIP,
#: and 0..255.
NORMALISATIONS: tuple[tuple[Channels, Channels], ...] = (
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
)
#: Values of pad_type that published weights were trained with, and how each is written on the command line.
_PADDINGS = {"": "--model-kwargs \"pad_type=''\"", "same": "--model-kwargs pad_type=same"}


@dataclass(frozen=True)
class Alternative:
    """The same weights, asked otherwise. flags: what on the command line makes the model this one."""

    model: Model
    flags: str


def normalisations(model: Model) -> list[Alternative]:
    """The model under every usual mean and std but its own; the network is shared, not copied."""
    preprocess = model.record.preprocess
    found = []
    for mean, std in NORMALISATIONS:
        if _close(mean, preprocess.mean) and _close(std, preprocess.std):
            continue
        origin = {**preprocess.origin, "mean": "--mean", "std": "--std"}
        other = preprocess.model_copy(update={"mean": mean, "std": std, "origin": origin})
        record = model.record.model_copy(update={"preprocess": other})
        found.append(Alternative(replace(model, record=record), f"--mean {_written(mean)} --std {_written(std)}"))
    return found


def paddings(model: Model) -> Iterator[Alternative]:
    """The model in a network of another pad_type, one at a time; the weights are shared, not copied.

    Nothing where the constructor does not take it or it changes no layer, and nothing where the architecture's name
    and arguments do not rebuild the network in use: code of the user's, text heads, fused and resized networks.
    """
    own = describe(model.network)
    if _described(model, model.record.kwargs) != own:
        return
    for padding, flags in _PADDINGS.items():
        kwargs = {**model.record.kwargs, "pad_type": padding}
        settings = _described(model, kwargs)
        if settings is None or settings == own:
            continue
        network = _rebuilt(model, kwargs)
        if network is not None:
            record = model.record.model_copy(update={"kwargs": kwargs})
            yield Alternative(replace(model, network=network, record=record), flags)


def _described(model: Model, kwargs: Mapping[str, object]) -> dict[str, str] | None:
    """Settings of the network that these arguments make, without memory for it; None where it is refused."""
    try:
        with torch.device("meta"):
            return describe(create(model.record.arch, kwargs).eval())
    except ModelError:
        return None


def _rebuilt(model: Model, kwargs: Mapping[str, object]) -> nn.Module | None:
    """A network of these arguments around the tensors of the one in use; None where they do not fit."""
    network = create(model.record.arch, kwargs).eval().requires_grad_(False)
    try:
        network.load_state_dict(model.network.state_dict(), strict=True, assign=True)
    except RuntimeError:
        return None
    return network.to(model.device)


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-3) for a, b in zip(one, other, strict=True))


def _written(values: Sequence[float]) -> str:
    return ",".join(f"{value:.8g}" for value in values)
