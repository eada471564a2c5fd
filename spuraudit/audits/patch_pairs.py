"""Which source images are swept, and against images of which classes.

Every choice is keyed on ids and classes, never on places in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spuraudit.perturb.draws import key_of, rng_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from spuraudit.audits.base import Cohort
    from spuraudit.data.dataset import ImageRow


@dataclass(frozen=True)
class Survey:
    """Clean answers to the images that may become sources.

    right: whether each image (by id) that was tried is classified right. confused: per class, the mean probability of
    every class over its tried images, (classes,).
    """

    right: Mapping[str, bool] = field(default_factory=dict)
    confused: Mapping[int, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pairing:
    """`sources` images per class, at most `limit` in all, each against `targets` images of each target class.

    pairs: given (class, target class) indices. Else every class in `classes` (None: all) gets `target_classes` of
    them: the one it is most confused with, where that was surveyed, and random others.
    """

    cohort: Cohort
    sources: int
    targets: int
    target_classes: int = 1
    limit: int | None = None
    classes: tuple[int, ...] | None = None
    pairs: tuple[tuple[int, int], ...] | None = None
    survey: Survey | None = None

    @cached_property
    def targets_of(self) -> dict[int, tuple[int, ...]]:
        """Target classes of each source class that has images."""
        by_class, pool = _by_class(self.cohort.rows), _by_class(self.cohort.donors)
        if self.pairs is not None:
            chosen: dict[int, list[int]] = {}
            for label, target in self.pairs:
                if label in by_class and target in pool:
                    chosen.setdefault(label, []).append(target)
            return {label: tuple(dict.fromkeys(found)) for label, found in sorted(chosen.items())}
        wanted = [label for label in sorted(by_class) if self.classes is None or label in self.classes]
        found = {label: self._choose(label, [other for other in sorted(pool) if other != label]) for label in wanted}
        return {label: targets for label, targets in found.items() if targets}

    def _choose(self, label: int, others: list[int]) -> tuple[int, ...]:
        probability = self.survey.confused.get(label) if self.survey is not None else None
        first: list[int] = []
        if probability is not None and others:
            # A tie is a tie whatever the last bits say, which batch size and machine move: the first class then.
            first = [max(others, key=lambda other: (round(float(probability[other]), 6), -other))]
        rest = [other for other in others if other not in first]
        drawn = rng_of(self.cohort.seed, "patch target class", label).permutation(len(rest))
        return tuple((first + [rest[index] for index in drawn])[: self.target_classes])

    @cached_property
    def candidates(self) -> dict[int, tuple[ImageRow, ...]]:
        """Images of each source class in the order in which they are tried."""
        by_class = _by_class(self.cohort.rows)
        return {
            label: tuple(sorted(by_class[label], key=lambda row: key_of(self.cohort.seed, "patch source", row.id)))
            for label in self.targets_of
        }

    @cached_property
    def sources_of(self) -> dict[int, tuple[ImageRow, ...]]:
        """Source images of each class: the first candidates that are classified right (before a survey: the first)."""
        chosen = {
            label: [row for row in rows if self.survey is None or self.survey.right.get(row.id, False)][: self.sources]
            for label, rows in self.candidates.items()
        }
        return {label: tuple(rows) for label, rows in self._limited(chosen).items()}

    def _limited(self, chosen: dict[int, list[ImageRow]]) -> dict[int, list[ImageRow]]:
        """At most `limit` images in all: one of every class, in a drawn order, before the second of any."""
        if self.limit is None:
            return chosen
        order = {label: key_of(self.cohort.seed, "patch class", label) for label in chosen}
        turns = sorted((place, order[label], label) for label in chosen for place in range(len(chosen[label])))
        kept = [label for _, _, label in turns[: self.limit]]
        return {label: rows[: kept.count(label)] for label, rows in chosen.items()}

    @cached_property
    def targets_for(self) -> dict[str, tuple[tuple[int, tuple[ImageRow, ...]], ...]]:
        """By source id: its target classes, each with its target images in the order in which they are asked."""
        pool = _by_class(self.cohort.donors)
        found = {}
        for label, rows in self.sources_of.items():
            drawn = tuple((target, self._draw(pool[target], label)) for target in self.targets_of[label])
            found.update({row.id: drawn for row in rows})
        return found

    def _draw(self, pool: list[ImageRow], label: int) -> tuple[ImageRow, ...]:
        """Without replacement: the rows with the smallest keys, so that fewer targets are the first of more."""
        purpose = f"patch target of {label}"
        return tuple(sorted(pool, key=lambda row: key_of(self.cohort.seed, purpose, row.id))[: self.targets])

    def without_images(self) -> list[tuple[int, int]]:
        """Given pairs that cannot be swept: the one class has no audited image, or the other none to lend cells."""
        by_class, pool = _by_class(self.cohort.rows), _by_class(self.cohort.donors)
        return [(label, target) for label, target in self.pairs or () if label not in by_class or target not in pool]

    def none_right(self) -> list[tuple[int, int]]:
        """(class, images tried) of the classes of which no image is classified right."""
        if self.survey is None:
            return []
        tried = {label: sum(row.id in self.survey.right for row in rows) for label, rows in self.candidates.items()}
        right = {
            label: any(self.survey.right.get(row.id, False) for row in rows) for label, rows in self.candidates.items()
        }
        return [(label, tried[label]) for label in tried if not right[label]]


def _by_class(rows: Iterable[ImageRow]) -> dict[int, list[ImageRow]]:
    found: dict[int, list[ImageRow]] = {}
    for row in rows:
        found.setdefault(row.label, []).append(row)
    return found
