"""The lists that CRAYON's authors published: JSON, without image names, in the order of their train set.

    waterbirds_gradcam.json                  ["yes", "maybe", "no", ...]     one per image
    waterbirds_neuron.json                   [true, false, ...]              one per neuron; true: relevant
    interpretation/waterbirds_gradcam.json   [[[0.1, ...], ...], ...]        one H x W map per image

A list in another order loads without an error and spoils the method: whoever imports one must see which image was
taken for the first and which for the last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from spuraudit.errors import DataError, UsageError
from spuraudit.record.annotation_tables import ANSWERS, Answer, NeuronAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_KINDS = 'Expected "yes"/"no"/"maybe" per image, true/false per neuron, or one list of rows per image.'


@dataclass(frozen=True)
class CrayonList:
    """What one file held: answers by image id, answers per neuron, or maps (n, H, W); the other two are None."""

    answers: dict[str, Answer] | None = None
    neurons: list[NeuronAnswer] | None = None
    maps: NDArray[np.float32] | None = None

    def joined(self, other: CrayonList, file: Path) -> CrayonList:
        """Both. Raises UsageError where both hold the same kind; `file` is the other's."""
        for kind in ("answers", "neurons", "maps"):
            if getattr(self, kind) is not None and getattr(other, kind) is not None:
                raise UsageError(f"{file}: a second list of {kind}.", "Give one list of each kind.")
        return CrayonList(self.answers or other.answers, self.neurons or other.neurons, self._maps_or(other))

    def _maps_or(self, other: CrayonList) -> NDArray[np.float32] | None:
        return other.maps if self.maps is None else self.maps


def read_crayon(file: Path, images: Sequence[str], where: str) -> CrayonList:
    """Read one of the lists; entry k belongs to `images[k]`.

    images: ids of the whole train split in the dataset's order. where: what they are, for messages.
    Raises DataError: not such a list, an entry of another kind (its number), or another length than the split's.
    """
    try:
        content: Any = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: not readable as JSON ({error}).", "Give a file as the authors published it."
        ) from error
    if not isinstance(content, list) or not content:
        raise DataError(f"{file}: not a list, or an empty one.", _KINDS)
    if isinstance(content[0], bool):
        return CrayonList(neurons=_neurons(file, content))
    if not isinstance(content[0], str | list):
        raise DataError(
            f"{file}: holds numbers: which images were shown, perhaps, but no answers.", f"It is not needed. {_KINDS}"
        )
    if len(content) != len(images):
        raise DataError(
            f"{file}: {len(content)} entries; {where} has {len(images)} images. The list goes by position, so every "
            "image must be there, in the authors' order.",
            "Give the dataset that the list was made of, whole, and the right --split.",
        )
    if isinstance(content[0], str):
        return CrayonList(answers=dict(zip(images, _answers(file, content), strict=True)))
    return CrayonList(maps=_maps(file, content))


def _answers(file: Path, content: list[Any]) -> list[Answer]:
    for number, entry in enumerate(content, start=1):
        if entry not in ANSWERS:
            raise DataError(f"{file}: entry {number} is {entry!r}; expected {', '.join(ANSWERS)}.", _KINDS)
    return cast("list[Answer]", content)


def _neurons(file: Path, content: list[Any]) -> list[NeuronAnswer]:
    for number, entry in enumerate(content, start=1):
        if not isinstance(entry, bool):
            raise DataError(f"{file}: entry {number} is {entry!r}; expected true or false.", _KINDS)
    return [NeuronAnswer(neuron, None, "yes" if relevant else "no") for neuron, relevant in enumerate(content)]


def _maps(file: Path, content: list[Any]) -> NDArray[np.float32]:
    try:
        maps = np.array(content, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"{file}: maps of different sizes, or not of numbers ({error}).", _KINDS) from error
    if maps.ndim != 3 or not maps.size:
        raise DataError(f"{file}: the maps have {maps.ndim - 1} dimensions; expected rows and columns.", _KINDS)
    wrong = ~(np.isfinite(maps) & (maps >= 0)).all(axis=(1, 2))
    if wrong.any():
        raise DataError(
            f"{file}: map {int(wrong.argmax()) + 1} holds values below 0 or no numbers.",
            "Grad-CAM ends with a ReLU: give the maps as the authors published them.",
        )
    return maps
