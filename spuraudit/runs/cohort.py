"""Which images of a dataset are audited, and which may lend pixels."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from spuraudit.errors import DataError, did_you_mean
from spuraudit.perturb.draws import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.dataset import Dataset, ImageRow


def choose_split(dataset: Dataset, wanted: str | None) -> str | None:
    """The audited split: the wanted one, else the dataset's default, else test or val; None without splits."""
    if wanted is not None:
        if wanted not in dataset.splits:
            known = ", ".join(dataset.splits) or "none: the dataset has no splits"
            raise DataError(
                f"{dataset.name} has no split {wanted!r}; it has: {known}.",
                did_you_mean(wanted, dataset.splits) or "Choose one of them with --split.",
            )
        return wanted
    for name in (dataset.default_split, "test", "val", "valid", "validation"):
        if name is not None and name in dataset.splits:
            return name
    if dataset.splits:
        raise DataError(
            f"{dataset.name} has the splits {', '.join(dataset.splits)}, and none of them is test or val.",
            "Say which one to audit with --split.",
        )
    return None


def choose_donor_split(dataset: Dataset, audited: Sequence[ImageRow]) -> str | None:
    """`train` where the dataset has one: the model learnt its shortcuts there. None: the audited images.

    A train split without the core masks that the audited images have cannot lend its surroundings.
    """
    masked = any(row.has_core for row in audited)
    rows = dataset.in_split("train") if "train" in dataset.splits else ()
    return "train" if any(row.has_core for row in rows) or (rows and not masked) else None


def limited(rows: Sequence[ImageRow], limit: int | None) -> tuple[ImageRow, ...]:
    """At most `limit` rows, evenly over classes, in file order.

    Rows are chosen by a key of their id alone: a smaller limit is a subset of a larger one, whatever the seed.
    """
    if limit is None or limit >= len(rows):
        return tuple(rows)
    by_class: dict[int, list[ImageRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: key_of("limit", row.id)):
        by_class[row.label].append(row)
    turns = sorted((turn, label) for label, members in by_class.items() for turn in range(len(members)))
    chosen = {by_class[label][turn].id for turn, label in turns[:limit]}
    return tuple(row for row in rows if row.id in chosen)


def ids_sha256(rows: Sequence[ImageRow]) -> str:
    """Hash of image ids in order."""
    return hashlib.sha256("\n".join(row.id for row in rows).encode()).hexdigest()
