"""Decoded samples, prepared by threads ahead of the model, with a bounded cache for donors."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from spuraudit.audits.sample import Sample
from spuraudit.data.decode import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    import torch

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.record.geometry import Preprocess

#: Memory that cached samples may take; several times a batch's, so that donors shared by neighbours stay.
CACHE_BYTES = 512 * 2**20
LOOKAHEAD = 4


class Loaded(NamedTuple):
    """An audited image with every donor its questions name."""

    sample: Sample
    donors: Mapping[str, Sample]


class Loader:
    """Decodes each image once while it is in use. Threads: decoding and resizing release the interpreter lock."""

    def __init__(
        self, dataset: Dataset, preprocess: Preprocess, device: torch.device, workers: int | None = None
    ) -> None:
        self._dataset = dataset
        geometry = self._geometry = preprocess.geometry
        # timm pads with the mean colour where a border is needed.
        red, green, blue = (round(255 * value) for value in preprocess.mean)
        self._fill = (red, green, blue)
        self._device = device
        self._rows = {row.id: row for row in dataset.images}
        floats = 3 * geometry.height * geometry.width
        self._capacity = max(64, CACHE_BYTES // (4 * 3 * floats))
        self._cache: OrderedDict[str, Future[Sample]] = OrderedDict()
        self._pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1), "decode")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(info.name for info in self._dataset.classes)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def load(self, wanted: Iterable[tuple[ImageRow, Iterable[str]]]) -> Iterator[Loaded]:
        """Samples in the order wanted: (row, ids of its donors). Raises DataError of the first bad image."""
        ahead: deque[tuple[Future[Sample], dict[str, Future[Sample]]]] = deque()
        for row, donors in wanted:
            ahead.append((self._request(row), {name: self._request(self._rows[name]) for name in donors}))
            if len(ahead) > LOOKAHEAD:
                yield _wait(*ahead.popleft())
        while ahead:
            yield _wait(*ahead.popleft())

    def _request(self, row: ImageRow) -> Future[Sample]:
        future = self._cache.get(row.id)
        if future is None:
            future = self._cache[row.id] = self._pool.submit(self._sample, row)
        self._cache.move_to_end(row.id)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return future

    def _sample(self, row: ImageRow) -> Sample:
        return Sample.of(decode(self._dataset, row, self._geometry, fill=self._fill), self._device)


def _wait(sample: Future[Sample], donors: dict[str, Future[Sample]]) -> Loaded:
    return Loaded(sample.result(), {name: future.result() for name, future in donors.items()})
