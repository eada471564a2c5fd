"""Networks whose one dropout feeds their last linear layer: T passes are T products of that layer alone.

Where a change of the image changes few of the dropped features (a patch, in a network of one convolution), only what
changed is multiplied: W (m o h') = W (m o h) + W (m o (h' - h)), and h' - h is zero elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from spuraudit.models.dropout_calls import CannotShareError, other_calls, other_shape, parse_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from spuraudit.models.dropout_plan import DropoutPlan
    from spuraudit.models.model import Model

#: Above this share of changed features, multiplying all of them is as fast.
_FEW = 0.25
#: Between the dropout and the last layer these may stand: they change no value and no order.
_RESHAPING = {
    torch.flatten,
    torch.squeeze,
    torch.reshape,
    torch.Tensor.flatten,
    torch.Tensor.squeeze,
    torch.Tensor.reshape,
    torch.Tensor.view,
    torch.Tensor.contiguous,
}
#: Floats of an intermediate result, so that memory does not depend on the number of passes.
_FLOATS = 32 * 2**20


class LinearHead(NamedTuple):
    """What one pass without dropout leaves: features (B, D) before the dropout, weight (C, D), bias, logits (B, C)."""

    features: Tensor
    weight: Tensor
    bias: Tensor | None
    logits: Tensor

    def passes(self, kept: Tensor, scale: float, few: float = _FEW) -> Tensor:
        """Logits of images that share masks: (T, D) -> (T, B, C) float32. `scale` times `kept` is the mask.

        few: up to which share of changed features only these are multiplied.
        """
        changed = self.features[1:] != self.features[:1]
        counts = changed.sum(dim=1)
        if len(changed) and int(counts.max()) <= few * changed.shape[1]:
            return self._changed(changed, counts, kept, scale)
        return self._all(kept, scale)

    def part(self, start: int, stop: int) -> LinearHead:
        """Some of the images."""
        return self._replace(features=self.features[start:stop], logits=self.logits[start:stop])

    def _all(self, kept: Tensor, scale: float) -> Tensor:
        masks = kept.to(self.features.dtype) * scale
        step = max(1, _FLOATS // masks.numel())
        parts = []
        for some in torch.split(self.features, step):
            dropped = (some.unsqueeze(0) * masks.unsqueeze(1)).flatten(0, 1)
            parts.append(F.linear(dropped, self.weight, self.bias).float().view(len(masks), len(some), -1))
        return torch.cat(parts, dim=1)

    def _changed(self, changed: Tensor, counts: Tensor, kept: Tensor, scale: float) -> Tensor:
        """The first image's logits, and what the changed features (B - 1, D) of the others add to them."""
        widest = int(counts.max())
        # (D, T): a gather then copies whole rows of passes.
        masks = kept.t().contiguous().to(self.features.dtype)
        first = torch.mm(self.weight * (self.features[0] * scale), masks).float()
        if self.bias is not None:
            first += self.bias.float().unsqueeze(1)
        if not widest:  # every image is the first one
            return first.t().unsqueeze(1).expand(-1, 1 + len(changed), -1)
        places = changed.nonzero(as_tuple=True)[1]
        # Images change different numbers of features: the rest of a row points at feature 0, with a difference of 0.
        index = places.new_zeros((len(changed), widest))
        used = torch.arange(widest, device=counts.device) < counts.unsqueeze(1)
        index[used] = places
        difference = (self.features[1:].gather(1, index) - self.features[0][index]) * used * scale
        weight = self.weight.t().contiguous()
        step = max(1, _FLOATS // (widest * (len(kept) + len(self.weight))))
        parts = [first.unsqueeze(0)]
        for some, by in zip(torch.split(index, step), torch.split(difference, step), strict=True):
            weighted = weight.index_select(0, some.flatten()).view(*some.shape, -1) * by.unsqueeze(2)
            passes = masks.index_select(0, some.flatten()).view(*some.shape, -1)
            parts.append(first + torch.bmm(weighted.transpose(1, 2).contiguous(), passes).float())
        return torch.cat(parts).permute(2, 0, 1)


def read_head(model: Model, plan: DropoutPlan, pixels: Tensor) -> LinearHead:
    """One pass without dropout.

    Raises CannotShareError where the plan's one site does not feed a linear layer, NotEvaluatedError where the network
    makes other dropout calls than when it was probed.
    """
    if len(plan.sites) != 1 or plan.sites[0].kind != "dropout" or plan.sites[0].axis or plan.sites[0].rows != 1:
        raise CannotShareError
    (site,) = plan.sites
    mode = _ReadHead(site.call)
    with plan.active(model.network), mode:
        logits = model.logits(pixels)
    if mode.features is None or mode.seen != 1 + plan.skipped:
        raise other_calls(mode.seen, 1 + plan.skipped)
    if mode.features.shape != (len(pixels), *site.values):
        raise other_shape(site, mode.features)
    features = mode.features.flatten(1)
    if mode.weight is None or mode.weight.shape[1:] != features.shape[1:]:
        raise CannotShareError
    if logits.shape != (len(pixels), len(mode.weight)):
        raise CannotShareError
    return LinearHead(features, mode.weight, mode.bias, logits)


class _ReadHead(TorchFunctionMode):
    """Remembers what goes through a dropout call, and the linear layer that reads it. Changes nothing."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.seen = 0
        self.features: Tensor | None = None
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self._call = call
        self._carriers: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Read along."""
        call = parse_call(func, args, kwargs or {})
        if call is not None:
            if call.p > 0:
                if self.seen == self._call:
                    self.features = call.x
                    self._carriers.append(call.x)
                self.seen += 1
            return call.x
        result = func(*args, **(kwargs or {}))
        if any(args and args[0] is carrier for carrier in self._carriers):
            if func in _RESHAPING:
                self._carriers.append(result)
            elif func is F.linear:
                self.weight, self.bias = args[1], args[2] if len(args) > 2 else None
        return result


def head_passes(model: Model, head: LinearHead, groups: Iterable[tuple[Tensor, int]], scale: float) -> Tensor:
    """Logits (T, B, C) of consecutive groups of images; per group its kept values (T, D) and its number of images."""
    answers, start = [], 0
    with model.computing():
        for kept, images in groups:
            answers.append(head.part(start, start + images).passes(kept, scale))
            start += images
    return torch.cat(answers, dim=1)


def passes_at_once(head: LinearHead) -> int:
    """How many passes of a batch fit in memory together."""
    images, features = head.features.shape
    return max(1, _FLOATS // (images * max(features // 4, len(head.weight))))
