"""Which architecture a bare state dict belongs to, by its names and shapes, against an index of all of timm's.

The index is built by scripts/build_architecture_index.py. What leaves no trace in a state dict (padding, activations,
the number of attention heads) cannot be read from one: architectures that share a layout and compute differently are
told apart by the user.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import timm
import torch

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, create, default_cfg
from spuraudit.models.layouts import describe, names_key, shapes_of, weights_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

INDEX = Path(__file__).with_name("architecture_index.json")
_PREPROCESSING = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
_SHOWN = 6


class Entry(NamedTuple):
    """Keys of one architecture (`models.layouts`); fused: of its re-parameterised form, '' where it has none."""

    arch: str
    weights: str
    fused: str
    names: str
    behaviour: str


class Identified(NamedTuple):
    """An architecture that fits, and those that compute the same from the same weights."""

    arch: str
    equal: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Where the architecture comes from, for the record; names that would prepare images differently are said."""
        text = "identified by names and shapes of the weights"
        mine = _preprocessing(self.arch)
        for word, same in (("same network", True), ("same network, other preprocessing", False)):
            named = [arch for arch in self.equal if (_preprocessing(arch) == mine) is same]
            text += f"; {word}: {_some(named)}" if named else ""
        return text


class Index(NamedTuple):
    """All architectures, the classifier layers they have, and the version of timm they were built from."""

    timm: str
    classifiers: tuple[tuple[str, ...], ...]
    entries: tuple[Entry, ...]


@cache
def load_index() -> Index:
    """The index of the package, less what an older timm than the index's does not have."""
    content = json.loads(INDEX.read_text(encoding="utf-8"))
    classifiers = tuple(tuple(layers) for layers in content["classifiers"])
    entries = (Entry(*row) for row in content["architectures"])
    known = {*OWN, *timm.list_models()}
    return Index(content["timm"], classifiers, tuple(entry for entry in entries if entry.arch in known))


def identify(tensors: Mapping[str, Tensor], file: str) -> Identified:
    """The architecture of a state dict.

    Raises ModelError where none fits, naming those of the same layout and another width, and where several fit that
    compute differently, with the difference that decides.
    """
    index = load_index()
    shapes = shapes_of(tensors)
    keys = {weights_key(shapes, layers) for layers in index.classifiers}
    found = [entry for entry in index.entries if entry.weights in keys or (entry.fused and entry.fused in keys)]
    if not found:
        raise _unknown(index, names_key(shapes), file)
    found.sort(key=lambda entry: entry.behaviour)
    groups = [sorted((entry.arch for entry in group), key=_rank) for _, group in groupby(found, lambda e: e.behaviour)]
    if len(groups) > 1:
        raise _ambiguous(sorted(groups, key=lambda group: _rank(group[0])), file)
    return Identified(groups[0][0], tuple(groups[0][1:]))


def _preprocessing(arch: str) -> list[object]:
    cfg = default_cfg(arch)
    return [cfg.get(name) for name in _PREPROCESSING]


def _rank(arch: str) -> tuple[bool, int, str]:
    """Names with published weights first, then short ones."""
    cfg = default_cfg(arch)
    return not (cfg.get("hf_hub_id") or cfg.get("url")), len(arch), arch


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _unknown(index: Index, names: str, file: str) -> ModelError:
    alike = sorted((entry.arch for entry in index.entries if entry.names == names), key=_rank)
    if alike:
        return ModelError(
            f"{file} does not say which architecture its weights belong to. Their names are those of {_some(alike)}, "
            "their shapes are not: another width or input size.",
            f"Name it, such as --arch {alike[0]}, with what differs: --model-kwargs channel_multiplier=0.75, or "
            "--img-size.",
        )
    return ModelError(
        f"{file} does not say which architecture its weights belong to, and they are of none that is known "
        f"({len(index.entries)} of timm {index.timm}).",
        "Name it with --arch, such as --arch resnet50; with --model-kwargs where it was built with arguments.",
    )


def _ambiguous(groups: list[list[str]], file: str) -> ModelError:
    first = groups[0][0]
    listed = [f"  {_some(groups[0])}"]
    listed += [f"  {_some(group)}: {_difference(first, group[0])}" for group in groups[1:_SHOWN]]
    if len(groups) > _SHOWN:
        listed.append(f"  and {len(groups) - _SHOWN} more kinds")
    return ModelError(
        f"{file} does not say which architecture its weights belong to, and they fit several that compute "
        "differently:\n" + "\n".join(listed),
        f"Name it with --arch, such as --arch {first}.",
    )


def _difference(one: str, other: str) -> str:
    """The first setting in which two architectures differ, as 'padding 'same' instead of '' in conv_stem'."""
    with torch.device("meta"):
        mine, theirs = describe(create(one, {})), describe(create(other, {}))
    place = next((name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)), None)
    if place is None:
        return "built differently"
    path, _, setting = place.rpartition(":") if place.endswith(":type") else place.rpartition(".")
    return f"{setting} {theirs.get(place, 'absent')} instead of {mine.get(place, 'absent')} in {path or 'the network'}"
