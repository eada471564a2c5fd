"""Shards: the units of work, of resume and of distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.audits.base import Audit
    from spuraudit.data.dataset import ImageRow

MAX_IMAGES = 64
#: A shard is what an interruption can cost: at most about so many forward passes.
MAX_PASSES = 1024


class Shard(NamedTuple):
    """Images whose rows go to one part."""

    number: int
    rows: tuple[ImageRow, ...]
    answers: int
    passes: int

    def part(self, run: Path) -> Path:
        """Where its rows lie."""
        return run / "observations" / f"part-{self.number:05d}.parquet"

    def is_done(self, run: Path) -> bool:
        """Whether an earlier call has answered all of it. Parts are whole or absent; a foreign one is redone."""
        try:
            images = pq.read_table(self.part(run), columns=["image"])["image"]
        except (OSError, pa.ArrowException):
            return False
        return len(images) == self.answers and set(images.unique().to_pylist()) == {row.id for row in self.rows}


def make_shards(rows: Sequence[ImageRow], audits: Sequence[Audit]) -> list[Shard]:
    """Consecutive images, cut by number of images and of forward passes; the same for the same plan."""
    shards: list[Shard] = []
    current: list[ImageRow] = []
    answers = passes = 0
    for row in rows:
        asked = [(len(audit.questions(row)), getattr(audit, "passes", 0) + 1) for audit in audits]
        current.append(row)
        answers += 1 + sum(count for count, _ in asked)
        passes += 1 + sum(count * cost for count, cost in asked)
        if len(current) >= MAX_IMAGES or passes >= MAX_PASSES:
            shards.append(Shard(len(shards), tuple(current), answers, passes))
            current, answers, passes = [], 0, 0
    if current:
        shards.append(Shard(len(shards), tuple(current), answers, passes))
    return shards
