"""A classifier in place of the usual one: `fc.1` of nn.Sequential(Dropout, Linear), or a layer beside a backbone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor


class Rehung(NamedTuple):
    """A state dict with its classifier under the usual name, and what is to be said of it."""

    tensors: Mapping[str, Tensor]
    note: str


def rehung(
    tensors: Mapping[str, Tensor], layers: Iterable[str], fits: Callable[[Mapping[str, Tensor]], bool]
) -> Rehung | None:
    """The state dict with its linear classifier under the first of `layers` with which it fits; None where none does.

    Layers without weights between the features and the classifier leave no trace; dropout is what usually is there.
    """
    for head, rest, layer in _ways(tensors, list(layers)):
        renamed = {**rest, **{f"{layer}.{kind}": tensors[f"{head}.{kind}"] for kind in ("weight", "bias")}}
        if fits(renamed):
            note = (
                f"The classifier lies under '{head}' and was taken for the architecture's '{layer}'; an activation in "
                "front of it would leave no trace in the file."
            )
            return Rehung(renamed, note)
    return None


def _ways(tensors: Mapping[str, Tensor], layers: list[str]) -> Iterator[tuple[str, dict[str, Tensor], str]]:
    """Where the classifier may lie, all other tensors, and what the architecture may call it."""
    for head in _linear(tensors):
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{head}.")}
        parent = re.sub(r"\.\d+$", "", head)
        if parent != head and parent in layers:
            yield head, rest, parent
        tops = {name.partition(".")[0] for name in rest}
        if len(tops) == 1 and head.partition(".")[0] not in tops:
            (backbone,) = tops
            inside = {name.removeprefix(f"{backbone}."): tensor for name, tensor in rest.items()}
            yield from ((head, inside, layer) for layer in layers if f"{layer}.weight" not in inside)


def _linear(tensors: Mapping[str, Tensor]) -> list[str]:
    """Layers with a matrix and a bias."""
    stems = (name.removesuffix(".weight") for name, tensor in tensors.items() if tensor.ndim == 2)
    return [stem for stem in stems if f"{stem}.weight" in tensors and f"{stem}.bias" in tensors]
