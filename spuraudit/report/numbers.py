"""Looking numbers up in a record: by metric and exact scope, or all scopes of one metric."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.scan import Measurement

PRIMARY_SIGMA = 0.25
"""The sigma of the published table; where a run has it, its numbers stand in front."""


class Numbers:
    """The measurements of one record, indexed once; a thousand classes make ten thousand look-ups."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._exact: dict[tuple[str, frozenset[tuple[str, str | int | float]]], Measurement] = {}
        self._by_shape: dict[tuple[str, frozenset[str]], list[Measurement]] = defaultdict(list)
        for item in measurements:
            self._exact.setdefault((item.metric, frozenset(item.scope.items())), item)
            self._by_shape[item.metric, frozenset(item.scope)].append(item)

    def get(self, metric: str, /, **scope: str | int | float) -> Measurement | None:
        """The measurement with exactly this scope; write the key `class` as `**{"class": name}`."""
        return self._exact.get((metric, frozenset(scope.items())))

    def shaped(self, metric: str, *keys: str) -> list[Measurement]:
        """All measurements of a metric whose scope has exactly these keys, in the record's order."""
        return self._by_shape.get((metric, frozenset(keys)), [])

    def sigmas(self) -> list[float]:
        """The noise levels of the noise audit, ascending."""
        return sorted({float(item.scope["sigma"]) for item in self.shaped("core_accuracy", "sigma")})

    def sigma(self) -> float | None:
        """The noise level that stands in front: 0.25 where it was asked, else the smallest."""
        levels = self.sigmas()
        if not levels:
            return None
        return PRIMARY_SIGMA if PRIMARY_SIGMA in levels else levels[0]
