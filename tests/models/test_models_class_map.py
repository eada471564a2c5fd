from __future__ import annotations

import math

import pytest
import torch

from spuraudit.errors import DataError, ModelError
from spuraudit.models.class_map import Head, class_map

NAMES = ["monarch", "cabbage", "sulphur"]


def test_identity() -> None:
    mapping = class_map([None] * 3, NAMES, 3, "all")
    assert mapping.is_identity
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    answers = mapping.answer(logits)
    assert answers.predicted.tolist() == [1, 0]
    assert answers.predicted.dtype == answers.output.dtype == torch.int64
    assert answers.probabilities.dtype == torch.float32
    assert torch.equal(answers.probabilities, logits.softmax(dim=1))


def test_several_outputs_of_many() -> None:
    mapping = class_map([(4, 1), (0,)], NAMES[:2], 6, "all")
    assert not mapping.is_identity
    logits = torch.tensor(
        [[0.0, 1.0, 2.0, 0.0, 3.0, 0.0], [0.0, 1.0, 9.0, 0.0, 3.0, 0.0], [7.0, 1.0, 0.0, 0.0, 3.0, 0.0]]
    )
    answers = mapping.answer(logits)
    assert answers.predicted.tolist() == [0, -1, 1]
    assert answers.output.tolist() == [4, 2, 0]
    total = sum(math.exp(value) for value in logits[0].tolist())
    assert answers.probabilities[0].tolist() == pytest.approx([(math.exp(3) + math.exp(1)) / total, 1 / total])


def test_forced_to_choose_among_the_mapped_outputs() -> None:
    mapping = class_map([(4, 1), (0,)], NAMES[:2], 6, "mapped")
    logits = torch.tensor([[0.0, 1.0, 9.0, 0.0, 3.0, 0.0]])
    answers = mapping.answer(logits)
    assert answers.predicted.tolist() == [0]
    assert answers.output.tolist() == [4]
    assert float(answers.probabilities.sum()) == pytest.approx(1)
    total = math.exp(1) + math.exp(3) + 1
    assert answers.probabilities[0].tolist() == pytest.approx([(math.exp(3) + math.exp(1)) / total, 1 / total])


def test_labels_of_a_sigmoid_head_are_given_one_by_one() -> None:
    mapping = class_map([(4, 1), (0,)], NAMES[:2], 6, "all", "sigmoid")
    logits = torch.tensor(
        [
            [2.0, -3.0, -4.0, -1.0, 3.0, -1.0],  # both classes, the first more surely
            [-2.0, -0.5, 5.0, -1.0, -1.0, -1.0],  # only what the dataset does not know
            [-2.0, -0.5, -3.0, -1.0, -1.0, -1.0],  # nothing
            [0.0, -9.0, -9.0, -9.0, -9.0, -9.0],  # 0.5 is enough
        ]
    )
    answers = mapping.answer(logits)
    assert answers.predicted.tolist() == [0, -1, -1, 1]
    assert answers.output.tolist() == [4, 2, 1, 0]
    assert answers.given is not None
    assert answers.given.tolist() == [[True, True], [False, False], [False, False], [False, True]]
    expected = [[1 / (1 + math.exp(-max(row[4], row[1]))), 1 / (1 + math.exp(-row[0]))] for row in logits.tolist()]
    assert answers.probabilities.flatten().tolist() == pytest.approx([p for row in expected for p in row])


def test_only_mapped_labels_compete_where_the_model_is_forced_to_choose() -> None:
    mapping = class_map([(4, 1), (0,)], NAMES[:2], 6, "mapped", "sigmoid")
    answers = mapping.answer(torch.tensor([[1.0, -1.0, 9.0, 8.0, 2.0, 7.0], [-1.0, -1.0, 9.0, 8.0, -2.0, 7.0]]))
    assert answers.predicted.tolist() == [0, -1]
    assert answers.output[0] == 4
    assert answers.given is not None
    assert answers.given.tolist() == [[True, True], [False, False]]


