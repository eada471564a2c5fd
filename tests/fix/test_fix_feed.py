"""Batches are functions of (seed, step)."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from fix.trainings import feed_of, settings

from spuraudit.data.dataset import Dataset
from spuraudit.fix.batch import Batch
from spuraudit.fix.feed import Feed, repeated

CPU = torch.device("cpu")


def same(one: Batch, other: Batch) -> bool:
    return one.ids == other.ids and one.views == other.views and torch.equal(one.pixels, other.pixels)


def all_of(feed: Feed, start: int = 0, stop: int = 9) -> list[Batch]:
    return list(feed.batches(CPU, start, stop))


@pytest.mark.parametrize("start", [1, 3, 4, 6, 8])
def test_any_start_gives_the_same_batches(tagged: Dataset, start: int) -> None:
    feed = feed_of(tagged, settings(crop=0.5))
    whole, later = all_of(feed), all_of(feed, start)
    assert len(later) == 9 - start
    assert all(same(a, b) for a, b in zip(whole[start:], later, strict=True))


@pytest.mark.parametrize(("threads", "room"), [(4, 2**20), (1, 0), (3, 5000)])
def test_threads_and_memory_change_nothing(tagged: Dataset, threads: int, room: int) -> None:
    plain = all_of(feed_of(tagged, settings(crop=0.5)))
    other = all_of(feed_of(tagged, settings(crop=0.5), threads=threads, room=room))
    assert all(same(a, b) for a, b in zip(plain, other, strict=True))


def test_parts_of_devices_are_the_whole(tagged: Dataset) -> None:
    feed = feed_of(tagged, settings(crop=0.5))
    thirds = [list(feed.batches(CPU, 0, 5, (rank, 3))) for rank in range(3)]
    for step, whole in enumerate(all_of(feed, 0, 5)):
        for rank in range(3):
            part = thirds[rank][step]
            assert same(part, whole.taken(rank, 3))
            assert part.places == whole.taken(rank, 3).places
            assert part.whole == len(whole)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(tagged: Dataset) -> None:
    feed = feed_of(tagged, settings())
    assert feed.epoch == 4
    first, second = all_of(feed, 0, 4), all_of(feed, 4, 8)
    names = [[name for batch in epoch for name in batch.ids] for epoch in (first, second)]
    assert sorted(names[0]) == sorted(names[1]) == sorted(row.id for row in feed.rows)
    assert names[0] != names[1]
    assert [len(batch) for batch in first] == [8, 8, 8, 6]
    views = [dict(zip(names[i], [v for b in e for v in b.views], strict=True)) for i, e in enumerate((first, second))]
    assert views[0] != views[1]
    assert not same(first[0], next(feed_of(tagged, settings(), seed=1).batches(CPU, 0, 1)))


def test_a_last_batch_of_one_is_left_out(tagged: Dataset) -> None:
    rows = tagged.in_split("train")
    assert [len(b) for b in all_of(feed_of(tagged, settings(), rows=rows[:17]), 0, 3)] == [8, 8, 8]
    assert [len(b) for b in all_of(feed_of(tagged, settings(batch_size=1), rows=rows[:2]), 0, 2)] == [1, 1]
    assert [len(b) for b in all_of(feed_of(tagged, settings(), rows=rows[:1]), 0, 2)] == [1, 1]


def test_repeated_rows_come_more_often_and_each_time_otherwise(tagged: Dataset) -> None:
    rows = tagged.in_split("train")[:10]
    feed = feed_of(tagged, settings(crop=0.5, batch_size=11), rows=repeated(rows, rows[:3], 4))
    batches = all_of(feed, 0, feed.epoch)
    counts = Counter(name for batch in batches for name in batch.ids)
    assert counts == {row.id: 5 if number < 3 else 1 for number, row in enumerate(rows)}
    views = [v for b in batches for name, v in zip(b.ids, b.views, strict=True) if name == rows[0].id]
    assert len(set(views)) == 5
