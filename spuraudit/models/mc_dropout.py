"""Monte Carlo dropout (Gal & Ghahramani 2016) with masks that belong to us.

What lies before the first dropout is deterministic and computed once per image; only the rest is repeated. A network
for which that cannot be shown to give the same answers is run pass by pass.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from spuraudit.errors import NotEvaluatedError, UsageError
from spuraudit.models import dropout_masks
from spuraudit.models.dropout_calls import ApplyMasks, CannotShareError, ExpandMasks
from spuraudit.models.dropout_masks import draw_kept, scale_of
from spuraudit.models.dropout_plan import DropoutPlan, Evaluation, find_dropout
from spuraudit.models.linear_head import head_passes, passes_at_once, read_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from spuraudit.models.model import Model

_PROOF_PASSES = 8
_SAME_PROBABILITY = 1e-5
#: Under reduced precision two ways to the same answer differ by its rounding.
_SAME_REDUCED = 2e-2
_FLOATS = 32 * 2**20


class Draw(NamedTuple):
    """Consecutive images of a batch that share their masks, and the key of these masks."""

    key: int
    images: int


def prepare(model: Model, pixels: Tensor, *, rate: float = 0.5, drop_path: bool = False) -> DropoutPlan:
    """Find where the network drops, or plan to inject dropout before its classifier, and prove that passes differ.

    pixels: (at least 2, 3, H, W) float32 in [0, 1] on the model's device. rate: of an injected layer, above 0 and
    below 1. The plan takes the fastest evaluation that gives on two of the images what whole passes give under the
    same masks (largest difference of a probability 1e-5). The network is left as found.
    Raises UsageError for impossible arguments; NotEvaluatedError where no place for dropout is found or where passes
    do not differ.
    """
    if not 0 < rate < 1:
        raise UsageError(f"The dropout rate must lie above 0 and below 1; got {rate}.")
    if len(pixels) < 2:
        raise UsageError(f"Two images are needed to find the dropout sites; got {len(pixels)}.")
    plan = find_dropout(model, pixels, rate=rate, drop_path=drop_path)
    logits = mc_logits(model, plan, pixels[:2], draw_masks(plan, 0, _PROOF_PASSES))
    spread = float((logits.amax(dim=0) - logits.amin(dim=0)).max())
    # Arithmetic alone may differ in the last bits between passes on a GPU.
    if not spread > 1e-6 * float(logits.abs().max()):
        raise NotEvaluatedError(
            f"Monte Carlo dropout has no effect: {_PROOF_PASSES} passes gave the same answer. {plan.describe()}",
            "The dropped values do not reach the outputs; check the checkpoint, or leave this audit out.",
        )
    return replace(plan, spread=spread, evaluation=_fastest(model, plan, pixels[:2], logits))


def draw_masks(plan: DropoutPlan, key: int, passes: int) -> tuple[Tensor, ...]:
    """Masks of all sites of a plan: (passes, *site.shape) float32 on the CPU, 0 or 1 / (1 - p)."""
    return dropout_masks.draw_masks(plan.sites, key, passes)


def mc_logits(model: Model, plan: DropoutPlan, pixels: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
    """Logits of every pass under given masks: (B, 3, H, W) -> (T, B, C) float32.

    masks: of `draw_masks`, T rows each; pass t multiplies every image of the batch with row t. The network is left as
    found, also when it raises. Raises NotEvaluatedError where it meets other dropout calls than when it was probed.
    """
    passes = {len(mask) for mask in masks}
    if len(masks) != len(plan.sites) or len(passes) != 1:
        raise UsageError(f"The plan has {len(plan.sites)} sites; got masks of {len(masks)}, passes {sorted(passes)}.")
    on_device = [mask.to(model.device) for mask in masks]
    if plan.evaluation == "linear head":
        head = read_head(model, plan, pixels)
        return head_passes(model, head, [(on_device[0].flatten(1), len(pixels))], scale=1.0)
    shared = [mask.unsqueeze(1) for mask in on_device]
    run = _expanded if plan.evaluation == "expanded" else _one_by_one
    at_once = _passes_at_once(plan, len(pixels), 1)
    return torch.cat(
        [
            run(model, plan, pixels, [mask[start:stop] for mask in shared])
            for start, stop in _chunks(len(masks[0]), at_once)
        ]
    )


def answers_of_passes(
    model: Model, plan: DropoutPlan, pixels: Tensor, draws: Sequence[Draw], passes: int
) -> Iterator[Tensor]:
    """First the logits without dropout (1, B, C), then those of the passes, in chunks (t, B, C) that fit in memory.

    pixels: (B, 3, H, W) on the model's device; draws: who shares masks, in the order of the images. The same numbers
    as `mc_logits` with `draw_masks`, however the images are batched (rounding apart).
    """
    if sum(draw.images for draw in draws) != len(pixels):
        raise UsageError(f"The draws are for {sum(draw.images for draw in draws)} images; got {len(pixels)}.")
    if plan.evaluation == "linear head":
        head = read_head(model, plan, pixels)
        yield head.logits.unsqueeze(0)
        site = plan.sites[0]
        for start, stop in _chunks(passes, passes_at_once(head)):
            groups = (
                (draw_kept(site, 0, draw.key, start, stop).flatten(1).to(model.device), draw.images) for draw in draws
            )
            yield head_passes(model, head, groups, scale_of(site))
        return
    for start, stop in _chunks(passes, _passes_at_once(plan, len(pixels), len(draws))):
        masks = _masks(plan, draws, start, stop, model.device)
        if plan.evaluation == "whole passes":
            if start == 0:
                yield model.logits(pixels).unsqueeze(0)
            yield _one_by_one(model, plan, pixels, masks)
            continue
        if start == 0:  # a pass that keeps everything is the answer without dropout
            masks = [torch.cat([torch.ones_like(mask[:1]), mask]) for mask in masks]
        logits = _expanded(model, plan, pixels, masks)
        if start == 0:
            yield logits[:1]
            logits = logits[1:]
        yield logits


def _masks(plan: DropoutPlan, draws: Sequence[Draw], start: int, stop: int, device: torch.device) -> list[Tensor]:
    """Masks of a batch, per site: (t, 1, *shape) where all images share them, else (t, B, *shape)."""
    counts = torch.tensor([draw.images for draw in draws], device=device)
    found = []
    for index, site in enumerate(plan.sites):
        drawn = torch.stack([draw_kept(site, index, draw.key, start, stop) for draw in draws], dim=1).to(device)
        each = drawn if len(draws) == 1 else drawn.repeat_interleave(counts, dim=1)
        found.append(each * scale_of(site))
    return found


def _passes_at_once(plan: DropoutPlan, images: int, draws: int) -> int:
    """How many passes of a batch fit in memory: the grown activations, and the masks of all sites."""
    sizes = [site.size for site in plan.sites]
    # Activations, of which there are more than mask values where whole channels are dropped.
    largest = max(math.prod(site.values) for site in plan.sites)
    values = largest * images + sum(sizes) * (1 if draws == 1 else images)
    return max(1, _FLOATS // values)


def _chunks(passes: int, at_once: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive passes."""
    for start in range(0, passes, at_once):
        yield start, min(passes, start + at_once)


