"""Cross-entropy in the dataset's classes, of which each may own several outputs of the model.

Means the same as `models.class_map`, by which models are judged: a softmax head's classes add up the probabilities of
their outputs, a sigmoid head's class is its strongest output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spuraudit.models.class_map import AnswerSpace, Head


def membership(outputs: Sequence[Sequence[int]], num_outputs: int) -> Tensor:
    """`ClassMap.outputs` as (K, num_outputs) bool: which outputs a class owns."""
    members = torch.zeros(len(outputs), num_outputs, dtype=torch.bool)
    for row, own in zip(members, outputs, strict=True):
        row[list(own)] = True
    return members


def class_logits(logits: Tensor, members: Tensor, head: Head = "softmax") -> Tensor:
    """One logit per class of the dataset: (B, num_outputs) and (K, num_outputs) bool -> (B, K).

    softmax: log of the summed exponentials of the class's outputs. sigmoid: the largest of them. Of one output, that
    output.
    """
    # Classes own few outputs each; a table of all outputs per class would not fit for a thousand of both.
    owned, outputs = members.float().topk(int(members.sum(dim=1).max()), dim=1)
    own = logits[:, outputs].masked_fill(owned == 0, -torch.inf)
    return own.logsumexp(dim=2) if head == "softmax" else own.amax(dim=2)


def class_log_probabilities(logits: Tensor, members: Tensor, answers: AnswerSpace = "all") -> Tensor:
    """Log of the softmax probability of each class, summed over its outputs: (B, num_outputs) -> (B, K).

    answers: 'all' outputs share the probability, also those of no class, or only the 'mapped' ones.
    """
    own = class_logits(logits, members)
    whole = own if answers == "mapped" else logits
    return own - whole.logsumexp(dim=1, keepdim=True)


def class_nll(
    logits: Tensor, labels: Tensor, members: Tensor, *, answers: AnswerSpace = "all", head: Head = "softmax"
) -> Tensor:
    """Loss of each sample in nats: logits (B, num_outputs), labels (B,) int64 of the classes -> (B,).

    members (K, num_outputs) bool: see `membership`. softmax: -log of the probability of the label's class; with one
    output per class, `F.cross_entropy(reduction="none")`. sigmoid: the binary cross-entropies of all classes of the
    dataset, summed, each by its strongest output; the label's class should be given and the others not, which takes the
    dataset's classes to exclude each other, as the audit of labels does. Outputs of no class are left alone: nothing is
    known about them. answers matters to a softmax only.
    """
    if head == "sigmoid":
        scores = class_logits(logits, members, head)
        given = F.one_hot(labels, len(members)).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, given, reduction="none").sum(dim=1)
    return -class_log_probabilities(logits, members, answers).gather(1, labels[:, None])[:, 0]
