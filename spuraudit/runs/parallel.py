"""The same work on many things, by a few threads, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

S = TypeVar("S")
T = TypeVar("T")


class Room(NamedTuple):
    """How much may be ready or in the making.

    pictures: begin another thing while fewer wait. beside: whether to go on while the consumer works. That is right
    where it computes on another device. On the same cores both would wait for each other: two cores, resnet18 and
    mobilenetv2_100, noise drawn beside the passes made a scan 1.14 and 1.21 times the passes, in turn with them 1.09
    and 1.16 times.
    """

    pictures: int
    beside: bool


def in_parallel(
    work: Callable[[S], T], things: Iterator[S], size: Callable[[S], int], workers: int, room: Room
) -> Generator[T, None, None]:
    """`work` of each thing, in the order of the things, by `workers` threads that do torch's arithmetic alone.

    size: pictures that a thing will become. `things` is advanced by the consumer's thread, between results. An
    exception of `things` or `work` is raised in its place: all results before it come first. Closing the generator
    (`contextlib.closing`) drops what nobody began and waits for the rest.
    """
    # Asking settles this thread's own number of threads, which a worker's would become otherwise.
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "show", initializer=_alone)
    waiting: deque[tuple[Future[T], int]] = deque()
    failed: Exception | None = None
    ended = False
    try:
        while True:
            if room.beside or not waiting:
                while not ended and sum(pictures for _, pictures in waiting) < room.pictures:
                    try:
                        thing = next(things)
                    except StopIteration:
                        ended = True
                    except Exception as error:
                        failed, ended = error, True
                    else:
                        waiting.append((pool.submit(work, thing), size(thing)))
            if not waiting:
                break
            result = waiting.popleft()[0].result()
            yield result
            del result  # while the next one is waited for, nobody needs this one
        if failed is not None:
            raise failed
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def _alone() -> None:
    """One thread per worker: torch would start as many as there are cores in each of them.

    It counts for this thread, and for threads that begin to compute later; threads that have computed keep theirs. So
    `in_parallel` sets it back in the end.
    """
    torch.set_num_threads(1)
