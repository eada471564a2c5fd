"""Which architecture a bare state dict belongs to, by its names and shapes, against an index of all that are known.

The index is built by scripts/build_architecture_index.py. What leaves no trace in a state dict (padding, activations,
the number of attention heads) cannot be read from one: architectures that share a layout and compute differently are
rivals, which labelled images or the user tell apart.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from spuraudit.errors import ModelError, did_you_mean
from spuraudit.models.architectures import create, default_cfg, known_architectures, library_of
from spuraudit.models.layouts import describe, names_key, shapes_of, weights_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

INDEX = Path(__file__).with_name("architecture_index.json")
_PREPROCESSING = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
_SHOWN = 6


class Entry(NamedTuple):
    """Keys of one architecture (`models.layouts`).

    fused: of its re-parameterised form, or of the one with auxiliary classifiers; '' where it has none.
    """

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
    """All architectures, the classifier layers they have, and the versions of the libraries they were built from."""

    versions: dict[str, str]
    classifiers: tuple[tuple[str, ...], ...]
    entries: tuple[Entry, ...]


@cache
def load_index() -> Index:
    """The index of the package, less what older libraries than the index's do not have."""
    content = json.loads(INDEX.read_text(encoding="utf-8"))
    classifiers = tuple(tuple(layers) for layers in content["classifiers"])
    entries = (Entry(*row) for row in content["architectures"])
    known = set(known_architectures())
    return Index(content["versions"], classifiers, tuple(entry for entry in entries if entry.arch in known))


@cache
def _by_weights() -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in load_index().entries:
        for key in {entry.weights, entry.fused} - {""}:
            found.setdefault(key, []).append(entry)
    return found


def fitting(tensors: Mapping[str, Tensor]) -> tuple[Identified, ...]:
    """All architectures of a state dict's layout, best first: those that compute the same are one. May be empty."""
    shapes = shapes_of(tensors)
    keys = {weights_key(shapes, layers) for layers in load_index().classifiers}
    groups: dict[str, set[str]] = {}
    for key in keys:
        for entry in _by_weights().get(key, []):
            groups.setdefault(entry.behaviour, set()).add(entry.arch)
    ranked = sorted((sorted(archs, key=_rank) for archs in groups.values()), key=lambda archs: _rank(archs[0]))
    return tuple(Identified(archs[0], tuple(archs[1:])) for archs in ranked)


def identify(tensors: Mapping[str, Tensor], file: str) -> tuple[Identified, ...]:
    """The architectures of a state dict, best first; several where they fit and compute differently.

    Raises ModelError where none fits, naming those of the same layout and another width.
    """
    found = fitting(tensors)
    if not found:
        raise unknown(tensors, file)
    return found


def _preprocessing(arch: str) -> list[object]:
    cfg = default_cfg(arch)
    return [cfg.get(name) for name in _PREPROCESSING]


def _rank(arch: str) -> tuple[bool, bool, int, str]:
    """timm's names first, then those with published weights, then short ones."""
    cfg = default_cfg(arch)
    return library_of(arch)[0] is not None, not (cfg.get("hf_hub_id") or cfg.get("url")), len(arch), arch


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def known_by_name(tensors: Mapping[str, Tensor]) -> bool:
    """Whether an architecture has exactly these names, of whatever shapes."""
    names = names_key(shapes_of(tensors))
    return any(entry.names == names for entry in load_index().entries)


def unknown(tensors: Mapping[str, Tensor], file: str, stated: str | None = None) -> ModelError:
    """What to say of a state dict that fits no architecture. stated: the file's own word for it, which is unknown."""
    index = load_index()
    names = names_key(shapes_of(tensors))
    alike = sorted((entry.arch for entry in index.entries if entry.names == names), key=_rank)
    if alike:
        return ModelError(
            f"{_unsaid(file, stated)}. The names of its weights are those of {_some(alike)}, their shapes are not: "
            "another width or input size.",
            f"Name it, such as --arch {alike[0]}, with what differs: --model-kwargs channel_multiplier=0.75, or "
            f"--img-size.{_overruled(stated)}",
        )
    libraries = ", ".join(f"{library} {version}" for library, version in index.versions.items())
    return ModelError(
        f"{_unsaid(file, stated)}, and its weights are of none that is known ({len(index.entries)} of {libraries}).",
        "Name it with --arch, such as --arch resnet50; with --model-kwargs where it was built with arguments."
        + _overruled(stated),
    )


def _unsaid(file: str, stated: str | None) -> str:
    if stated is None:
        return f"{file} does not say which architecture its weights belong to"
    return f"{file}: Unknown architecture {stated!r} (checkpoint)"


def _overruled(stated: str | None) -> str:
    if stated is None:
        return ""
    near = did_you_mean(stated, known_architectures())
    return f" --arch overrules what the file says. {near}".rstrip()


def undecided(found: Sequence[Identified], file: str, stated: str | None = None) -> ModelError:
    """What to say where several fit that compute differently: each with the first difference.

    stated: the file's own word for its architecture, which is unknown.
    """
    first = found[0].arch
    listed = [f"  {_some([first, *found[0].equal])}"]
    listed += [f"  {_some([one.arch, *one.equal])}: {_difference(first, one.arch)}" for one in found[1:_SHOWN]]
    if len(found) > _SHOWN:
        listed.append(f"  and {len(found) - _SHOWN} more kinds")
    return ModelError(
        f"{_unsaid(file, stated)}, and its weights fit several that compute differently:\n" + "\n".join(listed),
        f"Name it with --arch, such as --arch {first}.{_overruled(stated)}",
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
