"""Batches that give way to a full memory, and the choice of a size, on networks that really do not fit."""

from __future__ import annotations

import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from toys import as_model

from spuraudit.errors import UsageError
from spuraudit.runs import batching
from spuraudit.runs.batching import Batches, fitting_batch_size, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SIDE = 28


def torch_says(images: int) -> None:
    raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {images} GiB.")


def allocator_says(images: int) -> None:
    torch.empty(images * 2**45)


def numpy_says(images: int) -> None:
    np.empty(images * 2**50)


class Small(nn.Module):
    """A network for at most `limit` images at once, with a memory of the sizes it was asked."""

    def __init__(self, limit: int, fail: Callable[[int], None] = torch_says, delay: float = 0.0) -> None:
        super().__init__()
        self.limit, self.fail, self.delay = limit, fail, delay
        self.sizes: list[int] = []
        self.linear = nn.Linear(3 * SIDE * SIDE, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.limit:
            self.fail(len(x))
        time.sleep(self.delay)
        return self.linear(x.flatten(1))


def answers(batches: Batches, network: Small, images: int) -> None:
    """Ask in batches; the answers must be those of the whole."""
    model = as_model(network, outputs=4)
    pixels = torch.rand(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    got = torch.cat(list(batches.run(images, lambda part: model.logits(pixels[part]))))
    torch.testing.assert_close(got, network.linear(pixels.flatten(1)))


@pytest.mark.parametrize("images", [0, 1, 31, 32, 33, 100])
def test_what_fits_is_asked_once(images: int) -> None:
    said: list[str] = []
    batches, network = Batches(32, said.append), Small(limit=32)
    assert len(list(batches.run(images, lambda part: part))) == -(-images // 32)
    if images:
        answers(batches, network, images)
    assert network.sizes[: images // 32] == [32] * (images // 32)
    assert batches.size == 32
    assert said == []


def test_slices_cover_the_images_in_order() -> None:
    asked = list(Batches(7).run(20, lambda part: part))
    assert asked == [slice(0, 7), slice(7, 14), slice(14, 20)]


@pytest.mark.parametrize("fail", [torch_says, allocator_says, numpy_says])
def test_the_size_is_halved_until_it_fits_and_stays(fail: Callable[[int], None]) -> None:
    said: list[str] = []
    batches, network = Batches(64, said.append), Small(limit=20, fail=fail)
    answers(batches, network, 100)
    assert network.sizes[:-1] == [64, 32, *[16] * 6]
    assert batches.size == 16
    assert said == ["Batch size lowered from 64 to 16: out of memory."]
    network.sizes.clear()
    answers(batches, network, 40)
    assert network.sizes == [16, 16, 8]
    assert len(said) == 1


def test_a_memory_that_shrinks_is_told_again() -> None:
    said: list[str] = []
    batches, network = Batches(16, said.append), Small(limit=8)
    answers(batches, network, 16)
    network.limit = 3
    answers(batches, network, 16)
    assert said == [
        "Batch size lowered from 16 to 8: out of memory.",
        "Batch size lowered from 8 to 2: out of memory.",
    ]


def test_answers_before_the_shortage_stand() -> None:
    """Memory may run out in the middle: nothing is asked twice that has an answer."""
    given: list[tuple[int, int]] = []

    def ask(part: slice) -> None:
        if part.start >= 20 and part.stop - part.start > 5:
            torch_says(1)
        given.append((part.start, part.stop))

    assert len(list(Batches(10).run(32, ask))) == 5
    assert given == [(0, 10), (10, 20), (20, 25), (25, 30), (30, 32)]


def test_a_last_short_batch_is_halved_from_its_own_size() -> None:
    sizes: list[int] = []

    def ask(part: slice) -> None:
        sizes.append(part.stop - part.start)
        if sizes[-1] > 3:
            torch_says(1)

    list(Batches(64).run(6, ask))
    assert sizes == [6, 3, 3]


def test_the_failed_pass_is_forgotten_before_the_next() -> None:
    """Its traceback holds its tensors, which are what fills the memory."""
    held: list[weakref.ref[Tensor]] = []

    def ask(part: slice) -> int:
        assert all(tensor() is None for tensor in held)
        activations = torch.rand(part.stop - part.start, 1000)
        held.append(weakref.ref(activations))
        if len(activations) > 2:
            torch_says(len(activations))
        return len(activations)

    assert list(Batches(8).run(4, ask)) == [2, 2]
    assert len(held) == 3


def test_one_image_that_does_not_fit() -> None:
    said: list[str] = []
    network = Small(limit=0)
    with pytest.raises(UsageError, match="not even one image") as caught:
        answers(Batches(8, said.append), network, 8)
    assert "--precision bf16" in (caught.value.hint or "")
    assert network.sizes == [8, 4, 2, 1]
    assert said == []


@pytest.mark.parametrize(
    "error",
    [ValueError("out of memory"), RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyboardInterrupt()],
)
def test_other_errors_pass(error: BaseException) -> None:
    def ask(part: slice) -> None:
        raise error

    batches = Batches(8)
    with pytest.raises(type(error)):
        list(batches.run(8, ask))
    assert batches.size == 8


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_has_an_image(size: int) -> None:
    with pytest.raises(UsageError, match=str(size)):
        Batches(size)


@pytest.mark.parametrize(
    "text",
    [
        "MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: 1.10 GB, max allowed: 6.80 GB).",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: tried 4 bytes.",
        "Invalid buffer size: 12.25 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_messages_of_other_allocators(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(KeyError(text))


class TestFittingBatchSize:
    """Both aims on the CPU: the search is the same code on every device."""

    def test_the_fastest_size_that_fits(self) -> None:
        """A pass costs the same whatever its size, so the largest size that fits is the fastest."""
        network = Small(limit=20, delay=0.01)
        chosen = fitting_batch_size(as_model(network, outputs=4))
        assert chosen.size == 16
        assert "fastest on cpu of 1, 2, 4, 8, 16 (" in chosen.reason

    def test_of_equal_sizes_the_smallest(self) -> None:
        class PerImage(Small):
            def forward(self, x: Tensor) -> Tensor:
                self.delay = 0.02 * len(x)
                return super().forward(x)

        assert fitting_batch_size(as_model(PerImage(limit=1000), outputs=4)).size <= 4

    def test_a_size_after_which_it_is_slower(self) -> None:
        class Crowded(Small):
            def forward(self, x: Tensor) -> Tensor:
                self.delay = 0.02 if len(x) <= 4 else 0.01 * len(x)
                return super().forward(x)

        assert fitting_batch_size(as_model(Crowded(limit=1000), outputs=4)).size == 4

    def test_a_large_network_costs_seconds_not_minutes(self) -> None:
        network = Small(limit=1000, delay=0.3)
        start = time.monotonic()
        assert fitting_batch_size(as_model(network, outputs=4)).size == 2
        assert time.monotonic() - start < 10
        assert max(network.sizes) == 2  # two such images are expected to take 0.6 s, four would be too many

    def test_one_slow_moment_does_not_decide(self) -> None:
        """A size that is disturbed in one round is judged by the others."""

        class Disturbed(Small):
            def forward(self, x: Tensor) -> Tensor:
                self.delay = 0.5 if len(x) == 16 and 16 not in self.sizes else 0.01
                return super().forward(x)

        assert fitting_batch_size(as_model(Disturbed(limit=20), outputs=4)).size == 16

    def test_no_fastest_size_fits(self) -> None:
        with pytest.raises(UsageError, match="not even one image"):
            fitting_batch_size(as_model(Small(limit=0), outputs=4))

    @pytest.mark.parametrize(("fits", "size"), [(1, 1), (2, 1), (3, 2), (70, 32), (80, 64), (100, 64), (128, 64)])
    def test_the_largest_leaves_a_quarter_of_head_room(self, fits: int, size: int) -> None:
        chosen = fitting_batch_size(as_model(Small(limit=fits), outputs=4), aim="largest")
        assert chosen.size == size
        assert "largest power of two" in chosen.reason

    def test_the_largest_keeps_to_its_limit_and_to_some_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert fitting_batch_size(as_model(Small(limit=1000), outputs=4), aim="largest", limit=256).size == 256
        monkeypatch.setattr(batching, "_SECONDS_ALL", 0.3)
        slow = Small(limit=1000, delay=0.2)
        assert fitting_batch_size(as_model(slow, outputs=4), aim="largest").size == 4
        assert slow.sizes[-3:] == [1, 3, 5]

    def test_no_largest_size_fits(self) -> None:
        with pytest.raises(UsageError, match="not even one image"):
            fitting_batch_size(as_model(Small(limit=0), outputs=4), aim="largest")

    def test_the_fastest_keeps_to_its_limit(self) -> None:
        network = Small(limit=1000, delay=0.005)
        assert fitting_batch_size(as_model(network, outputs=4), limit=8).size == 8
        assert max(network.sizes) == 8

    def test_the_generator_of_the_caller_is_left_alone(self) -> None:
        model = as_model(Small(limit=4), outputs=4)
        before = torch.get_rng_state()
        fitting_batch_size(model)
        assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_largest_size_on_a_gpu() -> None:
    network = Small(limit=100).to("cuda:0")
    model = replace(as_model(Small(limit=100), outputs=4), network=network, device=torch.device("cuda:0"))
    chosen = fitting_batch_size(model)
    assert chosen.size == 64
    assert "largest" in chosen.reason
    network.limit = 10**6
    assert fitting_batch_size(model, limit=256).size == 256
