"""Which images a fix learns from, chooses by and is judged on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from spuraudit.errors import DataError, SpurauditError, UsageError
from spuraudit.fix.division import Division, divide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.dataset import Dataset


def in_splits(dataset: Dataset, names: Sequence[str | None], default: str | None = None) -> Dataset:
    """The dataset, its images dealt out to these splits in turn."""
    rows = tuple(replace(row, split=name) for row, name in zip(dataset.images, cycle(names), strict=False))
    return replace(dataset, images=rows, default_split=default)


def ids(division: Division) -> tuple[set[str], set[str], set[str]]:
    """Of training, validation and held-out images."""
    held_out = division.dataset.in_split(division.held_out)
    parts = tuple({row.id for row in rows} for rows in (division.train, division.validation, held_out))
    assert sum(map(len, parts)) == len(set().union(*parts))
    return parts[0], parts[1], parts[2]


def names(division: Division) -> tuple[str | None, str | None, str]:
    """Of the three splits."""
    validation = division.validation
    return division.train[0].split, validation[0].split if validation else None, division.held_out


@pytest.mark.parametrize(
    ("splits", "given", "expected"),
    [
        (("train", "val", "test"), {}, ("train", "val", "test")),
        (("training", "valid", "test"), {}, ("training", "valid", "test")),
        (("train", "dev", "test"), {}, ("train", "dev", "test")),
        (("train", "test"), {}, ("train", None, "test")),
        (("train", "val"), {}, ("train", None, "val")),
        (("seen", "test"), {}, ("seen", None, "test")),
        (("seen", "val", "test"), {}, ("seen", "val", "test")),
        (("a", "b", "c"), {"held_out": "b", "validation": "c"}, ("a", "c", "b")),
        (("a", "b"), {"held_out": "b"}, ("a", None, "b")),
        (("train", "val", "test"), {"held_out": "val"}, ("train", None, "val")),
        (("train", "val", "test"), {"train": "val"}, ("val", None, "test")),
        (("train", "val", "test"), {"train": "val", "validation": "train"}, ("val", "train", "test")),
    ],
)
def test_splits_of_the_dataset(
    many: Dataset, splits: tuple[str, ...], given: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    dataset = in_splits(many, splits)
    division = divide(dataset, **given)
    assert names(division) == expected
    assert division.dataset is dataset
    assert division.train == dataset.in_split(expected[0])
    assert division.held_out_how == f"The dataset's own split, {expected[2]}."
    assert division.notes == ()
    ids(division)


@pytest.mark.parametrize(
    ("splits", "given"),
    [
        (("train", "validation"), {}),
        (("train", "validation", "validation-2"), {"held_out": "validation"}),
        (("validation", "test"), {"train": "validation"}),
    ],
)
def test_a_made_validation_split_joins_no_split_of_its_name(
    many: Dataset, splits: tuple[str, ...], given: dict[str, str]
) -> None:
    dataset = in_splits(many, splits)
    division = divide(dataset, **given, choosing=True)
    train, validation, held_out = ids(division)
    assert validation
    assert {row.split for row in division.validation}.isdisjoint(splits)
    assert held_out == {row.id for row in dataset.in_split(division.held_out)}
    assert train | validation == {row.id for row in dataset.in_split(division.train[0].split)}


@pytest.mark.parametrize("only", [None, "train", "test", "odd"])
def test_without_splits_a_share_of_each_class_is_held_out(many: Dataset, only: str | None) -> None:
    division = divide(in_splits(many, [only]))
    train, validation, held_out = ids(division)
    assert train | held_out == {row.id for row in many.images}
    assert not validation
    # 24 images of each of three classes; 30 % of them.
    of_class = Counter(row.label for row in division.dataset.in_split(division.held_out))
    assert of_class == {0: 7, 1: 7, 2: 7}
    assert "30 % of each class" in division.held_out_how


def test_the_order_of_the_file_does_not_matter(many: Dataset) -> None:
    whole = in_splits(many, [None])
    turned = replace(whole, images=whole.images[::-1])
    assert ids(divide(whole, choosing=True)) == ids(divide(turned, choosing=True))
    parted = in_splits(many, ["train", "test"])
    turned = replace(parted, images=parted.images[::-1])
    assert ids(divide(parted, choosing=True, limit=20)) == ids(divide(turned, choosing=True, limit=20))


def test_more_images_leave_most_of_those_held_out(many: Dataset) -> None:
    few = replace(many, images=tuple(row for at, row in enumerate(many.images) if at % 2))
    few, whole = in_splits(few, [None]), in_splits(many, [None])
    held_few, held_many = ids(divide(few))[2], ids(divide(whole))[2]
    # What is held out is not drawn anew: most of it stays.
    assert len(held_few & held_many) > len(held_few - held_many)


@pytest.mark.parametrize("splits", [("train", "test"), (None,)])
def test_images_to_choose_by_are_taken_from_those_to_learn_from(many: Dataset, splits: tuple[str | None, ...]) -> None:
    dataset = in_splits(many, splits)
    without, division = divide(dataset), divide(dataset, choosing=True)
    train, validation, held_out = ids(division)
    assert train | validation == ids(without)[0]
    assert held_out == ids(without)[2]
    assert set(Counter(row.label for row in division.validation)) == {0, 1, 2}
    assert 0.1 < len(validation) / len(train | validation) < 0.2
    assert "No split is left for validation: 15 % of each class of train" in division.notes[0]
    assert "validation" not in division.held_out_how


def test_a_validation_split_of_the_dataset_is_not_added_to(many: Dataset) -> None:
    dataset = in_splits(many, ("train", "val", "test"))
    assert divide(dataset, choosing=True) == divide(dataset)


def test_a_limit_is_even_over_classes_and_nested(many: Dataset) -> None:
    dataset = in_splits(many, ("train", "val", "test"))
    few, more = divide(dataset, limit=9), divide(dataset, limit=15)
    assert Counter(row.label for row in few.train) == {0: 3, 1: 3, 2: 3}
    assert ids(few)[0] < ids(more)[0] < ids(divide(dataset))[0]
    assert ids(few)[1:] == ids(more)[1:]


@pytest.mark.parametrize(
    ("splits", "given", "message"),
    [
        (("train", "test"), {"held_out": "train"}, "training train, held-out train"),
        (("train", "val", "test"), {"validation": "test"}, "training train, validation test, held-out test"),
        (("train", "val", "test"), {"train": "val", "validation": "val"}, "training val, validation val"),
        (("a", "b", "test"), {}, "none of them is train"),
        (("test",), {"held_out": "test"}, "no split but test"),
        (("odd",), {"validation": "odd"}, "no split but odd"),
        (("train", "test"), {"train": "trian"}, "no split 'trian'"),
        (("train", "odd"), {}, "none of them is test or val"),
        ((None,), {"train": "train"}, "the dataset has no splits"),
    ],
)
def test_refusals(many: Dataset, splits: tuple[str | None, ...], given: dict[str, str], message: str) -> None:
    with pytest.raises(SpurauditError, match=message) as caught:
        divide(in_splits(many, splits), choosing=True, **given)
    assert isinstance(caught.value, UsageError | DataError)
    assert "None" not in caught.value.message
    assert caught.value.hint


def test_a_train_split_that_is_the_default_of_scans_is_not_held_out(many: Dataset) -> None:
    dataset = in_splits(many, ("train", "test"), default="train")
    with pytest.raises(UsageError, match="training train, held-out train"):
        divide(dataset)
    assert names(divide(dataset, held_out="test")) == ("train", None, "test")


def test_images_of_no_split_are_in_none(many: Dataset) -> None:
    division = divide(in_splits(many, ("train", "test", None)))
    assert sum(map(len, ids(division))) == 48


def test_nothing_left_to_train_on(many: Dataset) -> None:
    with pytest.raises(DataError, match="no image"):
        divide(replace(many, images=()))
