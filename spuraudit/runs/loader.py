"""Decoded samples, prepared by threads ahead of the model.

An audited image lives while it is looked ahead to and used. Kept for longer, each within a bound: donors, which images
share, and the first decoded images, as bytes, for later loaders. So memory does not grow with the number of images.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from spuraudit.audits.sample import Sample
from spuraudit.data.decode import decode
from spuraudit.runs.parallel import LoneThreads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    import torch

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.data.decode import Decoded
    from spuraudit.record.geometry import Preprocess

#: Donors that stay, however large (patch swap pastes 50 targets into every source of a class), and the memory that
#: more of them may take.
MIN_DONORS = 64
DONOR_BYTES = 128 * 2**20
#: A donor's pixels, masks and painted-out versions, in floats per pixel of the input.
_FLOATS_PER_PIXEL = 12
#: The memory that decoded images may take which stay for whoever asks for them again.
KEPT_BYTES = 64 * 2**20


class Kept:
    """The first images of a dataset in one geometry, as bytes: what a scan checks beforehand, it asks again.

    room: memory they may take, bytes.
    """

    def __init__(self, room: int | None = None) -> None:
        self._room = self._left = KEPT_BYTES if room is None else room
        self._decoded: dict[str, Decoded] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Kept], tuple[int]]:
        """Another process starts with none."""
        return Kept, (self._room,)

    def get(self, image: str) -> Decoded | None:
        """The decoded image of this id, if it was kept."""
        return self._decoded.get(image)

    def put(self, decoded: Decoded) -> None:
        """Keep it while there is room."""
        size = decoded.pixels.nbytes + sum(mask.nbytes for mask in decoded.masks.values())
        with self._lock:
            if decoded.row.id not in self._decoded and size <= self._left:
                self._left -= size
                self._decoded[decoded.row.id] = decoded


class Loaded(NamedTuple):
    """An audited image with every donor its questions name."""

    sample: Sample
    donors: Mapping[str, Sample]


class Loader:
    """Decodes each image once while it is within reach: looked ahead to, or among the donors used last.

    Threads (`workers`): decoding and resizing release the interpreter lock. `load` may be called
    from any one thread at a time.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocess: Preprocess,
        device: torch.device,
        workers: int,
        kept: Kept | None = None,
        ahead: int | None = None,
    ) -> None:
        """kept: what loaders of the same dataset and geometry share. ahead: samples prepared before they are wanted."""
        self._dataset = dataset
        self._kept = kept or Kept()
        geometry = self._geometry = preprocess.geometry
        # timm pads with the mean colour where a border is needed.
        red, green, blue = (round(255 * value) for value in preprocess.mean)
        self._fill = (red, green, blue)
        self._device = device
        self._rows = {row.id: row for row in dataset.images}
        sample_bytes = 4 * _FLOATS_PER_PIXEL * geometry.height * geometry.width
        self._capacity = max(MIN_DONORS, DONOR_BYTES // sample_bytes)
        self._donors: OrderedDict[str, Future[Sample]] = OrderedDict()
        #: Everything somebody holds: those looked ahead to, and donors.
        self._within_reach: WeakValueDictionary[str, Future[Sample]] = WeakValueDictionary()
        self._lookahead = ahead or 2 * workers
        self._pool = LoneThreads(workers, "decode")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(info.name for info in self._dataset.classes)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def load(self, wanted: Iterable[tuple[ImageRow, Iterable[str]]]) -> Iterator[Loaded]:
        """Samples in the order wanted: (row, ids of its donors). Raises DataError of the first bad image."""
        ahead: deque[_Ahead] = deque()
        waiting = 0
        for row, donors in wanted:
            ahead.append(_Ahead(self._request(row), {name: self._donor(name) for name in donors}))
            waiting += ahead[-1].samples
            # Counted in samples, not in images: a source of patch swap comes with fifty donors.
            while waiting > self._lookahead and len(ahead) > 1:
                waiting -= ahead[0].samples
                yield ahead.popleft().wait()
        while ahead:
            yield ahead.popleft().wait()

    def _request(self, row: ImageRow) -> Future[Sample]:
        future = self._within_reach.get(row.id)
        if future is None:
            future = self._within_reach[row.id] = self._pool.submit(self._sample, row)
        return future

    def _donor(self, name: str) -> Future[Sample]:
        future = self._donors[name] = self._request(self._rows[name])
        self._donors.move_to_end(name)
        while len(self._donors) > self._capacity:
            self._donors.popitem(last=False)
        return future

    def _sample(self, row: ImageRow) -> Sample:
        decoded = self._kept.get(row.id)
        if decoded is None:
            decoded = decode(self._dataset, row, self._geometry, fill=self._fill)
            self._kept.put(decoded)
        return Sample.of(decoded, self._device)


class _Ahead(NamedTuple):
    """An image and its donors, being decoded."""

    sample: Future[Sample]
    donors: dict[str, Future[Sample]]

    @property
    def samples(self) -> int:
        return 1 + len(self.donors)

    def wait(self) -> Loaded:
        return Loaded(self.sample.result(), {name: future.result() for name, future in self.donors.items()})
