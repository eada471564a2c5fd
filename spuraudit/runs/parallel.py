"""The same work on many things, by a few threads, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

S = TypeVar("S")
T = TypeVar("T")


class LoneThreads(ThreadPoolExecutor):
    """Threads each of which does torch's arithmetic alone; while they live, threads that begin elsewhere do so too.

    torch would start as many threads as there are cores in each of them. OpenMP counts these, and once there are more
    than cores, threads that meet at the end of every layer go to sleep instead of looking out for each other: the
    passes of mobilenetv2_100 on two cores took 12 % longer.
    """

    def __init__(self, workers: int, name: str) -> None:
        # Asking settles this thread's own number, which a worker's would become otherwise.
        self._others = torch.get_num_threads()
        super().__init__(workers, name, initializer=torch.set_num_threads, initargs=(1,))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End them. Threads that have computed keep their number; those to come get the usual one again."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        torch.set_num_threads(self._others)


def in_parallel(
    work: Callable[[S], T], things: Iterator[S], size: Callable[[S], int], workers: int, room: int
) -> Generator[T, None, None]:
    """`work` of each thing, in the order of the things, by `workers` threads that do torch's arithmetic alone.

    size: pictures that a thing will become; another is begun while fewer than `room` wait. `things` is advanced by the
    consumer's thread, between results. An exception of `things` or `work` is raised in its place: all results before it
    come first. Closing the generator (`contextlib.closing`) drops what nobody began and waits for the rest.
    """
    pool = LoneThreads(workers, "show")
    waiting: deque[tuple[Future[T], int]] = deque()
    failed: Exception | None = None
    ended = False
    try:
        while True:
            while not ended and sum(pictures for _, pictures in waiting) < room:
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
        pool.shutdown(cancel_futures=True)
