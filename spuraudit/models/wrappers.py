"""Where the classifier lies inside a state dict that holds more: wrappers, losses, metrics, copies, a normaliser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from spuraudit.errors import ModelError
from spuraudit.models.preprocess import PreprocessOverrides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

T = TypeVar("T")

# Components that wrappers put anywhere into a name: DataParallel, torch.compile, FSDP, activation checkpointing.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# First components beside a network's own ones that are no part of any network.
_ASIDE = re.compile(
    r"(n_averaged|criterion|\w*loss\w*|\w*metrics?|\w*acc(uracy)?|auroc|\w*f1|confmat|confusion_matrix|"
    r"normali[sz]e\w*|mean|std|mu|sigma)$",
    re.IGNORECASE,
)
# What normalisers call their two buffers.
_STATISTICS = (("new_mean", "new_std"), ("mean", "std"), ("mu", "sigma"))
_DEPTH = 4
_SHOWN = 6


@dataclass(frozen=True)
class Inner(Generic[T]):
    """The classifier of a state dict.

    prefix: what its names began with. tensors: its own, without the prefix. outside: names of all others. reading:
    what the reader made of it.
    """

    prefix: str
    tensors: Mapping[str, Tensor]
    outside: tuple[str, ...]
    reading: T


def find(tensors: Mapping[str, Tensor], read: Callable[[Mapping[str, Tensor]], T | None], file: str) -> Inner[T] | None:
    """The one network in a state dict that `read` can read; None where there is none.

    A copy with equal weights is passed over, and an average (`ema`) goes before what it averages. Raises ModelError
    where two networks of different weights fit.
    """
    found = list(_all(tensors, read))
    averaged = [one for one in found if re.search(r"(^|[._])ema([._]|$)", one.prefix)]
    found = averaged or found
    different = next((one for one in found[1:] if not _equal(found[0].tensors, one.tensors)), None)
    if different is not None:
        raise _two_networks(found[0].prefix, different.prefix, file)
    return found[0] if found else None


def _all(tensors: Mapping[str, Tensor], read: Callable[[Mapping[str, Tensor]], T | None]) -> Iterator[Inner[T]]:
    """Outermost first; nothing is looked for inside what fits."""
    level = [""]
    for _ in range(_DEPTH + 1):
        following: dict[str, int] = {}
        for prefix in level:
            inside = {name: name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
            for kept in _variants(inside):
                reading = read({short: tensors[name] for name, short in kept.items()})
                if reading is not None:
                    own = {short: tensors[name] for name, short in kept.items()}
                    yield Inner(prefix, own, tuple(name for name in tensors if name not in kept), reading)
                    break
            else:
                for short in inside.values():
                    head, dot, _rest = short.partition(".")
                    if dot:
                        following[f"{prefix}{head}."] = following.get(f"{prefix}{head}.", 0) + 1
        level = [prefix for prefix, count in following.items() if count > 1]


def _variants(names: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Names in the file -> in the network: as they are, less what is no network's, less wrappers in the middle."""
    yield dict(names)
    kept = {name: short for name, short in names.items() if not _ASIDE.match(short.partition(".")[0])}
    if 0 < len(kept) < len(names):
        yield kept
    plain = {name: ".".join(part for part in short.split(".") if part not in _WRAPPERS) for name, short in kept.items()}
    if plain != kept and len(set(plain.values())) == len(plain):
        yield plain


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _two_networks(one: str, other: str, file: str) -> ModelError:
    kept = one or other
    return ModelError(
        f"{file} holds two networks of different weights: under {one or 'no prefix'!r} and under {other!r}.",
        "Keep the one that is meant, such as:\n"
        f"  import torch; weights = torch.load({file!r}, map_location='cpu')\n"
        f"  torch.save({{k: v for k, v in weights.items() if k.startswith({kept!r})}}, 'chosen.pt')\n"
        "(where the file has entries such as 'state_dict', take weights['state_dict'] first).",
    )


def notes_of(inner: Inner[T], all_names: Sequence[str]) -> tuple[str, ...]:
    """What was removed from names and what was left out, one sentence each."""
    notes = []
    if inner.prefix:
        notes.append(f"The network lies under '{inner.prefix}', which was removed from its names.")
    if inner.outside:
        many = len(inner.outside) != 1
        notes.append(
            f"{len(inner.outside)} of {len(all_names)} tensors {'are' if many else 'is'} no part of the network and "
            f"{'were' if many else 'was'} left out: {_grouped(inner.outside)}."
        )
    return tuple(notes)


def _grouped(names: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition(".")[0], []).append(name)
    said = [members[0] if len(members) == 1 else f"{head}.* ({len(members)})" for head, members in groups.items()]
    return ", ".join(said[:_SHOWN]) + (f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")


def normaliser_in(tensors: Mapping[str, Tensor], outside: Sequence[str], file: str) -> PreprocessOverrides | None:
    """Mean and std of a normaliser beside the network, which then takes [0, 1] pixels; None where there is none.

    Raises ModelError where there are two that differ.
    """
    found: dict[str, PreprocessOverrides] = {}
    for name in outside:
        parent, _, last = name.rpartition(".")
        partner = next((std for mean, std in _STATISTICS if mean == last), None)
        other = f"{parent}.{partner}" if parent else str(partner)
        if partner is None or other not in tensors:
            continue
        mean, std = tensors[name].flatten().tolist(), tensors[other].flatten().tolist()
        if len(mean) == len(std) and len(mean) in (1, 3):
            found[name] = PreprocessOverrides(mean=_decimal(mean), std=_decimal(std))
    first = next(iter(found), None)
    if first is None:
        return None
    different = next((name for name in found if found[name] != found[first]), None)
    if different is not None:
        raise ModelError(
            f"{file} holds two normalisers of different values: {first} and {different}.",
            "Save the network's own state dict, and give --mean and --std.",
        )
    return found[first]


def _decimal(values: Sequence[float]) -> tuple[float, ...]:
    """0.485 instead of float32's 0.48500001430511475."""
    return tuple(float(f"{value:.7g}") for value in values)
