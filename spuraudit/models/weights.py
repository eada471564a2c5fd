"""Weights into a network, strictly: every tensor of the file has a place of its shape, and every place a tensor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from timm.utils.model import reparameterize_model

from spuraudit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

_FUSABLE = ("fuse", "reparameterize", "switch_to_deploy")
#: Words in the names of tables whose shape follows from the input size.
POSITIONS = ("pos_embed", "relative_position", "rel_pos", "attention_bias", "attn_mask")


@dataclass(frozen=True)
class Mismatch:
    """How a state dict and a network differ. `shapes`: name, shape in the file, shape in the network."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    file_tensors: int
    network_tensors: int

    @property
    def only_positions(self) -> bool:
        """Whether nothing but position tables differs: another input size."""
        names = [*self.missing, *self.unexpected, *(name for name, _, _ in self.shapes)]
        return bool(names) and all(any(word in name for word in POSITIONS) for name in names)


def compare(network: nn.Module, tensors: Mapping[str, Tensor]) -> Mismatch | None:
    """What keeps `tensors` from being the state of `network`; None where everything fits."""
    own = network.state_dict()
    # BatchNorm's counters came with PyTorch 0.4.1; they play no part in evaluation and load_state_dict supplies them.
    missing = tuple(name for name in own if name not in tensors and not name.endswith("num_batches_tracked"))
    unexpected = tuple(name for name in tensors if name not in own)
    shapes = tuple(
        (name, tuple(tensors[name].shape), tuple(own[name].shape))
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    )
    if not (missing or unexpected or shapes):
        return None
    return Mismatch(missing, unexpected, shapes, len(tensors), len(own))


def fit(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], arch: str, file: str) -> tuple[nn.Module, bool]:
    """A network from `build` holding exactly `tensors`, and whether it had to be re-parameterised first.

    Deployment files of RepVGG-like networks (mobileone, fastvit, ...) hold the fused form: then the branches of the
    network are merged before loading. Raises ModelError with the first differences and the probable cause.
    """
    network = build().eval()
    mismatch = compare(network, tensors)
    fused = False
    if mismatch is not None and _fusable(network):
        network = reparameterize_model(network, inplace=True)
        if compare(network, tensors) is None:
            mismatch, fused = None, True
    if mismatch is not None:
        raise WeightsMismatchError(mismatch, arch, file)
    _refuse_other_types(network, tensors, file)
    network.load_state_dict(_with_counters(network, tensors), strict=True)
    return network, fused


def _fusable(network: nn.Module) -> bool:
    return any(hasattr(module, name) for module in network.modules() for name in _FUSABLE)


def fused_names(network: nn.Module) -> set[str]:
    """Names of the tensors after the branches are merged; empty where nothing can be. The network may be changed."""
    return set(reparameterize_model(network, inplace=True).state_dict()) if _fusable(network) else set()


def _with_counters(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Complete, and with the versions of the network's own modules, to which the shapes have just been compared."""
    own = network.state_dict()
    complete = type(own)(
        (name, tensors[name] if name in tensors else torch.zeros_like(tensor)) for name, tensor in own.items()
    )
    complete._metadata = own._metadata  # type: ignore[attr-defined]
    return complete


def _refuse_other_types(network: nn.Module, tensors: Mapping[str, Tensor], file: str) -> None:
    """Quantised or packed weights would be cast without a word: integers are not weights."""
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and not tensors[name].is_floating_point():
            raise ModelError(
                f"{file}: {name} is stored as {tensors[name].dtype}, not as floating-point numbers.",
                "Quantised weights must be dequantised before they can be audited.",
            )


class WeightsMismatchError(ModelError):
    """The file's tensors are not those of the architecture."""

    def __init__(self, mismatch: Mismatch, arch: str, file: str) -> None:
        self.mismatch = mismatch
        super().__init__(_describe(mismatch, arch, file), _probable_cause(mismatch, arch))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _describe(mismatch: Mismatch, arch: str, file: str) -> str:
    parts = []
    if mismatch.shapes:
        first = [f"{name} is {mine} in the file, {theirs} in the network" for name, mine, theirs in mismatch.shapes]
        parts.append(f"{len(first)} with another shape ({'; '.join(first[:3])}{'; ...' if len(first) > 3 else ''})")
    if mismatch.missing:
        parts.append(f"{len(mismatch.missing)} missing in the file ({_some(mismatch.missing)})")
    if mismatch.unexpected:
        parts.append(f"{len(mismatch.unexpected)} unknown to the network ({_some(mismatch.unexpected)})")
    sizes = f"{mismatch.file_tensors} tensors in the file, {mismatch.network_tensors} in the network"
    return f"{file} does not fit the architecture {arch!r} ({sizes}): {'; '.join(parts)}."


def _probable_cause(mismatch: Mismatch, arch: str) -> str:
    shared = mismatch.file_tensors - len(mismatch.unexpected)
    if mismatch.only_positions:
        return "Only position tables differ: the weights were trained at another input size. Give it with --img-size."
    if shared < 0.5 * mismatch.file_tensors or shared < 0.5 * mismatch.network_tensors:
        return f"Most names differ: this is probably not a {arch!r}. Check --arch."
    if mismatch.missing or mismatch.unexpected:
        return "Some layers differ: check the variant given with --arch, and --model-kwargs."
    if all(mine[1:] == theirs[1:] for _, mine, theirs in mismatch.shapes) and len(mismatch.shapes) <= 4:
        return "Only the number of outputs differs: leave num_classes out of --model-kwargs; it is read from the file."
    return (
        "The names agree, the widths do not: another width of the same architecture. "
        "Give it with --model-kwargs (such as channel_multiplier=0.75 or width=16), or another variant with --arch."
    )


def digest(network: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of a network's state, in order of names."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
