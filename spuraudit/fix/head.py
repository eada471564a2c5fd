"""The last linear layer of a classifier: its features, another one in its place."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spuraudit.errors import FixError, ModelError
from spuraudit.models import architectures
from spuraudit.models.model import Model
from spuraudit.perturb.draws import key_of

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.fix.settings import Start


@dataclass(frozen=True)
class Redrawn(Model):
    """A model that was not delivered so: its output k is class k of the data, whatever the delivered one's are."""


@dataclass(frozen=True)
class Head:
    """A linear layer of the network by name; the logits are its output."""

    name: str
    layer: nn.Linear


def find_head(model: Model) -> Head:
    """The linear layer whose output the logits are.

    Raises ModelError where there is none: a text head, a convolution, several heads that are averaged.
    """
    geometry = model.record.preprocess.geometry
    pixels = torch.linspace(0, 1, 3 * geometry.height * geometry.width, device=model.device)
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(_keeper(outputs, name))
        for name, module in model.network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        logits = model.logits(pixels.reshape(1, 3, geometry.height, geometry.width))
    finally:
        for hook in hooks:
            hook.remove()
    for name, output in reversed(outputs.items()):
        if output.shape == logits.shape and bool(torch.equal(output.float(), logits)):
            layer = model.network.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            return Head(name, layer)
    raise ModelError(
        f"{model.record.name} ({model.record.arch}) has no linear layer whose output its logits are.",
        "Methods that work on the last layer, and new heads, need one; corm, swap and erm do not.",
    )


def _keeper(outputs: dict[str, Tensor], name: str) -> Any:
    def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
        outputs[name] = output

    return keep


def penultimate(model: Model, head: Head, pixels: Tensor) -> Tensor:
    """What the last layer reads of images, in eval mode: (B, 3, H, W) in [0, 1] -> (B, D) float32."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        kept.append(args[0].float().clone())

    handle = head.layer.register_forward_pre_hook(keep)
    try:
        model.logits(pixels)
    finally:
        handle.remove()
    return kept[0].clone()


def started(model: Model, start: Start, outputs: int, seed: int) -> Model:
    """A copy of a model to be trained from.

    'model': as delivered. 'new-head': its last linear layer drawn anew, with `outputs` outputs. 'scratch': all weights
    drawn anew as its architecture draws them, and such a last layer where the number of outputs differs.
    Raises ModelError where that cannot be done.
    """
    network = copy.deepcopy(model.network)
    if start == "scratch":
        network = _drawn(model, network, seed)
    if start == "model":
        return replace(model, network=network)
    copied = Redrawn(network, model.record, model.device)
    if start == "new-head" or (start == "scratch" and model.record.num_classes != outputs):
        copied = _with_new_head(copied, outputs, seed)
    return copied


def _with_new_head(model: Redrawn, outputs: int, seed: int) -> Redrawn:
    head = find_head(model)
    parent, _, own = head.name.rpartition(".")
    layer = nn.Linear(head.layer.in_features, outputs)
    bound = 1 / math.sqrt(head.layer.in_features)  # torch's own; some architectures draw a hundred times larger ones
    generator = torch.Generator().manual_seed(key_of(seed, "head") & 0xFFFFFFFF)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    setattr(model.network.get_submodule(parent), own, layer.to(model.device).eval().requires_grad_(False))
    inner = getattr(model.network, "network", model.network)
    if hasattr(inner, "num_classes"):
        inner.num_classes = outputs
    record = model.record.model_copy(
        update={
            "num_classes": outputs,
            "kwargs": {**model.record.kwargs, **({"num_classes": outputs} if model.record.source != "code" else {})},
            "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        }
    )
    return replace(model, record=record)


def _drawn(model: Model, network: nn.Module, seed: int) -> nn.Module:
    """The network with weights as its architecture draws them."""
    state = torch.get_rng_state()
    torch.manual_seed(key_of(seed, "scratch") & 0xFFFFFFFF)
    try:
        if model.record.source != "code" and model.record.text_head is None:
            fresh = architectures.create(model.record.arch, model.record.kwargs)
            network.load_state_dict(fresh.state_dict())
            return network
        return _reset(model, network)
    except (ModelError, RuntimeError) as error:
        raise FixError(
            f"{model.record.name} cannot be trained from scratch: {error}", "Use --start model or new-head."
        ) from error
    finally:
        torch.set_rng_state(state)


def _reset(model: Model, network: nn.Module) -> nn.Module:
    """A network of the user's own: every layer that knows how draws its weights anew."""
    drawn: set[int] = set()
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            drawn |= {id(parameter) for parameter in module.parameters(recurse=False)}
    left = [name for name, parameter in network.named_parameters() if id(parameter) not in drawn]
    if left:
        raise FixError(
            f"{model.record.name} cannot be trained from scratch: nothing says how {left[0]} is drawn.",
            "Use --start model, or give a function that builds it untrained as MODEL.",
        )
    return network
