"""What the adapters share: a network that takes exactly a file's tensors, and errors that say which file was meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.errors import ModelError
from spuraudit.models.weights import WeightsMismatchError, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Protocol

    from torch import Tensor, nn

    from spuraudit.models.checkpoint import Checkpoint

    class Build(Protocol):
        """The network of an architecture, from its files by role. Raises ModelError."""

        def __call__(self, arch: str, files: Mapping[str, Path], trust_code: bool = False) -> Adapted: ...


@dataclass(frozen=True)
class Adapted:
    """A network with its weights.

    cfg: how its authors show it images, in the form of a timm pretrained_cfg. cfg_origin: the project, for the record.
    checkpoints: the files it came from. fixed_size: whether it takes one input size only.
    """

    network: nn.Module
    cfg: Mapping[str, Any]
    cfg_origin: str
    checkpoints: tuple[Checkpoint, ...]
    fixed_size: bool
    notes: tuple[str, ...] = ()


def authors_cfg(interpolation: str, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """224 pixels out of 256, the evaluation of all three projects."""
    return {
        "input_size": (3, 224, 224),
        "crop_pct": 0.875,
        "crop_mode": "center",
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
    }


def fitted(
    build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], what: str, checkpoint: Checkpoint, expected: str
) -> nn.Module:
    """A network from `build` that holds exactly `tensors`.

    what: the network, for messages. expected: the published file that would fit. Raises ModelError with the first
    names that differ.
    """
    try:
        return fit(build, tensors, what, checkpoint.file)[0]
    except WeightsMismatchError as error:
        raise ModelError(error.message, f"Expected is {expected}.") from error
