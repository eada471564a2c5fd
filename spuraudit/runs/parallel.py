"""The same work on many things, by a few threads, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import torch

from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

S = TypeVar("S")
T = TypeVar("T")


def in_parallel(
    work: Callable[[S], T], things: Iterable[S], workers: int, depth: int, *, running_on: bool
) -> Generator[T, None, None]:
    """`work` of each thing, in the order of the things, by `workers` threads that do torch's arithmetic alone.

    running_on: whether the threads go on while the consumer works: then up to `depth` results are ready or in the
    making at any time. Else `depth` are made at once whenever the consumer has taken all before, and nothing in
    between. That is the better way where the consumer computes on the same cores: two cores, resnet18 and
    mobilenetv2_100, noise drawn ahead of the passes made a scan 1.14 and 1.21 times the passes, in turn with them 1.09
    and 1.16.

    `things` is advanced by the consumer's thread. An exception of `things` or `work` is raised in its place. Closing
    the generator (`contextlib.closing`) drops what nobody began and waits for the rest.
    Raises UsageError where workers or depth is below 1.
    """
    if workers < 1 or depth < 1:
        raise UsageError(f"At least one thread and one result at a time are needed; got {workers} and {depth}.")
    return _results(work, iter(things), workers, depth, running_on)


def _results(
    work: Callable[[S], T], things: Iterable[S], workers: int, depth: int, running_on: bool
) -> Generator[T, None, None]:
    pool = ThreadPoolExecutor(workers, "show", initializer=_alone)
    waiting: deque[Future[T]] = deque()
    source = iter(things)
    failed: BaseException | None = None
    try:
        while True:
            if failed is None and (running_on or not waiting):
                try:
                    waiting.extend(pool.submit(work, thing) for thing in islice(source, depth - len(waiting)))
                except Exception as error:  # the results before it come first
                    failed = error
            if not waiting:
                break
            result = waiting.popleft().result()
            yield result
            del result
        if failed is not None:
            raise failed
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    """One thread per worker: torch would start as many as there are cores in each of them.

    It counts for this thread, and for threads that begin to compute later; threads that have computed keep theirs.
    """
    torch.set_num_threads(1)
