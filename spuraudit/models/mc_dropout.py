"""Monte Carlo dropout (Gal & Ghahramani 2016) with masks that belong to us.

Dropout acts although the network stays in eval mode, so BatchNorm, DropPath and every flag stay as found. Masks are a
pure function of (key, site): which images share them is the caller's choice of keys. A network without active dropout
gets one layer of it before its classifier, and the plan says so.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from spuraudit.errors import NotEvaluatedError, UsageError
from spuraudit.models.dropout_calls import (
    LEVELS,
    ApplyMasks,
    CannotExpandError,
    DropoutSite,
    ExpandMasks,
    RecordDropout,
    find_sites,
    running_modules,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from spuraudit.models.dropout_calls import DropoutCall
    from spuraudit.models.model import Model

_PROOF_PASSES = 8
_SAME_PROBABILITY = 1e-5
_EXPANDED_BYTES = 128 * 2**20


@dataclass(frozen=True)
class DropoutPlan:
    """Where a network drops.

    sites: in the order of their calls. injected: whether they were put there
    by us, at `rate`, before the modules named in `where`; else rate is None and `where` names the modules that drop
    ('' = a function call of the network itself). skipped: active dropout calls that see no images, left off.
    spread: largest range of a logit over the proof's passes, above 0.
    """

    sites: tuple[DropoutSite, ...]
    injected: bool
    rate: float | None
    where: tuple[str, ...]
    skipped: int = 0
    spread: float = 0.0
    expandable: bool = False

    def describe(self) -> str:
        """One or two sentences for people."""
        if self.injected:
            places = " and ".join(repr(name) for name in self.where)
            values = " and ".join(f"{site.size:,}" for site in self.sites)
            text = (
                f"The network has no active dropout: dropout with p = {self.rate:g} was put before its "
                f"classifier{'s' if len(self.where) > 1 else ''} {places} ({values} values per image)."
            )
        else:
            rates = sorted({site.p for site in self.sites})
            span = f"p = {rates[0]:.3g}" if len(rates) == 1 else f"p from {rates[0]:.3g} to {rates[-1]:.3g}"
            names = [repr(name) if name else "a function call of the network" for name in dict.fromkeys(self.where)]
            places = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            plural = "s" if len(self.sites) > 1 else ""
            text = f"The network's own dropout is used: {len(self.sites)} site{plural}, {span}, in {places}."
        if self.skipped:
            text += (
                f" {self.skipped} dropout calls that see no images (position tables) are left off, as in evaluation."
            )
        return text


def prepare(model: Model, pixels: Tensor, *, rate: float = 0.5) -> DropoutPlan:
    """Find where the network drops, or plan to inject dropout before its classifier, and prove that passes differ.

    pixels: (at least 2, 3, H, W) float32 in [0, 1] on the model's device. rate: of an injected layer, above 0 and
    below 1. The network is left as found.
    Raises UsageError for impossible arguments; NotEvaluatedError where no place for dropout is found or where passes
    do not differ.
    """
    if not 0 < rate < 1:
        raise UsageError(f"The dropout rate must lie above 0 and below 1; got {rate}.")
    if len(pixels) < 2:
        raise UsageError(f"Two images are needed to find the dropout sites; got {len(pixels)}.")
    sites, skipped = _probe(model, pixels, (), rate)
    if sites:
        plan = DropoutPlan(sites, False, None, tuple(site.where for site in sites), skipped)
    else:
        plan = _injection(model, pixels, rate, skipped)
    logits = mc_logits(model, plan, pixels[:2], draw_masks(plan, 0, _PROOF_PASSES))
    spread = float((logits.amax(dim=0) - logits.amin(dim=0)).max())
    # Arithmetic alone may differ in the last bits between passes on a GPU.
    if not spread > 1e-6 * float(logits.abs().max()):
        raise NotEvaluatedError(
            f"Monte Carlo dropout has no effect: {_PROOF_PASSES} passes gave the same answer. {plan.describe()}",
            "The dropped values do not reach the outputs; check the checkpoint, or leave this audit out.",
        )
    return replace(plan, spread=spread, expandable=_expands(model, plan, pixels[:2], logits))


def draw_masks(plan: DropoutPlan, key: int, passes: int) -> tuple[Tensor, ...]:
    """Masks of all sites: (passes, *site.shape) float32 on the CPU, 0 or 1 / (1 - p).

    A pure function of (key, site): row t belongs to pass t, and the rows of fewer passes are the first rows of more.
    16 bits of a numpy Philox stream per value, so p is rounded to a multiple of 1/65536, here and in the scale.
    """
    if passes < 1:
        raise UsageError(f"At least one pass is needed; got {passes}.")
    masks = []
    for index, site in enumerate(plan.sites):
        digest = hashlib.blake2b(f"spuraudit mc-dropout {key} {index}".encode(), digest_size=16).digest()
        stream = np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))
        count = passes * site.size
        values = stream.random_raw(-(-count // 4)).astype("<u8").view("<u2")[:count]
        kept = site.levels_kept
        mask = (values < kept).astype(np.float32) * np.float32(LEVELS / kept if kept else 0.0)
        masks.append(torch.from_numpy(mask.reshape(passes, *site.shape)))
    return tuple(masks)


def mc_logits(model: Model, plan: DropoutPlan, pixels: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
    """Logits of every pass: (B, 3, H, W) -> (T, B, C) float32.

    masks: of `draw_masks`, T rows each; pass t multiplies every image of the batch with row t. The network is left as
    found, also when it raises. Raises NotEvaluatedError where it meets other dropout calls than when it was probed.
    """
    passes = {len(mask) for mask in masks}
    if len(masks) != len(plan.sites) or len(passes) != 1:
        raise UsageError(f"The plan has {len(plan.sites)} sites; got masks of {len(masks)}, passes {sorted(passes)}.")
    on_device = [mask.to(model.device) for mask in masks]
    with _injected(model.network, plan):
        return (
            _expanded(model, plan, pixels, on_device)
            if plan.expandable
            else _one_by_one(model, plan, pixels, on_device)
        )


def _one_by_one(model: Model, plan: DropoutPlan, pixels: Tensor, masks: list[Tensor]) -> Tensor:
    """T whole passes."""
    answers = []
    for step in range(len(masks[0])):
        mode = ApplyMasks(plan.sites, [mask[step] for mask in masks], len(pixels))
        with mode:
            answers.append(model.logits(pixels))
        mode.check_complete()
    return torch.stack(answers)


def _expanded(model: Model, plan: DropoutPlan, pixels: Tensor, masks: list[Tensor]) -> Tensor:
    """One pass that grows at its first dropout, or a few where the grown activations would not fit in memory."""
    largest = max(site.size for site in plan.sites) * len(pixels) * 4
    at_once = max(1, _EXPANDED_BYTES // largest)
    answers = []
    for start in range(0, len(masks[0]), at_once):
        part = [mask[start : start + at_once] for mask in masks]
        mode = ExpandMasks(plan.sites, part, len(pixels))
        with mode:
            logits = model.logits(pixels)
        mode.check_complete()
        passes = len(part[0])
        if logits.shape[0] != passes * len(pixels):
            raise CannotExpandError
        answers.append(logits.view(passes, len(pixels), -1))
    return torch.cat(answers)


def _expands(model: Model, plan: DropoutPlan, pixels: Tensor, logits: Tensor) -> bool:
    """Whether the expanded pass gives what single passes gave (logits of `_PROOF_PASSES` passes with key 0)."""
    masks = [mask.to(model.device) for mask in draw_masks(plan, 0, _PROOF_PASSES)]
    try:
        with _injected(model.network, plan):
            expanded = _expanded(model, plan, pixels, masks)
    # Tensors of both sizes that meet give errors of any kind, from deep inside somebody's network.
    except (CannotExpandError, NotEvaluatedError, RuntimeError, ValueError, IndexError):
        return False
    return bool((expanded.softmax(dim=2) - logits.softmax(dim=2)).abs().max() <= _SAME_PROBABILITY)


def _probe(
    model: Model, pixels: Tensor, injections: tuple[str, ...], rate: float
) -> tuple[tuple[DropoutSite, ...], int]:
    """Sites of one pass with one image and one with two, and the number of calls that see no images."""
    seen: list[list[DropoutCall]] = []
    with _hooks(model.network, injections, rate), running_modules(model.network) as modules:
        for images in (1, 2):
            mode = RecordDropout(modules)
            with mode:
                model.logits(pixels[:images])
            seen.append(mode.calls)
    return find_sites(seen[0], seen[1])


def _injection(model: Model, pixels: Tensor, rate: float, skipped: int) -> DropoutPlan:
    for names in _classifiers(model.network):
        sites, _ = _probe(model, pixels, names, rate)
        if sites:
            return DropoutPlan(sites, True, rate, names, skipped)
    raise NotEvaluatedError(
        "The network has no active dropout, and no classifier layer was found before which it could be put.",
        "Build the network with dropout (--model-kwargs drop_rate=0.5), or leave this audit out.",
    )


def _classifiers(network: nn.Module) -> Iterator[tuple[str, ...]]:
    """Names of the classifier layers, best guess first: what timm's get_classifier() returns, else the last Linear."""
    names = {id(module): name for name, module in network.named_modules()}
    getter: Callable[[], Any] | None = getattr(network, "get_classifier", None)
    found = getter() if getter is not None else None
    heads = list(found) if isinstance(found, list | tuple | nn.ModuleList) else [found]
    known = tuple(
        names[id(head)]
        for head in heads
        if isinstance(head, nn.Module) and not isinstance(head, nn.Identity) and names.get(id(head))
    )
    if known:
        yield known
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear) and name]
    if linear and linear[-1:] != list(known):
        yield (linear[-1],)


def _injected(network: nn.Module, plan: DropoutPlan) -> Any:
    return _hooks(network, plan.where if plan.injected else (), plan.rate or 0.0)


@contextmanager
def _hooks(network: nn.Module, names: tuple[str, ...], rate: float) -> Iterator[None]:
    """While open, the inputs of the named modules pass through a dropout call; the modes above decide what it does."""
    handles: list[RemovableHandle] = []

    def before(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (F.dropout(args[0], rate, training=False), *args[1:])

    try:
        handles.extend(network.get_submodule(name).register_forward_pre_hook(before) for name in names)
        yield
    finally:
        for handle in handles:
            handle.remove()
