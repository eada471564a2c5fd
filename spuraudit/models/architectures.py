"""Networks by name, with random weights. Nothing here touches the network or the disk.

A bare name is timm's or our own; `torchvision:NAME` and `open_clip:NAME` are those libraries'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import nn

from spuraudit.errors import ModelError, did_you_mean
from spuraudit.models import foreign_open_clip, torchvision_models
from spuraudit.models.paper_cnn import PAPER_CNN_CFG, PaperCNN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from spuraudit.models.checkpoint import Value


@dataclass(frozen=True)
class Architecture:
    """One of our own networks: how it is built, and its defaults in the form of a timm pretrained_cfg."""

    build: Callable[..., nn.Module]
    cfg: Mapping[str, Any]


OWN: dict[str, Architecture] = {"paper_cnn": Architecture(PaperCNN, PAPER_CNN_CFG)}

#: Word before the colon of an architecture -> whose it is.
LIBRARIES: dict[str, ModuleType] = {"torchvision": torchvision_models, "open_clip": foreign_open_clip}

# Arguments of timm.create_model that fetch files or change what is returned; never the user's to set here.
_RESERVED = {
    "cache_dir",
    "checkpoint_path",
    "exportable",
    "features_only",
    "no_jit",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "scriptable",
}
_PADDINGS = ("", "same", "valid", "symmetric")


def library_of(arch: str) -> tuple[str | None, str]:
    """'torchvision:vgg16' -> ('torchvision', 'vgg16'); (None, arch) for timm's and our own."""
    library, separator, name = arch.partition(":")
    return (library, name) if separator and library in LIBRARIES else (None, arch)


def known_architectures() -> list[str]:
    """All names: our own, timm's, torchvision's and open_clip's."""
    foreign = (f"{library}:{name}" for library, module in LIBRARIES.items() for name in module.names())
    return [*OWN, *timm.list_models(), *foreign]


def default_cfg(arch: str) -> dict[str, Any]:
    """Defaults of an architecture as a timm pretrained_cfg: input size, mean, std, crop, classifier's name, ...

    Raises ModelError for an unknown architecture or an unknown tag, with the nearest names.
    """
    if arch in OWN:
        return dict(OWN[arch].cfg)
    library, within = library_of(arch)
    if library is not None:
        return dict(LIBRARIES[library].default_cfg(within))
    name, _, tag = arch.partition(".")
    if not timm.is_model(name):
        hint = did_you_mean(name, [*OWN, *timm.list_models()])
        raise ModelError(
            f"Unknown architecture {arch!r}.",
            hint or "Names are timm's (timm.list_models()), 'paper_cnn', torchvision:NAME or open_clip:NAME.",
        )
    try:
        cfg = timm.get_pretrained_cfg(arch)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
        hint = did_you_mean(tag, tags) or f"Known tags: {', '.join(tags) or 'none'}."
        raise ModelError(f"The architecture {name!r} has no weights with the tag {tag!r}.", hint) from None
    if cfg is None:  # a deprecated name: only the network itself knows; without memory for its weights
        with torch.device("meta"):
            return dict(create(arch, {}).pretrained_cfg)  # type: ignore[arg-type]
    return dict(cfg.to_dict())  # type: ignore[no-untyped-call]


def classifier_names(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classifier layers in the state dict, most often one."""
    names = cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def check_kwargs(arch: str, kwargs: Mapping[str, Value]) -> None:
    """Refuse constructor arguments that would do something else than shape the network (ModelError)."""
    reserved = sorted(_RESERVED & set(kwargs))
    if reserved:
        raise ModelError(f"The model argument {reserved[0]!r} cannot be set.", "Leave it out of --model-kwargs.")
    if kwargs.get("in_chans", 3) != 3:
        raise ModelError(f"in_chans={kwargs['in_chans']}: only networks for RGB images (in_chans=3) can be audited.")
    # timm takes any other text for the default padding, without a word.
    if "pad_type" in kwargs and kwargs["pad_type"] not in _PADDINGS:
        raise ModelError(f"{arch}: pad_type must be 'same' or 'symmetric'; got {kwargs['pad_type']!r}.")


def create(arch: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """A network with random weights. An argument of None counts as not given.

    layer_norm_eps is not the constructor's: it becomes the epsilon of every layer norm.
    Raises ModelError for an unknown architecture, and for arguments the constructor refuses (named).
    """
    if library_of(arch)[0] is not None or (arch not in OWN and not timm.is_model(arch.partition(".")[0])):
        default_cfg(arch)  # raises, with the nearest names
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    eps = kwargs.pop("layer_norm_eps", None)
    try:
        network = _build(arch, kwargs)
    except (
        TypeError,
        ValueError,
        AssertionError,
        RuntimeError,
        KeyError,
        AttributeError,
        NotImplementedError,
    ) as error:
        raise _refused(arch, kwargs, error) from error
    if eps is not None:
        _set_epsilon(network, float(eps), arch)
    return network


def _build(arch: str, kwargs: Mapping[str, Any]) -> nn.Module:
    if arch in OWN:
        return OWN[arch].build(**kwargs)
    library, name = library_of(arch)
    network: nn.Module
    if library is not None:
        network = LIBRARIES[library].build(name, kwargs)
    else:
        network = timm.create_model(arch, pretrained=False, **kwargs)
    return network


def _set_epsilon(network: nn.Module, eps: float, arch: str) -> None:
    layers = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    if not layers:
        raise ModelError(f"{arch} has no layer norm that layer_norm_eps={eps:g} could belong to.", "Leave it out.")
    for layer in layers:
        layer.eps = eps


def _refused(arch: str, kwargs: Mapping[str, object], error: Exception) -> ModelError:
    named = re.search(r"argument '(\w+)'", str(error))
    if named is not None and named.group(1) in kwargs:
        name = named.group(1)
        fixed = "multiple values" in str(error)
        reason = "fixes this argument itself" if fixed else "has no such argument"
        return ModelError(
            f"The architecture {arch!r} refuses {name}={kwargs[name]!r}: it {reason}.",
            "Choose the variant of the architecture that has the value."
            if fixed
            else f"Check --model-kwargs; where the checkpoint itself states it, {name}=none takes it out.",
        )
    given = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
    return ModelError(
        f"The architecture {arch!r} cannot be built with {given or 'its defaults'}: {error or type(error).__name__}",
        "Check --model-kwargs and --img-size.",
    )
