"""Which images a fix learns from, chooses by, and is judged on. No image is in two of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spuraudit.errors import DataError, UsageError
from spuraudit.perturb.draws import key_of
from spuraudit.runs.cohort import choose_split, limited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spuraudit.data.dataset import Dataset, ImageRow

TRAIN, HELD_OUT = "train", "held-out"
_VALIDATIONS = ("val", "valid", "validation", "dev")
#: Names of a validation split that is made here: the first that the dataset does not use itself.
_MADE_VALIDATION = ("validation", *(f"validation-{number}" for number in range(2, 100)))
#: Shares of images that are set aside where the dataset does not say which.
_HELD_OUT_SHARE, _VALIDATION_SHARE = 0.3, 0.15


@dataclass(frozen=True)
class Division:
    """dataset: with the splits that were made here, where it had none. held_out: name of the split that is scanned.

    held_out_how: where that comes from, one sentence. made: whether the held-out images were set aside here, so that an
    earlier scan of these data has seen them. notes: on the other images.
    """

    dataset: Dataset
    train: tuple[ImageRow, ...]
    validation: tuple[ImageRow, ...]
    held_out: str
    held_out_how: str
    made: bool = False
    notes: tuple[str, ...] = ()


def divide(
    dataset: Dataset,
    *,
    train: str | None = None,
    validation: str | None = None,
    held_out: str | None = None,
    limit: int | None = None,
    choosing: bool = False,
) -> Division:
    """By the dataset's splits (given by name, else the usual ones), else by keys of the image ids.

    limit: at most so many training images, evenly over classes. choosing: something is chosen by validation images, so
    some are set aside where the dataset has none.
    Raises UsageError for unknown or equal splits, DataError where no image is left to train on.
    """
    for name in (train, validation, held_out):
        if name is not None:
            choose_split(dataset, name)
    made = held_out is None and len(dataset.splits) < 2
    if made:
        if validation is not None:
            raise _nothing_left(dataset, "--val-split")
        dataset = _with_made(dataset, dataset.images, HELD_OUT, _HELD_OUT_SHARE, TRAIN)
        train, held_out = TRAIN, HELD_OUT
        how = f"The data have no splits: {_percent(_HELD_OUT_SHARE)} of each class were held out, by image id."
    else:
        held_out = held_out or choose_split(dataset, None) or HELD_OUT
        how = f"The dataset's own split, {held_out}."
    train = train or _usual_train(dataset, (held_out, validation))
    if validation is None:
        usual = (name for name in _VALIDATIONS if name in dataset.splits and name not in (train, held_out))
        validation = next(usual, None)
    _refuse_equal({"training": train, "validation": validation, "held-out": held_out})
    notes: list[str] = []
    if validation is None and choosing:
        # A split of this name may be the one that is held out: the made one must not join it.
        validation = next(name for name in _MADE_VALIDATION if name not in dataset.splits)
        dataset = _with_made(dataset, dataset.in_split(train), validation, _VALIDATION_SHARE)
        notes.append(
            f"No split is left for validation: {_percent(_VALIDATION_SHARE)} of each class of {train} were taken, by "
            "image id."
        )
    rows = limited(dataset.in_split(train), limit)
    if not rows or not dataset.in_split(held_out):
        raise DataError(f"{dataset.origin or dataset.name}: no images in {held_out if rows else train}.")
    chosen = dataset.in_split(validation) if validation is not None else ()
    return Division(dataset, rows, chosen, held_out, how, made, tuple(notes))


def _refuse_equal(splits: Mapping[str, str | None]) -> None:
    given = {use: name for use, name in splits.items() if name is not None}
    if len(set(given.values())) < len(given):
        raise UsageError(
            f"Each split may serve once, but the images are: {', '.join(f'{use} {n}' for use, n in given.items())}.",
            "Choose different splits with --train-split, --val-split and --split.",
        )


def _usual_train(dataset: Dataset, others: Sequence[str | None]) -> str:
    """The split to train on where none was named: train, or the only one that serves nothing else."""
    if len(dataset.splits) < 2:
        raise _nothing_left(dataset, "--split")
    usual = [name for name in ("train", "training") if name in dataset.splits]
    free = [name for name in dataset.splits if name not in (*others, *_VALIDATIONS)]
    if usual or len(free) == 1:
        return (usual or free)[0]
    raise UsageError(
        f"{dataset.name} has the splits {', '.join(dataset.splits)}, and none of them is train.",
        "Say which one to train on with --train-split.",
    )


def _nothing_left(dataset: Dataset, flag: str) -> UsageError:
    return UsageError(
        f"{dataset.name} has no split but {dataset.splits[0]}: nothing else would be left to train on.",
        f"Leave {flag} out: images are then set aside, a share of each class.",
    )


def _with_made(dataset: Dataset, rows: Sequence[ImageRow], name: str, share: float, rest: str | None = None) -> Dataset:
    """A share of each class of the rows put into the split `name`, the others into `rest` (None: as they were)."""
    by_class: dict[int, list[ImageRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: key_of("held out", row.id)):
        by_class[row.label].append(row)
    taken = {row.id for members in by_class.values() for row in members[: round(share * len(members))]}
    among = {row.id for row in rows}

    def placed(row: ImageRow) -> ImageRow:
        if row.id in taken:
            return replace(row, split=name)
        return replace(row, split=rest) if rest is not None and row.id in among else row

    return replace(dataset, images=tuple(placed(row) for row in dataset.images))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
