"""Samples in order, each file read once within reach, and no more of them alive than the look-ahead and the donors."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import torch
import toys

from spuraudit.audits.sample import Sample
from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.data.decode import decode
from spuraudit.errors import DataError
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.runs import loader as module
from spuraudit.runs.loader import Kept, Loaded, Loader
from spuraudit.runs.prepare import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spuraudit.data.dataset import ImageRow
    from spuraudit.data.sources import Source

CPU = torch.device("cpu")
PREPROCESS = Preprocess(
    geometry=Geometry(height=toys.SIDE, width=toys.SIDE, crop_pct=1.0), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)


class Counting:
    """A source that counts what is read from it, and in which threads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.reads: Counter[str] = Counter()
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def read(self, path: str) -> bytes:
        with self._lock:
            self.reads[path] += 1
            self.threads.add(threading.current_thread().name)
        return self._source.read(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(test=40, train=0))


@pytest.fixture
def counted(folder: Path) -> tuple[Dataset, Counting]:
    dataset = open_dataset(str(folder))
    assert len({row.source for row in dataset.images}) == 1
    name = dataset.images[0].source
    counting = Counting(dataset.sources[name])
    return replace(dataset, sources={**dataset.sources, name: counting}), counting


def photos(counting: Counting) -> dict[str, int]:
    """Reads of photos, by image."""
    return {path: n for path, n in counting.reads.items() if "masks" not in path}


def living() -> int:
    """Samples that exist in this process."""
    return sum(type(thing) is Sample for thing in gc.get_objects())


@pytest.mark.parametrize("workers", [1, 3, Machine().threads])
def test_samples_come_in_the_order_wanted(counted: tuple[Dataset, Counting], workers: int) -> None:
    dataset, counting = counted
    rows = [*dataset.images[50:], *dataset.images[:50]]
    with Loader(dataset, PREPROCESS, CPU, workers) as loader:
        for row, loaded in zip(rows, loader.load((row, ()) for row in rows), strict=True):
            assert loaded.sample.row is row
            assert loaded.donors == {}
            expected = Sample.of(decode(dataset, row, PREPROCESS.geometry), CPU)
            assert torch.equal(loaded.sample.pixels, expected.pixels)
            assert loaded.sample.masks.keys() == expected.masks.keys() == {"object"}
            assert torch.equal(loaded.sample.masks["object"], expected.masks["object"])
    assert all(name.startswith("decode") for name in counting.threads - {threading.current_thread().name})


def test_donors_come_with_their_image(counted: tuple[Dataset, Counting]) -> None:
    dataset, _ = counted
    rows = dataset.images[:20]
    wanted = [(row, [other.id for other in dataset.images[number : number + 3]]) for number, row in enumerate(rows)]
    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        for (row, donors), loaded in zip(wanted, loader.load(iter(wanted)), strict=True):
            assert loaded.sample.row is row
            assert {name: sample.row.id for name, sample in loaded.donors.items()} == {name: name for name in donors}


def test_every_image_is_decoded_once(counted: tuple[Dataset, Counting]) -> None:
    dataset, counting = counted
    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        assert sum(1 for _ in loader.load((row, ()) for row in dataset.images)) == len(dataset.images)
    assert counting.reads.total() == len(counting.reads)
    assert len(photos(counting)) == len(dataset.images)


def test_shared_donors_are_decoded_once(counted: tuple[Dataset, Counting]) -> None:
    """Patch swap: every source of a class gets the same targets."""
    dataset, counting = counted
    targets = [row.id for row in dataset.images[:50]]
    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        for loaded in loader.load((row, targets) for row in dataset.images[50:80]):
            assert len(loaded.donors) == 50
    assert set(photos(counting).values()) == {1}
    assert len(photos(counting)) == 80


def test_an_image_wanted_twice_within_reach_is_decoded_once(counted: tuple[Dataset, Counting]) -> None:
    """As a donor of its neighbour, and of itself."""
    dataset, counting = counted
    rows = dataset.images[:30]
    wanted = [(row, [row.id, following.id]) for row, following in pairwise(rows)]
    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        for loaded in loader.load(iter(wanted)):
            assert loaded.donors[loaded.sample.row.id] is loaded.sample
    assert set(photos(counting).values()) == {1}


