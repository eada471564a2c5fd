"""Shards: the units of work, of resume and of distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spuraudit.audits.base import StochasticAudit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.audits.base import Audit
    from spuraudit.data.dataset import ImageRow

MAX_IMAGES = 64
#: A shard is what an interruption can cost: at most about so many forward passes.
MAX_PASSES = 1024


class Shard(NamedTuple):
    """Images whose rows go to one part.

    answers: how many it can lead to; `exact`: and always does, since no question depends on an answer.
    """

    number: int
    rows: tuple[ImageRow, ...]
    answers: int
    exact: bool = True

    def part(self, run: Path) -> Path:
        """Where its rows lie."""
        return run / "observations" / f"part-{self.number:05d}.parquet"

    def is_done(self, run: Path) -> bool:
        """Whether an earlier call has answered all of it. Parts are whole or absent; a foreign one is redone."""
        try:
            images = pq.read_table(self.part(run), columns=["image"])["image"]
        except (OSError, pa.ArrowException):
            return False
        expected = len(images) == self.answers if self.exact else len(images) <= self.answers
        return expected and set(images.unique().to_pylist()) == {row.id for row in self.rows}


def make_shards(rows: Sequence[ImageRow], audits: Sequence[Audit]) -> list[Shard]:
    """Consecutive images, cut by number of images and of forward passes; the same for the same plan."""
    shards: list[Shard] = []
    current: list[ImageRow] = []
    answers = passes = 0
    exact = True
    for row in rows:
        current.append(row)
        answers, passes = answers + 1, passes + 1
        for audit in audits:
            asked = most = len(audit.questions(row))
            cost = 1
            if isinstance(audit, StochasticAudit):
                most, cost = audit.most_questions(row), audit.passes + 1
            exact &= asked == most
            answers, passes = answers + most, passes + most * cost
        if len(current) >= MAX_IMAGES or passes >= MAX_PASSES:
            shards.append(Shard(len(shards), tuple(current), answers, exact))
            current, answers, passes, exact = [], 0, 0, True
    if current:
        shards.append(Shard(len(shards), tuple(current), answers, exact))
    return shards
