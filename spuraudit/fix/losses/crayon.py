"""CRAYON-Attention, equations 1 to 4: keep to the map that was called relevant, leave the one that was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch

from spuraudit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

#: What the overlap is a share of. current: of the current map, as the paper has it. original: of the original map's own
#: part, as in the authors' code for Waterbirds. none: of nothing, as in their code for CelebA and Backgrounds.
Denominator = Literal["current", "original", "none"]
_OFFSET = 1e-10


def scaled(maps: Tensor) -> Tensor:
    """(1e-10 + A) / max(1e-10 + A), image by image: (B, rows, columns) >= 0 -> in 0..1, the largest 1.

    As in the authors' code: the gradient goes through the largest value, and a map of zeros becomes a map of ones.
    """
    lifted = maps + _OFFSET
    return lifted / lifted.amax(dim=(1, 2), keepdim=True)


def relevance_loss(current: Tensor, original: Tensor, by: Denominator = "current") -> Tensor:
    """Equation 1, for images whose original map looks at the right thing: the share of the map outside it, (B,).

    current (B, rows, columns): maps of the network in training, with a graph; original, the same shape: the stored maps
    of the network before, through which no gradient goes. Both are scaled by their own largest value here.
    Raises UsageError for maps of different shapes and for an unknown denominator.
    """
    return _share(current, original, by, inside=False)


def irrelevance_loss(current: Tensor, original: Tensor, by: Denominator = "current") -> Tensor:
    """Equation 2, for images whose original map looks at the wrong thing: the share of the map inside it, (B,).

    Arguments and errors as of `relevance_loss`.
    """
    return _share(current, original, by, inside=True)


def attention_loss(
    current: Tensor,
    original: Tensor,
    relevant: Tensor,
    irrelevant: Tensor,
    *,
    alpha: float,
    beta: float,
    by: Denominator = "current",
    annotated: tuple[int, int] | None = None,
) -> Tensor:
    """What equation 4 adds to the cross-entropy of a batch: a scalar, 0 where no image is annotated.

    alpha times the mean of `relevance_loss` over the images where relevant (B,) is True, plus beta times the mean of
    `irrelevance_loss` where irrelevant (B,) is True; images with neither, such as mixed answers, do not count.
    annotated: (|R|, |I|) of the training set; the sums are divided by these instead of by the numbers in the batch.
    That is the authors' equation, beside a cross-entropy that is summed over the batch and not averaged.
    Raises UsageError as `relevance_loss` does.
    """
    total = current.new_zeros(())
    answers = ((alpha, relevant, relevance_loss), (beta, irrelevant, irrelevance_loss))
    for (weight, answer, loss), count in zip(answers, annotated or (None, None), strict=True):
        if bool(answer.any()):
            terms = loss(current[answer], original[answer], by)
            total = total + weight * terms.sum() / (count or len(terms))
    return total


def _share(current: Tensor, original: Tensor, by: Denominator, *, inside: bool) -> Tensor:
    if by not in get_args(Denominator):
        raise UsageError(
            f"The denominator {by!r} is unknown.",
            did_you_mean(by, get_args(Denominator)) or "Use current, original or none.",
        )
    if current.shape != original.shape:
        raise UsageError(
            f"The current maps have the shape {tuple(current.shape)}, the original ones {tuple(original.shape)}.",
            "Resize the original maps to the grid of this network, or make them with the same layer.",
        )
    now, before = scaled(current), scaled(original.detach().to(current.dtype))
    kept = before if inside else 1 - before
    overlap = (now * kept).sum(dim=(1, 2))
    if by == "none":
        return overlap
    whole = (now if by == "current" else kept).sum(dim=(1, 2))
    # An original map that is the same everywhere has no outside: nothing lies in it.
    return overlap / whole.clamp_min(torch.finfo(whole.dtype).tiny)
