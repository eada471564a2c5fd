"""Work prepared ahead of its consumer: one background thread and a short queue."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int = 2) -> Generator[T, None, None]:
    """The items, in their order, each made by a background thread while the consumer works on earlier ones.

    At most `depth` items are ready or in the making beside the one the consumer holds: the next is not begun before
    there is room for it. An exception of `items` is raised at the consumer in its place, with the traceback of the
    thread. A consumer that stops early closes the generator (`contextlib.closing` does it on every way out): the
    thread is stopped and joined, after the item it is making, and `items` is closed if it is a generator.
    Raises UsageError where depth is below 1.
    """
    if depth < 1:
        raise UsageError(f"At least one item must be prepared ahead; got {depth}.")
    return _consume(_Conveyor(items, depth))


def _consume(conveyor: _Conveyor[T]) -> Generator[T, None, None]:
    # Daemon: where a consumer dies without closing the generator, a waiting thread must not keep the process alive.
    thread = threading.Thread(target=conveyor.fill, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = conveyor.take()
            if isinstance(item, _End):
                break
            yield item
            del item  # while the next one is waited for, nobody needs this one
    finally:
        conveyor.stop()
        thread.join()
    if item.error is not None:
        try:
            raise item.error
        finally:
            del item  # its traceback holds this frame


class _End:
    """Nothing follows; `error` says why, unless all items were made."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Conveyor(Generic[T]):
    """Items on their way from the thread that makes them to the one that takes them."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._room = threading.Semaphore(depth)
        self._ready = threading.Semaphore(0)
        self._waiting: deque[T | _End] = deque()
        self._stopped = False

    def fill(self) -> None:
        """Make items until there are no more, one fails, or nobody wants them."""
        end = _End()
        try:
            while self._begin():
                try:
                    item = next(self._items)
                except StopIteration:
                    break
                self._put(item)
                del item
        except BaseException as error:  # whatever it is, it belongs to the consumer
            end = _End(error)
        try:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            end = _End(end.error or error)
        self._put(end)

    def take(self) -> T | _End:
        """The next item, as soon as it is there."""
        self._ready.acquire()
        item = self._waiting.popleft()
        self._room.release()
        return item

    def stop(self) -> None:
        """No further item is begun."""
        self._stopped = True
        self._room.release()

    def _begin(self) -> bool:
        self._room.acquire()
        return not self._stopped

    def _put(self, item: T | _End) -> None:
        self._waiting.append(item)
        self._ready.release()
