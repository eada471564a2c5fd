"""The answers of two models to the same questions, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spuraudit.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CLEAN = "clean"
#: Conditions that depend on what a model answered before: the two runs need not share all of them.
ADAPTIVE = "patch:"


@dataclass(frozen=True)
class Block:
    """The rows of one condition that both runs hold, sorted by image and trial.

    One entry per row: index of the image, trial, class of the donor. One line per run, before and after, (2, rows):
    answered class and probability of the image's class. `region_share` and `energy` are those of the run before.
    """

    image: Ints
    trial: Ints
    donor_label: Ints
    predicted: Ints
    p_true: Floats
    region_share: Floats
    energy: Floats


class Joined:
    """All observations of two runs. Images are in the order of their ids, whatever the order of the files."""

    def __init__(self, tables: tuple[pa.Table, pa.Table], folders: tuple[Path, Path]) -> None:
        """Raises RunError: other images, labels or groups; an answer that is there twice."""
        self._folders = folders
        self._sides = tuple(_Side(table) for table in tables)
        one, other = self._sides
        if one.images != other.images:
            lonely = sorted(set(one.images) ^ set(other.images))
            raise self._refusal(f"{len(lonely)} images were asked by one of them only, such as {lonely[0]!r}")
        self.images: list[str] = one.images
        for what, first, second in (("label", one.labels, other.labels), ("group", one.groups, other.groups)):
            unequal = [i for i, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
            if unequal:
                i = unequal[0]
                raise self._refusal(f"image {self.images[i]!r} has the {what} {first[i]} in one and {second[i]}")
        self.labels: Ints = np.array(one.labels, dtype=np.int64)
        self.groups: list[str | None] = one.groups

    @cached_property
    def _donors(self) -> tuple[Ints, Ints]:
        """Per run and row a number of the donor that both runs share, -1 for none."""
        place: dict[str, int] = {}
        found = []
        for side in self._sides:
            names = side.donor_names
            here = np.array([-1, *(place.setdefault(name, len(place)) for name in names.dictionary.to_pylist())])
            found.append(here[names.indices.fill_null(-1).to_numpy() + 1].astype(np.int64))
        return found[0], found[1]

    @property
    def conditions(self) -> list[str]:
        """Conditions that at least one of the runs asked under."""
        return sorted({*self._sides[0].places, *self._sides[1].places})

    def block(self, condition: str) -> Block:
        """The rows that both runs hold under a condition; empty arrays where there are none.

        Raises RunError where only one run asked a question that does not depend on answers.
        """
        first, second = (side.asked(condition) for side in self._sides)
        _, of_first, of_second = np.intersect1d(first.keys, second.keys, assume_unique=True, return_indices=True)
        rows = first.rows[of_first], second.rows[of_second]
        known = self._donors
        same = known[0][rows[0]] == known[1][rows[1]]
        if not condition.startswith(ADAPTIVE) and not (len(first.keys) == len(second.keys) == same.sum()):
            raise self._refusal(f"they asked other questions under {condition!r}")
        one, other = rows[0][same], rows[1][same]
        before, after = self._sides
        return Block(
            image=before.index[one],
            trial=before.numbers("trial", one),
            donor_label=before.numbers("donor_label", one),
            predicted=np.stack([before.numbers("predicted", one), after.numbers("predicted", other)]),
            p_true=np.stack([before.reals("p_true", one), after.reals("p_true", other)]),
            region_share=before.reals("region_share", one),
            energy=before.reals("energy", one),
        )

    def own(self, condition: str, side: int) -> tuple[Ints, Ints, Ints, Floats]:
        """Image, trial, donor's class and probability of one run's rows under a condition; side 0 is the run before."""
        chosen = self._sides[side]
        rows = chosen.asked(condition).rows
        numbers = chosen.numbers("trial", rows), chosen.numbers("donor_label", rows)
        return chosen.index[rows], *numbers, chosen.reals("p_true", rows)

    @cached_property
    def clean(self) -> NDArray[np.bool_]:
        """(2, images) whether each image is classified right unperturbed."""
        block = self.block(CLEAN)
        right = np.zeros((2, len(self.images)), dtype=bool)
        right[:, block.image] = block.predicted == self.labels[block.image]
        return right

    def right(self, block: Block) -> Ints:
        """(2, images) right answers over the trials of each image."""
        return self.sums(block, block.predicted == self.labels[block.image])

    def sums(self, block: Block, values: NDArray[np.generic]) -> Ints:
        """(2, images) sums of whole numbers per row (2, rows)."""
        count = len(self.images)
        lines = [np.bincount(block.image, weights=line.astype(np.float64), minlength=count) for line in values]
        return np.rint(np.stack(lines)).astype(np.int64)

    def require_equal_regions(self) -> None:
        """Raises RunError where a mask covers another share of an image: fingerprints that differ cannot tell."""
        for condition in self.conditions:
            one, other = (side.reals("region_share", side.asked(condition).rows) for side in self._sides)
            if len(one) == len(other) and not np.array_equal(one, other, equal_nan=True):
                raise self._refusal(f"masks differ under {condition!r}")

    def _refusal(self, what: str) -> RunError:
        return RunError(
            f"These runs cannot be compared, {what}: {self._folders[0]}, {self._folders[1]}.",
            "Scan both models with the same data and options.",
        )


@dataclass(frozen=True)
class _Asked:
    """Row numbers of one condition, sorted by image and trial, and a number that is the same in both runs."""

    keys: Ints
    rows: Ints


class _Side:
    """One run's rows."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._columns: dict[str, NDArray[np.generic]] = {}
        names = table["image"].combine_chunks()
        known = names.dictionary.to_pylist()
        self.images: list[str] = sorted(known)
        place = {name: i for i, name in enumerate(self.images)}
        where = np.array([place[name] for name in known], dtype=np.int64)
        self.index: Ints = where[names.indices.to_numpy()]
        first = np.unique(self.index, return_index=True)[1]
        self.labels: list[int] = table["label"].to_numpy()[first].tolist()
        self.groups: list[str | None] = table["group"].combine_chunks().take(first).to_pylist()

    @property
    def donor_names(self) -> pa.DictionaryArray:
        return self._table["donor"].combine_chunks()

    @cached_property
    def places(self) -> dict[str, Ints]:
        conditions = self._table["condition"].combine_chunks()
        codes = conditions.indices.to_numpy()
        order = np.lexsort((self._table["trial"].to_numpy(), self.index, codes))
        bounds = np.searchsorted(codes[order], np.arange(len(conditions.dictionary) + 1))
        names = conditions.dictionary.to_pylist()
        return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}

    def asked(self, condition: str) -> _Asked:
        rows = self.places.get(condition, np.zeros(0, dtype=np.int64))
        # Trials are 32-bit numbers of at least 0.
        keys = (self.index[rows] << 32) + self.numbers("trial", rows)
        if (np.diff(keys) == 0).any():
            raise RunError(
                f"The observations hold an answer twice under {condition!r}.", "Delete the run folder and scan again."
            )
        return _Asked(keys, rows)

    def numbers(self, name: str, rows: Ints) -> Ints:
        return self._column(name)[rows].astype(np.int64)

    def reals(self, name: str, rows: Ints) -> Floats:
        return self._column(name)[rows].astype(np.float64)

    def _column(self, name: str) -> NDArray[np.generic]:
        if name not in self._columns:
            self._columns[name] = self._table[name].to_numpy()
        return self._columns[name]
