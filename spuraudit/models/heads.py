"""Networks whose answer is not a (B, K) tensor of logits: what is taken from it, and how that becomes logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spuraudit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spuraudit.models.class_map import Head

#: Under these names a mapping or an object holds its logits; the first that is there is taken.
NAMES = ("logits", "out", "output", "scores", "pred")
_SIGMOIDS = (torch.sigmoid, torch.Tensor.sigmoid, torch.Tensor.sigmoid_, torch.special.expit)
#: How far the sum of probabilities may be from 1: rounding of float32, and of shorter numbers.
_ROUNDING, _ROUNDING_SHORT = 1e-5, 2e-2
#: Probabilities nearer to 0 or 1 than this cannot be told from them in float32.
_EPS = 2.0**-24

#: What the values are: logits; probabilities that sum to 1, or their logarithms; sigmoids, one by one.
Kind = Literal["logits", "probabilities", "log-probabilities", "sigmoids"]


class _Place(NamedTuple):
    """Where in an answer the logits lie, and what a note says of it."""

    how: Literal["itself", "key", "attribute", "item"]
    key: Any = None
    note: str | None = None

    def take(self, answer: Any) -> Tensor:
        if self.how == "attribute":
            answer = getattr(answer, self.key)
        elif self.how != "itself":
            answer = answer[self.key]
        taken: Tensor = answer
        return taken


class AsClassifier(nn.Module):
    """A network whose answers are turned into logits: images -> (B, K) float32, K at least 2.

    `network` is the wrapped one; its modules keep their names below it. `notes`: sentences for the record.
    """

    def __init__(self, network: nn.Module, place: _Place, kind: Kind, head: Head, notes: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.notes = notes
        self._place, self._kind, self._head = place, kind, head

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the network's answer."""
        values = _as_rows(self._place.take(self.network(x))).float()
        logits = _to_logits(values, self._kind, self._head if values.shape[1] > 1 else "sigmoid")
        if logits.shape[1] > 1:
            return logits
        # softmax(0, z) and (sigmoid(-z), sigmoid(z)) are the same two probabilities.
        return torch.cat([torch.zeros_like(logits) if self._head == "softmax" else -logits, logits], dim=1)

    def get_classifier(self) -> Any:
        """The network's own classifier layer as timm's networks name it; None where it names none."""
        getter: Callable[[], Any] | None = getattr(self.network, "get_classifier", None)
        return getter() if getter is not None else None


class WatchSigmoids(TorchFunctionMode):
    """While open, keeps the results of all calls of sigmoid: whether an answer is one of them cannot be seen in it."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Read along."""
        result = func(*args, **(kwargs or {}))
        if func in _SIGMOIDS:
            self.results.append(result)
        return result


def as_classifier(
    network: nn.Module, answer: object, head: Head = "softmax", sigmoids: Sequence[Tensor] = ()
) -> nn.Module:
    """The network itself where it answers with logits (B, K), K at least 2; else wrapped so that it does.

    answer: what it gave for one image. Logits are taken from a mapping, a dataclass or an object by the names in
    `NAMES`, from a tuple or list as its first (B, K) tensor; (B, K, 1, 1) is flattened. One output (B, 1) or (B,)
    becomes two classes, the second with the probability sigmoid(output). Probabilities are taken back to logits from
    which the head (softmax, or a sigmoid each) gives them again: recognised by their sum for a softmax, for sigmoids by
    being one of `sigmoids` (`WatchSigmoids.results` of the same pass). `AsClassifier.notes` says what was done.
    Raises ModelError where nothing in the answer, or more than one thing, can be the logits.
    """
    place = _find(answer)
    taken = place.take(answer)
    values = _as_rows(taken)
    kind = _kind_of(taken, values, sigmoids)
    single, spatial = values.shape[1] == 1, taken.ndim == 4
    # Softmax does not care: the logarithm of a probability is a logit.
    back = kind != "logits" and (kind != "log-probabilities" or head == "sigmoid")
    if not (back or single or spatial or place.how != "itself"):
        return network
    notes = (
        place.note,
        "The logits are a map of 1x1 places: flattened." if spatial else None,
        "One output: a binary classifier. Output 1 has the probability sigmoid(answer), output 0 the rest."
        if single
        else None,
        _back_note(kind, head) if back else None,
    )
    return AsClassifier(network, place, kind, head, tuple(note for note in notes if note is not None))


def _find(answer: object) -> _Place:
    if isinstance(answer, Tensor):
        if _could_be(answer, 4) or _is_single(answer):
            return _Place("itself")
        raise ModelError(
            f"The network answers with a tensor of {_shown(answer)}, not with at least two logits per image (or one, "
            "of a binary classifier).",
            "Only classifiers can be audited; check that the checkpoint has its classifier.",
        )
    how: Literal["key", "attribute", "item"]
    if isinstance(answer, Mapping):
        how, parts = "key", dict(answer)
    elif isinstance(getattr(answer, "logits", None), Tensor):  # named tuples and the like
        how, parts = "attribute", {"logits": getattr(answer, "logits")}  # noqa: B009 `object` has no such attribute
    elif isinstance(answer, tuple | list):
        how, parts = "item", dict(enumerate(answer))
    elif is_dataclass(answer):
        how, parts = "attribute", {field.name: getattr(answer, field.name) for field in fields(answer)}
    else:
        how, parts = "attribute", {}
    for name in NAMES:
        part = parts.get(name)
        if isinstance(part, Tensor) and (_could_be(part, 4) or _is_single(part)):
            return _Place(how, name, f"The logits are {_called(how, name)} of the network's answer.")
    return _only_candidate(answer, how, parts)


