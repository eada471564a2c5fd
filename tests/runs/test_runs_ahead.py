"""Items made ahead: same items, same order, same errors, bounded, and no thread outlives its consumer."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from spuraudit.errors import UsageError
from spuraudit.runs.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


class Counting:
    """The whole numbers, and how many were begun and made."""

    def __init__(self, stop: int = 10**9) -> None:
        self.begun = self.made = 0
        self.closed = False
        self.stop = stop

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.stop):
                self.begun += 1
                self.made += 1
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_order_is_kept(depth: int) -> None:
    assert list(ahead(iter(range(100)), depth)) == list(range(100))
    assert list(ahead(iter([]), depth)) == []
    assert list(ahead(iter([None, False, 0]), depth)) == [None, False, 0]


def test_any_iterator_will_do() -> None:
    assert list(ahead(map(str, range(3)))) == ["0", "1", "2"]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_at_most_depth_items_wait(depth: int) -> None:
    source = Counting()
    with closing(ahead(iter(source), depth)) as items:
        assert source.begun == 0  # nothing runs before somebody asks
        for taken in range(1, 6):
            next(items)
            until(lambda taken=taken: source.begun == taken + depth)
            time.sleep(0.02)
            assert source.begun == taken + depth


def test_items_are_made_while_the_consumer_works() -> None:
    """Each side waits for the other to be in the middle of its work: without overlap both would wait for ever."""
    making, working = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        making.set()
        assert working.wait(5)
        yield 1

    with closing(ahead(items())) as made:
        assert next(made) == 0
        assert making.wait(5)
        working.set()
        assert next(made) == 1


def test_items_are_made_in_one_other_thread() -> None:
    makers = set(ahead(threading.current_thread().name for _ in range(20)))
    assert len(makers) == 1
    assert makers != {threading.current_thread().name}


def broken_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise OSError("the disk is gone")


def consume_slowly(items: Iterator[int], seen: list[int]) -> None:
    for item in items:
        seen.append(item)
        time.sleep(0.005)  # an error is known long before its turn


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_error_comes_in_its_place_with_its_traceback(count: int) -> None:
    seen: list[int] = []
    with pytest.raises(OSError, match="the disk is gone") as caught:
        consume_slowly(ahead(broken_after(count)), seen)
    assert seen == list(range(count))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "broken_after" in names
    assert "test_an_error_comes_in_its_place_with_its_traceback" in names


def test_even_an_exit_in_the_thread_reaches_the_consumer() -> None:
    def items() -> Iterator[int]:
        yield 1
        sys.exit("enough")

    made = ahead(items())
    assert next(made) == 1
    with pytest.raises(SystemExit, match="enough"):
        next(made)


def test_an_error_keeps_no_item_alive() -> None:
    class Item:
        pass

    known: list[weakref.ref[Item]] = []

    def items() -> Iterator[Item]:
        item = Item()
        known.append(weakref.ref(item))
        yield item
        raise OSError("over")

    gc.disable()
    try:
        made = ahead(items())
        next(made)
        with pytest.raises(OSError, match="over"):
            next(made)
        del made
        gc.collect()
        assert known[0]() is None
    finally:
        gc.enable()


def test_a_taken_item_belongs_to_the_consumer_alone() -> None:
    class Item:
        pass

    with closing(ahead(Item() for _ in range(3))) as items:
        first = weakref.ref(next(items))
        second = next(items)
        until(lambda: first() is None)
        assert second is not None


def test_closing_stops_thread_and_source() -> None:
    source = Counting()
    items = ahead(iter(source), 3)
    assert next(items) == 0
    items.close()
    assert source.closed
    assert source.begun <= 1 + 3
    with pytest.raises(StopIteration):
        next(items)


def test_closing_while_an_item_is_made_waits_for_it_and_makes_no_other() -> None:
    started, go_on = threading.Event(), threading.Event()
    made: list[int] = []

    def items() -> Iterator[int]:
        yield 0
        started.set()
        assert go_on.wait(5)
        made.append(1)
        yield 1
        made.append(2)

    running = ahead(items())
    next(running)
    assert started.wait(5)
    threading.Timer(0.05, go_on.set).start()
    running.close()
    assert made == [1]


def test_a_consumer_that_fails_stops_the_thread() -> None:
    source = Counting()
    with pytest.raises(ZeroDivisionError), closing(ahead(iter(source))) as items:
        list(map((1.0).__truediv__, items))
    assert source.closed


def test_a_generator_that_is_dropped_stops_the_thread() -> None:
    source = Counting()
    for item in ahead(iter(source)):
        if item == 3:
            break
    gc.collect()
    assert source.closed


def test_closing_before_the_first_item_starts_nothing() -> None:
    source = Counting()
    ahead(iter(source)).close()
    assert source.begun == 0


def test_an_error_while_the_source_is_closed_is_not_lost() -> None:
    class Clumsy:
        def __iter__(self) -> Clumsy:
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise OSError("cannot be closed")

    with pytest.raises(OSError, match="cannot be closed"):
        list(ahead(Clumsy()))


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_is_at_least_one(depth: int) -> None:
    with pytest.raises(UsageError, match=str(depth)):
        ahead(iter([]), depth)


INTERRUPTED = """
import sys, threading, time
from contextlib import closing
from spuraudit.runs.ahead import ahead

def items():
    for number in range(10**9):
        time.sleep(0.005 if {slow_source} else 0)
        yield number

def consume(items):
    for item in items:
        if item == 3:
            print("ready", flush=True)
        time.sleep(0 if {slow_source} else 0.005)

try:
    if {closed}:
        with closing(ahead(items())) as made:
            consume(made)
    else:
        consume(ahead(items()))
except KeyboardInterrupt:
    if {closed}:
        print([thread.name for thread in threading.enumerate()])
    raise
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("slow_source", [True, False])
@pytest.mark.parametrize("closed", [True, False])
def test_an_interrupt_leaves_no_thread_that_hangs(slow_source: bool, closed: bool) -> None:
    """Waiting for an item or working on one; with `closing` the thread is joined, without it the process still ends."""
    script = INTERRUPTED.format(slow_source=slow_source, closed=closed)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in error
    assert process.returncode != 0
    assert out == ("['MainThread']\n" if closed else "")
