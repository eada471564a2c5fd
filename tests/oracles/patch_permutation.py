"""The permutation test of the worst cell by writing down every order of every source's cells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product


def enumerated_p(drops: Sequence[Sequence[float]]) -> float:
    """Share of all rearrangements (each source's cells on their own) whose largest mean drop is at least the observed.

    drops[source][cell]. With s sources of c cells there are (c!)^s rearrangements.
    """

    def largest(table: Sequence[Sequence[float]]) -> float:
        return max(sum(column) / len(table) for column in zip(*table, strict=True))

    tables = list(product(*(list(permutations(source)) for source in drops)))
    observed = largest(drops)
    return sum(largest(table) >= observed - 1e-9 for table in tables) / len(tables)
