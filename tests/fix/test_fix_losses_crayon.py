"""CRAYON-Attention: both terms and their published variants, gradients, and which side is punished."""

from __future__ import annotations

import pytest
import torch
from fix.loss_networks import assert_trains, smooth, uniform
from oracles import fix_losses as oracle
from torch import Tensor

from spuraudit.errors import UsageError
from spuraudit.explain.activation_maps import class_activation, forward_with_features
from spuraudit.fix.losses.crayon import Denominator, attention_loss, irrelevance_loss, relevance_loss, scaled

VARIANTS: tuple[Denominator, ...] = ("current", "original", "none")
CLASSES = torch.tensor([2, 0, 3])


@pytest.mark.parametrize("by", VARIANTS)
def test_both_equal_literal_ones(by: Denominator) -> None:
    current, original = uniform(4, 3, 5) * 7, uniform(4, 3, 5, seed=1) * 0.2
    outside, inside = relevance_loss(current, original, by), irrelevance_loss(current, original, by)
    for i in range(4):
        maps = current[i].numpy(), original[i].numpy()
        assert float(outside[i]) == pytest.approx(oracle.crayon(*maps, by, inside=False), rel=1e-12)
        assert float(inside[i]) == pytest.approx(oracle.crayon(*maps, by, inside=True), rel=1e-12)
    if by == "current":
        assert torch.allclose(outside + inside, torch.ones(4, dtype=torch.float64))


def test_maps_are_scaled_by_their_largest_value() -> None:
    """And a map that is nothing becomes 1 everywhere, as in the authors' code."""
    found = scaled(torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64))
    assert torch.allclose(found[0], torch.tensor([[0, 0.25], [0.5, 1]], dtype=torch.float64), atol=1e-9)
    assert torch.equal(found[1], torch.ones(2, 2, dtype=torch.float64))


@pytest.mark.parametrize("by", VARIANTS)
def test_which_side_is_punished(by: Denominator) -> None:
    left = torch.zeros(1, 4, 4)
    left[:, :, :2] = 1
    assert float(relevance_loss(left, left, by)) < 1e-6  # told to stay, and stays
    assert float(relevance_loss(1 - left, left, by)) >= 0.999
    assert float(irrelevance_loss(left, left, by)) >= 0.999  # told to leave, and stays
    assert float(irrelevance_loss(1 - left, left, by)) < 1e-6


@pytest.mark.parametrize("by", VARIANTS)
def test_parameters_learn_through_the_largest_value_too(by: Denominator) -> None:
    network, x, original = smooth(6), uniform(3, 3, 6, 6), uniform(3, 3, 3, seed=1)
    relevant, irrelevant = torch.tensor([True, False, True]), torch.tensor([False, True, False])

    def loss() -> Tensor:
        logits, output = forward_with_features(network, network.grid, x)
        maps = class_activation(logits, output, network.grid, CLASSES, create_graph=True)
        return attention_loss(maps, original, relevant, irrelevant, alpha=3.0, beta=2.0, by=by)

    assert_trains(network, loss, at_least=0.01)


def test_no_gradient_through_the_original() -> None:
    original = uniform(2, 3, 3, seed=1).requires_grad_()
    current = uniform(2, 3, 3).requires_grad_()
    (relevance_loss(current, original) + irrelevance_loss(current, original, "original")).sum().backward()  # type: ignore[no-untyped-call]
    assert original.grad is None
    assert current.grad is not None


@pytest.mark.parametrize("by", VARIANTS)
def test_dead_maps_give_finite_numbers_and_no_gradient(by: Denominator) -> None:
    nothing = torch.zeros(1, 3, 3, requires_grad=True)
    maps = nothing.relu()
    loss = relevance_loss(maps, torch.zeros(1, 3, 3), by) + irrelevance_loss(maps, uniform(1, 3, 3).float(), by)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert bool(loss.isfinite().all())
    assert nothing.grad is not None
    assert float(nothing.grad.abs().max()) == 0


def test_equation_4() -> None:
    """Means over the annotated images of the batch, or the sums over the training set's numbers of them."""
    current, original = uniform(5, 3, 3), uniform(5, 3, 3, seed=1)
    yes, no = torch.tensor([True, False, True, False, True]), torch.tensor([False, True, False, False, False])
    outside, inside = relevance_loss(current, original), irrelevance_loss(current, original)
    found = attention_loss(current, original, yes, no, alpha=3.0, beta=2.0)
    assert float(found) == pytest.approx(3 * float(outside[[0, 2, 4]].mean()) + 2 * float(inside[1]), rel=1e-12)
    published = attention_loss(current, original, yes, no, alpha=1e4, beta=1e2, annotated=(500, 20))
    expected = 1e4 / 500 * float(outside[[0, 2, 4]].sum()) + 1e2 / 20 * float(inside[1])
    assert float(published) == pytest.approx(expected, rel=1e-12)
    nobody = torch.zeros(5, dtype=torch.bool)
    assert float(attention_loss(current, original, nobody, nobody, alpha=3.0, beta=2.0)) == 0


def test_an_image_does_not_depend_on_the_others() -> None:
    current, original = uniform(4, 3, 3), uniform(4, 3, 3, seed=1)
    alone = torch.cat([relevance_loss(current[i : i + 1], original[i : i + 1]) for i in range(4)])
    assert torch.allclose(relevance_loss(current, original), alone, rtol=1e-14)


def test_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"\(2, 3, 3\).*\(2, 7, 7\)"):
        relevance_loss(torch.ones(2, 3, 3), torch.ones(2, 7, 7))
    with pytest.raises(UsageError, match="'orignal' is unknown") as caught:
        irrelevance_loss(torch.ones(2, 3, 3), torch.ones(2, 3, 3), "orignal")  # type: ignore[arg-type]
    assert "original" in (caught.value.hint or "")