def _only_candidate(answer: object, how: Literal["key", "attribute", "item"], parts: Mapping[Any, object]) -> _Place:
    """The first tensor that could be the logits, where all that could be have the same width."""
    tensors = {key: part for key, part in parts.items() if isinstance(part, Tensor)}
    found = {key: part for key, part in tensors.items() if _could_be(part, 2)} or {
        key: part for key, part in tensors.items() if _could_be(part, 4)
    }
    what = f"a {type(answer).__name__}"
    listed = ", ".join(f"{_called(how, key)} of {_shown(part)}" for key, part in tensors.items())
    if not found:
        raise ModelError(
            f"The network answers with {what} in which nothing looks like logits, (images, classes)"
            + (f": {listed}." if listed else "."),
            "Wrap the network in code of yours that returns its logits alone, or under the key 'logits'.",
        )
    if len({part.shape[1] for part in found.values()}) > 1:
        could = " or ".join(f"{_called(how, key)} of {_shown(part)}" for key, part in found.items())
        raise ModelError(
            f"The network answers with {what}, and its logits could be {could}.",
            "Wrap the network in code of yours that returns its logits alone, or under the key 'logits'.",
        )
    key = next(iter(found))
    others = f", the first of {len(found)} of this shape" if len(found) > 1 else ""
    return _Place(how, key, f"The logits are {_called(how, key)} of the network's answer, {what}{others}.")


def _could_be(part: Tensor, most_axes: int) -> bool:
    """Of one image: (1, K) floating, or with `most_axes` 4 also (1, K, 1, 1)."""
    rows = part.ndim == 2 or (part.ndim == most_axes == 4 and part.shape[2:] == (1, 1))
    return part.is_floating_point() and rows and part.shape[0] == 1 and part.shape[1] > 0


def _is_single(part: Tensor) -> bool:
    """One number for the one image, with or without axes."""
    return part.is_floating_point() and part.ndim < 2 and part.numel() == 1


def _as_rows(taken: Tensor) -> Tensor:
    """(B, K), (B, K, 1, 1), (B,) or a number -> (B, K)."""
    return taken.reshape(-1, 1) if taken.ndim < 2 else taken.flatten(1)


def _kind_of(taken: Tensor, values: Tensor, sigmoids: Sequence[Tensor]) -> Kind:
    # A view or a slice of a result shares its memory.
    memory = taken.untyped_storage().data_ptr()
    if any(memory == result.untyped_storage().data_ptr() for result in sigmoids):
        return "sigmoids"
    if values.shape[1] == 1:
        return "logits"
    rounding = _ROUNDING if values.dtype == torch.float32 else _ROUNDING_SHORT
    if bool((values >= 0).all()) and _sums_to_one(values, rounding):
        return "probabilities"
    if bool((values <= 0).all()) and _sums_to_one(values.float().exp(), rounding):
        return "log-probabilities"
    return "logits"


def _sums_to_one(values: Tensor, rounding: float) -> bool:
    return abs(float(values.double().sum()) - 1) <= rounding


def _to_logits(values: Tensor, kind: Kind, head: Head) -> Tensor:
    """Values from which the head gives the probabilities that `values` are; logits stay."""
    if kind == "logits" or (kind == "log-probabilities" and head == "softmax"):
        return values
    if kind == "probabilities" and head == "softmax":
        return values.clamp_min(torch.finfo(torch.float32).tiny).log()
    return (values.exp() if kind == "log-probabilities" else values).logit(eps=_EPS)


def _back_note(kind: Kind, head: Head) -> str:
    if kind == "sigmoids":
        hint = " They need not sum to 1: --head sigmoid takes every output as a label of its own."
        return "The network ends in a sigmoid: its answers are taken back to logits." + (
            hint if head == "softmax" else ""
        )
    if head == "sigmoid":
        return (
            "The answers sum to 1, so the labels exclude each other: --head softmax is probably meant. They are taken "
            "as the probabilities of the labels."
        )
    return (
        "The answers look like probabilities, not logits (none below 0, sum 1 on a test image): their logarithms are "
        "taken as logits, so that softmax gives them back."
    )


def _called(how: str, key: object) -> str:
    return {"key": f"{key!r}", "attribute": f".{key}", "item": f"item {key}"}[how]


def _shown(part: Tensor) -> str:
    shape = f"the shape {tuple(part.shape)}"
    return shape if part.is_floating_point() else f"{shape} and the type {str(part.dtype).removeprefix('torch.')}"
