"""How many images go through a network at once: found by trying, and lowered where the memory runs out."""

from __future__ import annotations

import gc
import re
import time
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import torch

from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from spuraudit.models.model import Model

T = TypeVar("T")

#: Where growing stops, however much memory there is: larger batches gain little and wait in the CPU's memory.
LARGEST = {"cuda": 1024, "cpu": 128}
#: What a batch must leave free: one image more for every four of its size has to fit.
_HEADROOM = 4
#: Trying sizes ends after so many seconds; the fastest is sought among those that take at most so many per batch.
_SECONDS_ALL, _SECONDS_LARGEST = 3.0, 0.7
_ROUNDS = 5
#: A size that is slower by less than this, per image, is as fast.
_SAME_SPEED = 0.03
# Allocators without an exception type of their own: PyTorch's on the CPU (Windows: "not enough memory"), Apple's GPU
# (a buffer above its limit), cuDNN and cuBLAS, TorchScript, C++; and CUDA kernels that count elements with 32 bits.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Invalid buffer size|STATUS_ALLOC_FAILED|bad_alloc"
    r"|32-bit index math"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that something did not fit in memory, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


class Batches:
    """A batch size that gives way: halved for good whenever a batch does not fit in memory."""

    def __init__(self, size: int, say: Callable[[str], None] | None = None) -> None:
        """size: images at once, at least 1. say: told once each time the size had to be lowered."""
        if size < 1:
            raise UsageError(f"A batch needs at least one image; got a batch size of {size}.")
        self.size = size
        self._say = say

    def run(self, count: int, ask: Callable[[slice], T]) -> Iterator[T]:
        """Ask for `count` images, in order, `size` at a time: one answer of `ask` per slice of 0..count.

        Where `ask` runs out of memory, its slice is asked again in halves, and so are all that follow; answers that
        were given stand. Raises UsageError where one image does not fit, and whatever else `ask` raises.
        """
        start, before = 0, self.size
        while start < count:
            part = slice(start, min(start + self.size, count))
            answer = _attempt(ask, part)
            if isinstance(answer, _OutOfMemory):
                self._lower(part.stop - part.start)
                continue
            if self.size < before:
                if self._say is not None:
                    self._say(f"Batch size lowered from {before} to {self.size}: out of memory.")
                before = self.size
            start = part.stop
            yield answer

    def _lower(self, failed: int) -> None:
        _free_memory()
        if failed == 1:
            raise _one_does_not_fit()
        self.size = failed // 2


class BatchSize(NamedTuple):
    """A batch size and, in one sentence, why it was chosen."""

    size: int
    reason: str


def fitting_batch_size(
    model: Model, limit: int | None = None, aim: Literal["largest", "fastest"] | None = None
) -> BatchSize:
    """The power of two that suits a network and its device, found by asking it grey ramps of its input size.

    aim 'largest', the default on CUDA: the largest that fits, with a quarter of head room for batches that wait.
    'fastest', the default on a CPU, and on Apple's GPU, which shares the CPU's memory: the fastest per image, and of
    sizes equally fast the smallest. Growing ends at `limit` (default: `LARGEST` of the device) and after some three
    seconds. Raises UsageError where one image does not fit.
    """
    on_cuda = model.device.type == "cuda"
    limit = limit or LARGEST["cuda" if on_cuda else "cpu"]
    aim = aim or ("largest" if on_cuda else "fastest")
    chosen = _largest(model, limit) if aim == "largest" else _fastest(model, limit)
    _free_memory()
    return chosen


def _largest(model: Model, limit: int) -> BatchSize:
    if _seconds(model, 1) is None:
        raise _one_does_not_fit()
    size, spent = 1, 0.0
    while size < limit:
        seconds = _seconds(model, 2 * size + -(-2 * size // _HEADROOM))
        if seconds is None:
            return BatchSize(size, f"Batch size {size}: the largest power of two that fits on {model.device}.")
        size, spent = 2 * size, spent + seconds
        if spent > _SECONDS_ALL:
            return BatchSize(
                size, f"Batch size {size}: {seconds:.1f} s a batch keep {model.device} busy; more may fit."
            )
    return BatchSize(size, f"Batch size {size}: more would fit on {model.device}, but is no faster.")


def _fastest(model: Model, limit: int) -> BatchSize:
    one = min(_seconds(model, 1) or 0.0 for _ in range(2))  # the first pass also sets things up
    if not one:
        raise _one_does_not_fit()
    sizes = [2**power for power in range(limit.bit_length()) if 2**power <= limit]
    sizes = [size for size in sizes if size == 1 or size * one <= _SECONDS_LARGEST]
    best: dict[int, float] = {}
    start = time.perf_counter()
    # In rounds over all sizes: what else the machine does then meets every size.
    for _ in range(_ROUNDS):
        for size in sizes:
            seconds = _seconds(model, size)
            if seconds is None:
                sizes = sizes[: sizes.index(size)]
                break
            best[size] = min(seconds / size, best.get(size, seconds))
        if time.perf_counter() - start > _SECONDS_ALL:
            break
    if not sizes:
        raise _one_does_not_fit()
    enough = (1 + _SAME_SPEED) * min(best[size] for size in sizes)
    chosen = next(size for size in sizes if best[size] <= enough)
    return BatchSize(
        chosen,
        f"Batch size {chosen}: the fastest on {model.device} of {', '.join(map(str, sizes))} "
        f"({best[chosen] * 1000:.1f} ms per image).",
    )


def _seconds(model: Model, images: int) -> float | None:
    """Time of one pass; None where it does not fit in memory."""
    answer = _attempt(lambda _: _timed_pass(model, images), slice(0, images))
    if isinstance(answer, _OutOfMemory):
        _free_memory()
        return None
    return answer


def _timed_pass(model: Model, images: int) -> float:
    geometry = model.record.preprocess.geometry
    ramp = torch.linspace(0, 1, 3 * geometry.height * geometry.width, device=model.device)
    pixels: Tensor = ramp.view(1, 3, geometry.height, geometry.width).repeat(images, 1, 1, 1)
    _wait_for(model.device)
    start = time.perf_counter()
    model.logits(pixels)
    _wait_for(model.device)
    return time.perf_counter() - start


class _OutOfMemory:
    """An attempt's answer where there was none."""


def _attempt(ask: Callable[[slice], T], part: slice) -> T | _OutOfMemory:
    """Ask; the exception is dropped here, because its traceback keeps every tensor of the failed pass alive."""
    try:
        return ask(part)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _OutOfMemory()


def _free_memory() -> None:
    """Give back what the allocators hold for later: another size needs other blocks."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _wait_for(device: torch.device) -> None:
    """GPUs work behind our back: time and memory are known once they are done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _one_does_not_fit() -> UsageError:
    return UsageError(
        "Out of memory: not even one image at a time fits.",
        "Use --device cpu, --precision bf16 or a smaller --img-size, or close what else uses the memory.",
    )