def _one_by_one(model: Model, plan: DropoutPlan, pixels: Tensor, masks: list[Tensor]) -> Tensor:
    """T whole passes; masks (T, 1 or B, *site.shape)."""
    answers = []
    with plan.active(model.network):
        for step in range(len(masks[0])):
            mode = ApplyMasks(plan.sites, [mask[step] for mask in masks], len(pixels))
            with mode:
                answers.append(model.logits(pixels))
            mode.check_complete()
    return torch.stack(answers)


def _expanded(model: Model, plan: DropoutPlan, pixels: Tensor, masks: list[Tensor]) -> Tensor:
    """One pass that grows at its first dropout; masks (T, 1 or B, *site.shape)."""
    passes = len(masks[0])
    mode = ExpandMasks(plan.sites, masks, len(pixels))
    with plan.active(model.network), mode:
        logits = model.logits(pixels)
    mode.check_complete()
    if logits.shape[0] != passes * len(pixels):
        raise CannotShareError
    return logits.view(passes, len(pixels), -1)


def _fastest(model: Model, plan: DropoutPlan, pixels: Tensor, logits: Tensor) -> Evaluation:
    """The first evaluation that gives what whole passes gave (logits of `_PROOF_PASSES` passes with key 0)."""
    limit = _SAME_PROBABILITY if model.record.precision == "fp32" else _SAME_REDUCED
    expected = _probabilities(model, logits)
    shared: tuple[Evaluation, ...] = ("linear head", "expanded")
    for evaluation in shared:
        try:
            answers = _every_way(model, replace(plan, evaluation=evaluation), pixels)
        # Tensors of both sizes that meet give errors of any kind, from deep inside somebody's network.
        except (CannotShareError, NotEvaluatedError, RuntimeError, ValueError, IndexError):
            continue
        if all(float((_probabilities(model, answer) - expected).abs().max()) <= limit for answer in answers):
            return evaluation
    return "whole passes"


def _probabilities(model: Model, logits: Tensor) -> Tensor:
    """As answers will be read: softmax does not see a shift of all logits, a label of its own does."""
    return logits.sigmoid() if model.record.head == "sigmoid" else logits.softmax(dim=2)


def _every_way(model: Model, plan: DropoutPlan, pixels: Tensor) -> list[Tensor]:
    """Two images that share masks, two with masks of their own (here the same), and all features as changed ones."""
    found = [
        torch.cat(list(answers_of_passes(model, plan, pixels, draws, _PROOF_PASSES))[1:])
        for draws in ([Draw(0, 2)], [Draw(0, 1), Draw(0, 1)])
    ]
    if plan.evaluation == "linear head":
        (site,) = plan.sites
        kept = draw_kept(site, 0, 0, 0, _PROOF_PASSES).flatten(1).to(model.device)
        with model.computing():
            found.append(read_head(model, plan, pixels).passes(kept, scale_of(site), few=1.0))
    return found
