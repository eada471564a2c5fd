"""Work made by threads: in order, bounded, errors in their place, beside the consumer."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count

import pytest
import torch

from spuraudit.runs.parallel import in_parallel


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def one(_thing: object) -> int:
    return 1


def until(condition: object, seconds: float = 5.0) -> None:
    """Wait for what other threads are about to do."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("pictures", [1, 2, 100])
def test_results_come_in_the_order_of_the_things(workers: int, pictures: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.003 * (number % 3 == 0))
        return number * number

    assert list(in_parallel(slow_first, iter(range(40)), one, workers, pictures)) == [n * n for n in range(40)]
    assert list(in_parallel(slow_first, iter([]), one, workers, pictures)) == []


def test_no_more_is_begun_than_there_is_room() -> None:
    """Things of two pictures, room for five: three of them wait."""
    begun: list[int] = []
    with closing(in_parallel(lambda n: begun.append(n) or n, count(), lambda _: 2, 2, 5)) as made:
        assert begun == []
        for taken, so_far in enumerate([3, 4, 5, 6]):
            assert next(made) == taken
            until(lambda so_far=so_far: len(begun) == so_far)
            time.sleep(0.02)
            assert len(begun) == so_far


def test_work_goes_on_while_the_consumer_works() -> None:
    making, working = threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number == 2:
            making.set()
            assert working.wait(5)
        return number

    with closing(in_parallel(work, iter(range(3)), one, 2, 2)) as made:
        assert next(made) == 0
        assert next(made) == 1
        assert making.wait(5)
        working.set()
        assert next(made) == 2


def test_work_is_done_by_other_threads_with_one_thread_of_arithmetic_each() -> None:
    before = torch.get_num_threads()

    def work(_: int) -> tuple[str, int]:
        return threading.current_thread().name, torch.get_num_threads()

    seen = list(in_parallel(work, iter(range(9)), one, 2, 4))
    assert threading.current_thread().name not in {name for name, _ in seen}
    assert {threads for _, threads in seen} == {1}
    assert torch.get_num_threads() == before


def broken_after(number: int) -> Iterator[int]:
    yield from range(number)
    raise OSError("the disk is gone")


def drain(made: Generator[int, None, None], seen: list[int], stop: int | None = None) -> None:
    """Take everything, or be interrupted at `stop`."""
    with closing(made):
        for item in made:
            seen.append(item)
            if item == stop:
                raise KeyboardInterrupt


def fragile(number: int) -> int:
    if number == 4:
        raise ValueError("four")
    return number


@pytest.mark.parametrize("pictures", [1, 3, 50])
def test_errors_come_in_their_place_with_their_traceback(pictures: int) -> None:
    for work, things, error, good in (
        (abs, broken_after(5), OSError, 5),
        (fragile, iter(range(9)), ValueError, 4),
    ):
        seen: list[int] = []
        with pytest.raises(error) as caught:
            drain(in_parallel(work, things, one, 2, pictures), seen)
        assert seen == list(range(good))
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert {"broken_after", "fragile"} & set(names)


def test_a_consumer_may_stop_early() -> None:
    begun: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        drain(in_parallel(lambda n: begun.append(n) or n, count(), one, 2, 8), [], stop=3)
    stopped = len(begun)
    time.sleep(0.02)
    assert len(begun) == stopped <= 12
