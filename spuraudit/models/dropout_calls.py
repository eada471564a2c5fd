"""Every dropout call of a forward pass, seen and owned: the network stays in eval mode, the masks are ours.

A network calls dropout through modules or through functions (timm's CNNs: `F.dropout(x, self.drop_rate,
self.training)`); a torch function mode sees both, whatever `training` says, and touches no other layer.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from spuraudit.errors import NotEvaluatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

Kind = Literal["dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"]

# kind, and whether the call writes into its argument by name
_CALLS: dict[Callable[..., Any], tuple[Kind, bool]] = {
    F.dropout: ("dropout", False),
    F.dropout1d: ("feature_dropout", False),
    F.dropout2d: ("feature_dropout", False),
    F.dropout3d: ("feature_dropout", False),
    F.alpha_dropout: ("alpha_dropout", False),
    F.feature_alpha_dropout: ("feature_alpha_dropout", False),
    torch.dropout: ("dropout", False),
    torch.dropout_: ("dropout", True),
    torch.feature_dropout: ("feature_dropout", False),
    torch.feature_dropout_: ("feature_dropout", True),
    torch.alpha_dropout: ("alpha_dropout", False),
    torch.alpha_dropout_: ("alpha_dropout", True),
    torch.feature_alpha_dropout: ("feature_alpha_dropout", False),
    torch.feature_alpha_dropout_: ("feature_alpha_dropout", True),
}
_DEFAULT_P = 0.5  # of torch.nn.functional
#: Masks are drawn with 16 bits per value.
LEVELS = 65536
# Self-normalising networks (Klambauer et al. 2017, eq. 3): dropped values become -lambda * alpha, not 0.
_SELU_FLOOR = 1.7580993408473766


class DropoutCall(NamedTuple):
    """One call with p > 0, as a probe pass saw it. where: the module whose forward made it, '' = the network."""

    kind: Kind
    p: float
    shape: tuple[int, ...]
    where: str


@dataclass(frozen=True)
class DropoutSite:
    """A dropout call with p > 0 that acts on images.

    call: which call of a pass it is, counting calls with p > 0 from 0. shape: of one image's mask (1 where a value
    serves a whole channel). axis: where the images lie in the tensor; rows: entries of that axis per image (more than
    1 where windows are folded into the batch, image by image). values: one image's activations, shape[0] = rows if
    rows > 1.
    """

    call: int
    kind: Kind
    p: float
    shape: tuple[int, ...]
    axis: int
    rows: int
    values: tuple[int, ...]
    where: str

    @property
    def size(self) -> int:
        """Mask values per image and pass."""
        return math.prod(self.shape)

    @property
    def levels_kept(self) -> int:
        """Of 65,536 levels, how many keep a value: 1 - p, rounded to what 16 bits can draw."""
        return round((1 - self.p) * LEVELS)


class _Call(NamedTuple):
    kind: Kind
    x: Tensor
    p: float
    inplace: bool


def parse_call(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> _Call | None:
    """A dropout call in its parts; None for any other function."""
    known = _CALLS.get(func)
    if known is None:
        return None
    kind, named_inplace = known
    x = args[0] if args else kwargs["input"]
    p = args[1] if len(args) > 1 else kwargs.get("p", _DEFAULT_P)
    inplace = named_inplace or bool(args[3] if len(args) > 3 else kwargs.get("inplace", False))
    return _Call(kind, x, float(p), inplace)


class RecordDropout(TorchFunctionMode):
    """Lists the dropout calls with p > 0 and lets the values through unchanged, as eval mode does."""

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__()
        self.calls: list[DropoutCall] = []
        self._modules = modules  # names of the modules being run, innermost last

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Record a dropout call; run everything else."""
        call = parse_call(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        if call.p > 0:
            where = self._modules[-1] if self._modules else ""
            self.calls.append(DropoutCall(call.kind, call.p, tuple(call.x.shape), where))
        return call.x


class _OwnMasks(TorchFunctionMode):
    """Answers every dropout call at a site with masks of ours, everything else as usual."""

    def __init__(self, sites: Sequence[DropoutSite], masks: Sequence[Tensor], images: int) -> None:
        super().__init__()
        self._sites = {site.call: (site, mask) for site, mask in zip(sites, masks, strict=True)}
        self._images = images
        self._seen = 0
        self._used = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer a dropout call with our masks; run everything else."""
        call = parse_call(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        if call.p == 0:
            return call.x
        entry = self._sites.get(self._seen)
        self._seen += 1
        if entry is None:  # no image axis: a position-bias network keeps its eval behaviour
            return call.x
        self._used += 1
        return self._answer(call, *entry)

    def _answer(self, call: _Call, site: DropoutSite, mask: Tensor) -> Tensor:
        raise NotImplementedError

    def check_complete(self) -> None:
        """Raise NotEvaluatedError unless every site was met exactly once."""
        if self._used != len(self._sites):
            raise other_calls(self._used, len(self._sites))


class ApplyMasks(_OwnMasks):
    """Multiplies at every site with one pass's masks, scaled by 1 / (1 - p).

    masks: (1, *site.shape) for all images of the batch, or (B, *site.shape).
    """

    def _answer(self, call: _Call, site: DropoutSite, mask: Tensor) -> Tensor:
        dropped = drop(site, call.x, mask, self._images)
        return call.x.copy_(dropped) if call.inplace else dropped


class CannotShareError(Exception):
    """The passes of this network cannot share what lies before the first dropout: run them one by one."""


class ExpandMasks(_OwnMasks):
    """All passes in one: the batch grows from B to T * B (pass-major) at the first dropout a tensor meets.

    What lies before is computed once. Decided per call by the leading size, since parallel heads each meet their
    first dropout by themselves. masks: (T, 1, *site.shape) for all images of the batch, or (T, B, *site.shape).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """A 1x1 convolution of many 1x1 maps (VGG's head) is a matrix product, and several times faster as one."""
        if func is torch.conv2d and (product := _pointwise(args, kwargs or {})) is not None:
            x, weight, bias = product
            if x.shape[0] > self._images:
                return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
        return super().__torch_function__(func, types, args, kwargs)

    def _answer(self, call: _Call, site: DropoutSite, mask: Tensor) -> Tensor:
        if site.axis != 0 or site.rows != 1 or site.kind not in ("dropout", "feature_dropout"):
            raise CannotShareError
        x, passes = call.x, len(mask)
        if tuple(x.shape[1:]) != site.values:
            raise other_shape(site, x)
        mask = mask.to(x.dtype)
        if x.shape[0] == self._images:
            return (x.unsqueeze(0) * mask).flatten(0, 1)
        if x.shape[0] == passes * self._images:
            return (x.reshape(passes, self._images, *x.shape[1:]) * mask).flatten(0, 1)
        raise CannotShareError


def _pointwise(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """(x, weight, bias) of a convolution that is a matrix product: a 1x1 kernel on 1x1 maps, nothing else set."""
    if len(args) < 2 or kwargs:
        return None
    defaults: tuple[Any, ...] = (None, 1, 0, 1, 1)
    x, weight, bias, stride, padding, dilation, groups = (*args, *defaults[len(args) - 2 :])
    plain = groups == 1 and all(_all(given, 1) for given in (stride, dilation)) and _all(padding, 0)
    if not plain or x.ndim != 4 or tuple(x.shape[2:]) != (1, 1) or tuple(weight.shape[2:]) != (1, 1):
        return None
    return x, weight, bias


def _all(given: Any, wanted: int) -> bool:
    return bool(given == wanted) if isinstance(given, int) else all(value == wanted for value in given)


def other_calls(met: int, known: int) -> NotEvaluatedError:
    """The error for a network that makes other dropout calls than its probe."""
    return NotEvaluatedError(
        f"The network made another number of dropout calls than when it was probed ({met} of {known} known sites).",
        "Its forward pass depends on the data; Monte Carlo dropout is not defined for it here.",
    )


def other_shape(site: DropoutSite, x: Tensor) -> NotEvaluatedError:
    """The error for a site that sees another shape than its probe."""
    return NotEvaluatedError(
        f"The dropout call {site.call} met a tensor of shape {tuple(x.shape)}; when the network was probed, one "
        f"image had {site.values}.",
        "Its shapes depend on the data; Monte Carlo dropout is not defined for it here.",
    )


def drop(site: DropoutSite, x: Tensor, mask: Tensor, images: int) -> Tensor:
    """The dropped activations. mask: (1, *site.shape) for all images, or one for each: (images, *site.shape).

    Raises NotEvaluatedError where x has another shape than the site.
    """
    moved = x.movedim(site.axis, 0)
    if moved.shape[0] != images * site.rows or tuple(moved.shape[1:]) != site.values[site.rows > 1 :]:
        raise other_shape(site, x)
    per_image = moved.reshape(images, *site.values)
    mask = mask.to(x.dtype)
    if site.kind in ("dropout", "feature_dropout"):
        out = per_image * mask
    else:
        keep = (mask > 0).to(x.dtype)
        kept = site.levels_kept / LEVELS
        a = 1 / math.sqrt(kept * (1 + (1 - kept) * _SELU_FLOOR**2)) if kept else 0.0
        out = a * (per_image * keep - _SELU_FLOOR * (1 - keep)) + a * _SELU_FLOOR * (1 - kept)
    return out.reshape(moved.shape).movedim(0, site.axis)


def find_sites(one: Sequence[DropoutCall], two: Sequence[DropoutCall]) -> tuple[tuple[DropoutSite, ...], int]:
    """Calls of a probe with one image and of one with two -> sites, and how many calls have no image axis.

    The image axis is the one that doubles. Dropout inside the network of a position bias sees no images: it is not a
    site. Raises NotEvaluatedError where the two probes differ otherwise.
    """
    if [(call.kind, call.p, len(call.shape)) for call in one] != [(call.kind, call.p, len(call.shape)) for call in two]:
        raise NotEvaluatedError(
            "The network makes other dropout calls for two images than for one.",
            "Its forward pass depends on the data; Monte Carlo dropout is not defined for it here.",
        )
    sites = []
    skipped = 0
    for index, (single, double) in enumerate(zip(one, two, strict=True)):
        grown = [axis for axis, size in enumerate(single.shape) if double.shape[axis] != size]
        if not grown:
            skipped += 1
            continue
        if len(grown) > 1 or double.shape[grown[0]] != 2 * single.shape[grown[0]]:
            raise NotEvaluatedError(
                f"A dropout call sees {single.shape} for one image and {double.shape} for two; no axis holds images."
            )
        sites.append(_site(index, single, grown[0]))
    return tuple(sites), skipped


def _site(index: int, call: DropoutCall, axis: int) -> DropoutSite:
    rows = call.shape[axis]
    rest = tuple(size for position, size in enumerate(call.shape) if position != axis)
    values = rest if rows == 1 else (rows, *rest)
    shape = values
    if call.kind.startswith("feature"):
        if axis != 0 or not rest:
            raise NotEvaluatedError(f"Channel-wise dropout on a tensor of shape {call.shape} has no channel axis.")
        shape = (*values[: rows > 1], rest[0], *[1] * (len(rest) - 1))
    return DropoutSite(index, call.kind, call.p, shape, axis, rows, values, call.where)


@contextmanager
def running_modules(network: nn.Module) -> Iterator[list[str]]:
    """A list that holds, during a forward pass, the names of the modules being run; hooks are gone afterwards."""
    stack: list[str] = []
    handles = []

    def entering(name: str) -> Callable[..., None]:
        return lambda *_: stack.append(name)

    def leaving(*_: Any) -> None:
        stack.pop()

    try:
        for name, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(entering(name)))
            handles.append(module.register_forward_hook(leaving))
        yield stack
    finally:
        for handle in handles:
            handle.remove()