def test_saying_yes_to_everything_is_one_answer() -> None:
    mapping = class_map([None] * 3, NAMES, 3, "all", "sigmoid")
    answers = mapping.answer(torch.tensor([[30.0, 40.0, 35.0]]))
    assert answers.predicted.tolist() == [1]  # the three probabilities are all 1 in float32
    assert answers.given is not None
    assert answers.given.all()


def test_a_softmax_head_gives_no_labels() -> None:
    assert class_map([None] * 3, NAMES, 3, "all").answer(torch.zeros(2, 3)).given is None


def test_entropy_of_labels_is_summed() -> None:
    mapping = class_map([None] * 3, NAMES, 3, "all", "sigmoid")
    entropy = mapping.entropy(torch.tensor([[0.5, 1.0, 0.0], [0.5, 0.5, 0.5]]))
    assert entropy.tolist() == pytest.approx([math.log(2), 3 * math.log(2)])


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_a_row_does_not_depend_on_its_batch(head: Head) -> None:
    mapping = class_map([(4, 1, 9), (0,), (7, 3)], NAMES, 10, "all", head)
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    together = mapping.answer(logits)
    for size in (1, 7):
        parts = [mapping.answer(chunk) for chunk in logits.split(size)]
        assert torch.equal(together.probabilities, torch.cat([part.probabilities for part in parts]))
        assert torch.equal(together.predicted, torch.cat([part.predicted for part in parts]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_logits(bad: float) -> None:
    mapping = class_map([None] * 3, NAMES, 3, "all")
    with pytest.raises(ModelError, match="1 of 2 images"):
        mapping.answer(torch.tensor([[0.0, 1.0, 2.0], [0.0, bad, 0.0]]))


def test_wrong_number_of_logits() -> None:
    with pytest.raises(ModelError, match="3 outputs"):
        class_map([None] * 3, NAMES, 3, "all").answer(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("outputs", "num_outputs", "message"),
    [
        ([None, None, None], 1000, "3 classes, the model has 1000 outputs"),
        ([(1,), None, (2,)], 10, "1 of 3 classes name no model outputs: cabbage"),
        ([(1,), (), (2,)], 10, "'cabbage' has an empty list"),
        ([(1,), (10,), (2,)], 10, r"'cabbage' names the model output 10; the model has 10 \(0 to 9\)"),
        ([(1,), (-1,), (2,)], 10, "output -1"),
        ([(1,), (3, 1), (2,)], 10, "1 is claimed by 'monarch' and again by 'cabbage'"),
        ([(1, 1), (3,), (2,)], 10, "1 is claimed by 'monarch' and again by 'monarch'"),
        ([(1,), (2,)], 10, "3 class names and 2 entries"),
    ],
)
def test_what_does_not_fit(outputs: list, num_outputs: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_map(outputs, NAMES, num_outputs, "all")


def test_wrong_class_count_says_how_to_map() -> None:
    with pytest.raises(DataError) as caught:
        class_map([None] * 3, NAMES, 1000, "all")
    assert "outputs:" in caught.value.hint


@pytest.mark.parametrize(
    ("classes", "outputs", "said", "example"),
    [
        (1, 2, "the dataset has 1 class, the model has 2 outputs.", "`outputs: [1]`"),
        (3, 1, "the dataset has 3 classes, the model has 1 output.", "`outputs: [0]`"),
        (3, 1000, "the dataset has 3 classes, the model has 1000 outputs.", "`outputs: [323]`"),
    ],
)
def test_the_example_of_a_wrong_count_is_an_output_of_the_model(
    classes: int, outputs: int, said: str, example: str
) -> None:
    with pytest.raises(DataError) as caught:
        class_map([None] * classes, NAMES[:classes], outputs, "all")
    assert caught.value.message == f"Wrong class count: {said}"
    assert example in (caught.value.hint or "")