def test_audited_images_do_not_stay(counted: tuple[Dataset, Counting]) -> None:
    dataset, counting = counted
    before = living()
    most = 0
    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        for number, _ in enumerate(loader.load((row, ()) for row in dataset.images)):
            if number % 20 == 0:  # counting takes a while
                most = max(most, living() - before)
        assert most <= 1 + 2 * 2 + 1
    assert set(photos(counting).values()) == {1}


def test_the_first_images_stay_as_bytes_for_later_loaders(
    counted: tuple[Dataset, Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for three photos with their masks; the others are decoded again."""
    dataset, counting = counted
    monkeypatch.setattr(module, "KEPT_BYTES", 3 * 4 * toys.SIDE * toys.SIDE + 1)
    kept = Kept()
    seen = []
    for _ in range(2):
        with Loader(dataset, PREPROCESS, CPU, 1, kept) as loader:
            seen.append([loaded.sample for loaded in loader.load((row, ()) for row in dataset.images[:8])])
    for first, second in zip(*seen, strict=True):
        assert first is not second
        assert torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.masks["object"], second.masks["object"])
    assert sorted(photos(counting).values()) == [1, 1, 1, 2, 2, 2, 2, 2]


def test_decoding_threads_compute_alone_and_leave_others_as_they_were(counted: tuple[Dataset, Counting]) -> None:
    """Threads of torch's own in each of them would make the network's go to sleep."""
    before, inside = torch.get_num_threads(), []
    with Loader(counted[0], PREPROCESS, CPU, 2) as loader:
        loader._pool.submit(lambda: inside.append(torch.get_num_threads())).result()
    assert inside == [1]
    assert torch.get_num_threads() == before


def test_donors_are_bounded(counted: tuple[Dataset, Counting], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = counted
    monkeypatch.setattr(module, "MIN_DONORS", 10)
    monkeypatch.setattr(module, "DONOR_BYTES", 0)
    before, most = living(), 0
    rows = dataset.images
    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        wanted = ((row, [other.id]) for row, other in zip(rows, reversed(rows), strict=True))
        for number, _ in enumerate(loader.load(wanted)):
            if number % 20 == 19:
                most = max(most, living() - before)
    assert 10 <= most <= 10 + 1 + 2 * 2 + 2


def test_sources_with_many_donors_are_not_piled_up(
    counted: tuple[Dataset, Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten sources with ten donors of their own each: one source ahead is enough."""
    dataset, _ = counted
    monkeypatch.setattr(module, "MIN_DONORS", 1)
    monkeypatch.setattr(module, "DONOR_BYTES", 0)
    before, most = living(), 0
    rows = dataset.images

    def wanted() -> Iterator[tuple[ImageRow, list[str]]]:
        for number in range(10):
            yield rows[number], [row.id for row in rows[10 * (number + 1) : 10 * (number + 2)]]

    with Loader(dataset, PREPROCESS, CPU, 2) as loader:
        for loaded in loader.load(wanted()):
            assert len(loaded.donors) == 10
            most = max(most, living() - before)
    assert most <= 2 * 11 + 1


def test_the_bounds_at_224_pixels() -> None:
    """At least the targets of a patch swap, and about a hundred megabytes; at 28 pixels, thousands."""
    geometry = Geometry(height=224, width=224, crop_pct=1.0)
    dataset = Dataset("none", "none", (), (), (), {})
    with Loader(dataset, PREPROCESS.model_copy(update={"geometry": geometry}), CPU, 1) as loader:
        assert 50 <= loader._capacity <= 100
    with Loader(dataset, PREPROCESS, CPU, 1) as loader:
        assert loader._capacity > 2000


def test_a_bad_image_is_named_in_its_turn(counted: tuple[Dataset, Counting]) -> None:
    rows = list(counted[0].images[:10])
    rows[4] = replace(rows[4], path="images/missing.png", id="missing")
    seen: list[str] = []
    with Loader(counted[0], PREPROCESS, CPU, 3) as loader, pytest.raises(DataError, match="missing"):
        note_all(loader.load((row, ()) for row in rows), seen)
    assert seen == [row.id for row in rows[:4]]


def note_all(samples: Iterator[Loaded], seen: list[str]) -> None:
    for loaded in samples:
        seen.append(loaded.sample.row.id)  # noqa: PERF401
