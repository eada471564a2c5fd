"""Where a network drops: its own dropout, found by a probe, or a layer of it before the classifier.

Dropout acts although the network stays in eval mode, so BatchNorm, DropPath and every flag stay as found.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import nn

from spuraudit.errors import NotEvaluatedError, UsageError
from spuraudit.models.dropout_calls import DropoutSite, RecordDropout, find_sites, running_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from spuraudit.models.dropout_calls import DropoutCall
    from spuraudit.models.model import Model

#: How T passes are answered. "linear head": one pass of the network, then the last layer alone, T times; "expanded":
#: one pass that grows from B to T * B images at the first dropout; "whole passes": T passes.
Evaluation = Literal["linear head", "expanded", "whole passes"]
#: Modules of stochastic depth, timm's and torchvision's, and where they keep their rate.
_DROP_PATHS = {"DropPath": "drop_prob", "StochasticDepth": "p"}
_COST: dict[Evaluation, str] = {
    "linear head": "each image runs through the network once and through its last layer once per pass",
    "expanded": "each image runs through the network once up to the first dropout and once per pass from there on",
    "whole passes": "each image runs through the whole network once per pass, since its passes could not be shared",
}


@dataclass(frozen=True)
class DropoutPlan:
    """Where a network drops, and how its passes are answered.

    sites: in the order of their calls. injected: whether they were put there
    by us, at `rate`, before the modules named in `where`; else rate is None and `where` names the modules that drop
    ('' = a function call of the network itself). skipped: active dropout calls that see no images, left off.
    drop_paths: modules of stochastic depth that drop too, because it was asked for.
    spread: largest range of a logit over the proof's passes, above 0.
    """

    sites: tuple[DropoutSite, ...]
    injected: bool
    rate: float | None
    where: tuple[str, ...]
    skipped: int = 0
    drop_paths: tuple[str, ...] = ()
    spread: float = 0.0
    evaluation: Evaluation = "whole passes"

    def describe(self) -> str:
        """Some sentences for people: which dropout is active."""
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
        if self.drop_paths:
            text += f" Stochastic depth drops too, in {len(self.drop_paths)} modules, as asked."
        return text

    def describe_cost(self) -> str:
        """A sentence for people: what a pass costs."""
        return f"Evaluation: {self.evaluation}; {_COST[self.evaluation]}."

    @contextmanager
    def active(self, network: nn.Module) -> Iterator[None]:
        """While open, the network makes the plan's dropout calls; a function mode decides what they do."""
        with _hooks(network, self.where if self.injected else (), self.rate or 0.0, self.drop_paths):
            yield


def find_dropout(model: Model, pixels: Tensor, *, rate: float, drop_path: bool = False) -> DropoutPlan:
    """Probe the network for active dropout; where there is none, plan to inject it before the classifier.

    pixels: (at least 2, 3, H, W) float32 in [0, 1] on the model's device. rate: of an injected layer. drop_path: let
    stochastic depth (timm's DropPath, torchvision's StochasticDepth) drop as well. Raises UsageError where it is
    asked for and there is none, NotEvaluatedError where no place for dropout is found.
    """
    drop_paths = _drop_paths(model.network) if drop_path else ()
    if drop_path and not drop_paths:
        raise UsageError(
            "--drop-path has no effect: the network has no stochastic depth with a rate above 0.",
            "Build it with one (--model-kwargs drop_path_rate=0.1), or leave the option out.",
        )
    sites, skipped = _probe(model, pixels, (), rate, drop_paths)
    if sites:
        return DropoutPlan(sites, False, None, tuple(site.where for site in sites), skipped, drop_paths)
    for names in _classifiers(model.network):
        injected, _ = _probe(model, pixels, names, rate, ())
        if injected:
            return DropoutPlan(injected, True, rate, names, skipped)
    raise NotEvaluatedError(
        "The network has no active dropout, and no classifier layer was found before which it could be put.",
        "Build the network with dropout (--model-kwargs drop_rate=0.5), or leave this audit out.",
    )


def _probe(
    model: Model, pixels: Tensor, injections: tuple[str, ...], rate: float, drop_paths: tuple[str, ...]
) -> tuple[tuple[DropoutSite, ...], int]:
    """Sites of one pass with one image and one with two, and the number of calls that see no images."""
    seen: list[list[DropoutCall]] = []
    with _hooks(model.network, injections, rate, drop_paths), running_modules(model.network) as modules:
        for images in (1, 2):
            mode = RecordDropout(modules)
            with mode:
                model.logits(pixels[:images])
            seen.append(mode.calls)
    return find_sites(seen[0], seen[1])


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


def _drop_paths(network: nn.Module) -> tuple[str, ...]:
    """Modules of stochastic depth with a rate above 0."""
    return tuple(
        name
        for name, module in network.named_modules()
        if (attribute := _DROP_PATHS.get(type(module).__name__)) and (getattr(module, attribute, 0.0) or 0.0) > 0
    )


@contextmanager
def _hooks(network: nn.Module, names: tuple[str, ...], rate: float, drop_paths: tuple[str, ...]) -> Iterator[None]:
    """While open, the inputs of the named modules pass through a dropout call, and stochastic depth makes one."""
    handles: list[RemovableHandle] = []

    def before(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (F.dropout(args[0], rate, training=False), *args[1:])

    def depth(module: nn.Module, _args: Any, out: Tensor) -> Tensor:
        # One value per image, dropped like any other: in eval mode the module itself lets everything through.
        p = float(getattr(module, _DROP_PATHS[type(module).__name__]))
        kept = F.dropout(out.new_ones(out.shape[0]), p, training=False)
        if not getattr(module, "scale_by_keep", True):
            kept = kept * (1 - p)
        return out * kept.view(-1, *[1] * (out.ndim - 1))

    try:
        handles.extend(network.get_submodule(name).register_forward_pre_hook(before) for name in names)
        handles.extend(network.get_submodule(name).register_forward_hook(depth) for name in drop_paths)
        yield
    finally:
        for handle in handles:
            handle.remove()
