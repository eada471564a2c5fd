"""Two finished runs of the same images, as the page of a comparison needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from spuraudit.compare import compare_runs
from spuraudit.record.folder import read_record, resolve_run
from spuraudit.report.numbers import PRIMARY_SIGMA

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from spuraudit.record.comparison import Change, Comparison
    from spuraudit.record.scan import ScanRecord, Scope

_Key = tuple[str, frozenset[tuple[str, str | int | float]]]


class Changes:
    """The changes of a comparison by metric and scope, indexed once."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._all: dict[_Key, Change] = {(one.metric, frozenset(one.scope.items())): one for one in changes}

    def get(self, metric: str, scope: Scope) -> Change | None:
        """The change with exactly this scope."""
        return self._all.get((metric, frozenset(scope.items())))

    def shaped(self, metric: str, *keys: str) -> list[Change]:
        """Changes of a metric whose scope has exactly these keys, in the record's order."""
        return [one for one in self._all.values() if one.metric == metric and set(one.scope) == set(keys)]

    @cached_property
    def sigma(self) -> Scope:
        """Scope of the noise level that stands in front: 0.25 where it was asked, else the smallest; or nothing."""
        sigmas = sorted(float(one.scope["sigma"]) for one in self.shaped("core_accuracy", "sigma"))
        if not sigmas:
            return {}
        return {"sigma": PRIMARY_SIGMA if PRIMARY_SIGMA in sigmas else sigmas[0]}

    @cached_property
    def swapped(self) -> list[str]:
        """Features whose regions were swapped, the background first."""
        names = [str(one.scope["feature"]) for one in self.shaped("swap_gap", "feature")]
        return sorted(names, key=lambda name: name != "background")


@dataclass(frozen=True)
class Pair:
    """A is the run given first. `letters`: what the page calls the two."""

    comparison: Comparison
    records: tuple[ScanRecord, ScanRecord]
    letters: tuple[str, str] = ("A", "B")

    @cached_property
    def changes(self) -> Changes:
        """All changes, to look up."""
        return Changes(self.comparison.changes)

    @property
    def same_scan(self) -> bool:
        """Whether model, data, settings and seed are all the same."""
        return same_scan(*self.records)

    @property
    def same_weights(self) -> bool:
        """Whether both runs name the same model file or the same weights."""
        one, other = (record.model.sha256 for record in self.records)
        return one is not None and one == other


def same_scan(one: ScanRecord, other: ScanRecord) -> bool:
    """Whether two runs had the same plan: then every change is 0, or the machines differ."""
    return one.run.plan_sha256 == other.run.plan_sha256


def gather_pair(a: Path, b: Path, letters: tuple[str, str] = ("A", "B")) -> Pair:
    """Compare two run folders, their scan.json or `last` pointers. Raises RunError as `compare_runs` does."""
    folders = resolve_run(a), resolve_run(b)
    comparison = compare_runs(*folders)
    return Pair(comparison, (read_record(folders[0]), read_record(folders[1])), letters)
