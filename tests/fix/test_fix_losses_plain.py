"""Cross-entropy in the dataset's classes: equal to a literal one, and of one mind with the class map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from oracles.fix_losses import nll
from torch import Tensor

from spuraudit.fix.losses.plain import class_log_probabilities, class_logits, class_nll, membership
from spuraudit.models.class_map import AnswerSpace, Head, class_map

#: Class 0 owns three outputs, class 1 one, class 2 two; outputs 3 and 7 are nobody's.
OUTPUTS = ((0, 5, 2), (1,), (6, 4))
LABELS = torch.tensor([0, 1, 2, 0, 2])


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("answers", ["all", "mapped"])
def test_equals_a_literal_one(logits: Tensor, answers: AnswerSpace, head: Head) -> None:
    found = class_nll(logits, LABELS, membership(OUTPUTS, 8), answers=answers, head=head)
    expected = [nll(row.tolist(), int(y), OUTPUTS, answers, head) for row, y in zip(logits, LABELS, strict=True)]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12)


def test_with_one_output_per_class_it_is_the_usual_one(logits: Tensor) -> None:
    members = membership([(k,) for k in range(8)], 8)
    expected = F.cross_entropy(logits, LABELS, reduction="none")
    assert torch.allclose(class_nll(logits, LABELS, members), expected, rtol=1e-14)
    assert torch.equal(class_logits(logits, members), logits)


@pytest.mark.parametrize("answers", ["all", "mapped"])
def test_probabilities_are_those_by_which_models_are_judged(logits: Tensor, answers: AnswerSpace) -> None:
    judged = class_map(OUTPUTS, ["a", "b", "c"], 8, answers).answer(logits).probabilities.double()
    found = class_log_probabilities(logits, membership(OUTPUTS, 8), answers).exp()
    assert torch.allclose(found, judged, atol=1e-6)
    assert (float(found.sum(dim=1).max()) < 1 - 1e-9) == (answers == "all")


def test_labels_are_those_by_which_models_are_judged(logits: Tensor) -> None:
    judged = class_map(OUTPUTS, ["a", "b", "c"], 8, "all", "sigmoid").answer(logits).probabilities.double()
    assert torch.allclose(class_logits(logits, membership(OUTPUTS, 8), "sigmoid").sigmoid(), judged, atol=1e-6)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("answers", ["all", "mapped"])
def test_can_be_differentiated_twice(logits: Tensor, answers: AnswerSpace, head: Head) -> None:
    members = membership(OUTPUTS, 8)

    def loss(values: Tensor) -> Tensor:
        return class_nll(values, LABELS, members, answers=answers, head=head)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())
    assert torch.autograd.gradgradcheck(loss, logits)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_moves_the_label_up_and_leaves_alone_what_nobody_owns(logits: Tensor, head: Head) -> None:
    logits.requires_grad_()
    class_nll(logits, LABELS, membership(OUTPUTS, 8), answers="mapped", head=head).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    for row, label in zip(logits.grad, LABELS.tolist(), strict=True):
        assert float(row[list(OUTPUTS[label])].min()) < 0
        for other in {0, 1, 2} - {label}:
            assert float(row[list(OUTPUTS[other])].max()) > 0
    assert torch.equal(logits.grad[:, [3, 7]], torch.zeros(5, 2, dtype=torch.float64))


def test_far_apart_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, 0, -1e4, 3]], requires_grad=True)
    loss = class_nll(logits, torch.tensor([1]), membership([(0,), (2, 3)], 4))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(1e4 - 3)
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
