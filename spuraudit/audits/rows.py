"""Observations as arrays: right answers and probabilities by condition, image and trial."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from spuraudit.audits.base import BLANK_SHARE, CLEAN
from spuraudit.errors import RunError

if TYPE_CHECKING:
    import pyarrow as pa

    from spuraudit.audits.base import Question
    from spuraudit.data.dataset import ImageRow

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """The rows of one condition, sorted by image and trial. All arrays have one entry per row.

    `image` is the index of the image in the audited order.
    """

    image: Ints
    trial: Ints
    label: Ints
    donor_label: Ints
    predicted: Ints
    p_true: Floats
    p_plain: Floats
    entropy: Floats
    energy: Floats
    region_share: Floats
    core_share: Floats

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the model's answer is the image's class."""
        right: NDArray[np.bool_] = self.predicted == self.label
        return right

    def per_image(self, values: NDArray[np.generic], count: int) -> Floats:
        """Sum of `values` per image: (count,) over all audited images, 0 where the condition was not asked."""
        sums: Floats = np.bincount(self.image, weights=values.astype(np.float64), minlength=count).astype(np.float64)
        return sums


class Answer(NamedTuple):
    """One row: probability of the image's class, the answered class (-1: none of the dataset's), the raw output."""

    p_true: float
    predicted: int
    output: int


class Given(NamedTuple):
    """Labels given under one condition: an entry per label and answer, with the image's index and the label's class."""

    image: Ints
    label: Ints


class Rows:
    """All observations of a run, with the images they are about."""

    def __init__(self, table: pa.Table, images: tuple[ImageRow, ...]) -> None:
        self.images = images
        self.count = len(images)
        self.labels: Ints = np.array([row.label for row in images], dtype=np.int64)
        self._index = {row.id: position for position, row in enumerate(images)}
        self._table = table

    @cached_property
    def _columns(self) -> dict[str, NDArray[np.generic]]:
        numeric = (
            "trial",
            "label",
            "donor_label",
            "predicted",
            "output",
            "p_true",
            "p_plain",
            "entropy",
            "energy",
            "region_share",
            "core_share",
        )
        columns = {name: self._table[name].to_numpy() for name in numeric}
        ids = self._table["image"].combine_chunks()
        where = np.array([self._index[name] for name in ids.dictionary.to_pylist()], dtype=np.int64)
        columns["image"] = where[ids.indices.to_numpy()] if len(where) else np.zeros(0, dtype=np.int64)
        return columns

    @cached_property
    def _places(self) -> dict[str, Ints]:
        """Row numbers of each condition, sorted by image, then trial."""
        conditions = self._table["condition"].combine_chunks()
        codes = conditions.indices.to_numpy()
        order = np.lexsort((self._columns["trial"], self._columns["image"], codes))
        bounds = np.searchsorted(codes[order], np.arange(len(conditions.dictionary) + 1))
        names = conditions.dictionary.to_pylist()
        return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}

    def block(self, condition: str) -> Block:
        """The rows of one condition; empty arrays where there are none."""
        places = self._places.get(condition, np.zeros(0, dtype=np.int64))
        asked = np.stack([self._columns["image"][places], self._columns["trial"][places]])
        if (asked[:, 1:] == asked[:, :-1]).all(axis=0).any():
            raise RunError(
                f"The observations hold an answer twice under {condition!r}.", "Delete the run folder and scan again."
            )

        def integers(name: str) -> Ints:
            return self._columns[name][places].astype(np.int64)

        def reals(name: str) -> Floats:
            return self._columns[name][places].astype(np.float64)

        return Block(
            image=integers("image"),
            trial=integers("trial"),
            label=integers("label"),
            donor_label=integers("donor_label"),
            predicted=integers("predicted"),
            p_true=reals("p_true"),
            p_plain=reals("p_plain"),
            entropy=reals("entropy"),
            energy=reals("energy"),
            region_share=reals("region_share"),
            core_share=reals("core_share"),
        )

    @property
    def of_labels(self) -> bool:
        """Whether a sigmoid head answered, which gives labels."""
        return bool(self._table["given"].null_count < self._table.num_rows)

    def given(self, condition: str) -> Given:
        """All labels given under a condition; empty where there are none."""
        places = self._places.get(condition, np.zeros(0, dtype=np.int64))
        lists = self._table["given"].combine_chunks().take(places)
        answers = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        labels = pc.list_flatten(lists).to_numpy().astype(np.int64)
        return Given(self._columns["image"][places].astype(np.int64)[answers], labels)

    def blank(self, condition: str) -> NDArray[np.bool_]:
        """(images,) asked under the condition, but its region is blank in the model's view of the image."""
        block = self.block(condition)
        found = np.zeros(self.count, dtype=bool)
        found[block.image] = block.region_share < BLANK_SHARE
        return found

    def answer(self, row: ImageRow, question: Question) -> Answer | None:
        """The answer to one question about one image, or None where it was not asked."""
        places = self._places.get(question.condition, np.zeros(0, dtype=np.int64))
        found = places[
            (self._columns["image"][places] == self._index[row.id]) & (self._columns["trial"][places] == question.trial)
        ]
        if not len(found):
            return None
        values = {name: self._columns[name][found[0]] for name in ("p_true", "predicted", "output")}
        return Answer(float(values["p_true"]), int(values["predicted"]), int(values["output"]))

    @cached_property
    def clean(self) -> NDArray[np.bool_]:
        """(images,) whether each audited image is classified right unperturbed."""
        block = self.block(CLEAN)
        right = np.zeros(self.count, dtype=bool)
        right[block.image] = block.correct
        return right

    def strata(self, chosen: NDArray[np.bool_], *columns: Floats) -> list[Floats]:
        """Per class with chosen images: their rows of the (images,) `columns`, stacked as (n, len(columns))."""
        stacked = np.stack(columns, axis=1)
        kept = self.sorted(chosen)
        return [stacked[kept[self.labels[kept] == label]] for label in np.unique(self.labels[kept])]

    def sorted(self, chosen: NDArray[np.bool_]) -> Ints:
        """Positions of the chosen images by their ids: resampling must not depend on the order of a file."""
        return self._by_id[chosen[self._by_id]]

    @cached_property
    def _by_id(self) -> Ints:
        return np.array(sorted(range(self.count), key=lambda i: self.images[i].id), dtype=np.int64)
