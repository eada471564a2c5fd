"""What people are asked to judge: heat maps of a model on its training images, and patches of its neurons."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

from spuraudit import __version__
from spuraudit.data.fingerprint import fingerprint
from spuraudit.errors import ModelError
from spuraudit.explain.activation_maps import class_activation, forward_with_features
from spuraudit.explain.neurons import Peaks, refuse_without_neurons
from spuraudit.models.feature_grid import feature_grid, with_gradients
from spuraudit.record.annotation_tables import Patch, Place
from spuraudit.record.annotations import About, AnnotatedData, ExplainedImage, Layer, maps_id
from spuraudit.record.crayon_lists import CrayonList, read_crayon
from spuraudit.record.scan import ToolRecord
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.batching import Batches
from spuraudit.runs.cohort import choose_split
from spuraudit.runs.prepare import arrange
from spuraudit.runs.progress import Silent, stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import Dataset
    from spuraudit.models.feature_grid import FeatureGrid
    from spuraudit.models.model import Model
    from spuraudit.runs.prepare import Machine, Scan
    from spuraudit.runs.progress import Progress

Explains = Literal["label", "prediction"]
#: Longest side of a picture on the page; below the second number, pixels are kept as they are.
_SIDE, _TINY = 256, 64


@dataclass(frozen=True)
class Asked:
    """What to make. split: None for train. images: at most so many, evenly over classes. patches: per neuron, 0 for
    none. looked_for: what people are to look for, None for the image's class."""

    split: str | None = None
    images: int | None = None
    explains: Explains = "label"
    patches: int = 0
    looked_for: str | None = None

    def settings(self, dataset: Dataset) -> ScanSettings:
        """As of a scan of these images."""
        return ScanSettings(split=_split(dataset, self.split), limit=self.images)


class Explained(NamedTuple):
    """Maps (n, rows, columns) float32; cores: the core masks averaged over the same cells, NaN without one; pictures:
    WebP or PNG of what the model is shown, all in the order of `about.images`."""

    about: About
    maps: NDArray[np.float32]
    cores: NDArray[np.float32]
    pictures: list[bytes]
    patches: list[Patch]


def explain(
    model: Model, dataset: Dataset, asked: Asked, machine: Machine | None = None, progress: Progress | None = None
) -> Explained:
    """Grad-CAM of every image at the cells of the model's last feature map: after the ReLU, not normalised.

    Of several outputs that count as the class, the strongest is explained. float32 whatever the model's precision.
    Raises DataError, UsageError, and ModelError for a network without a feature grid, without neurons where patches
    are asked for, or whose maps are not finite.
    """
    progress = progress or Silent()
    scan = arrange(model, dataset, asked.settings(dataset), machine)
    making = _Making(scan, feature_grid(scan.model, (scan.cohort.height, scan.cohort.width)), asked)
    batches = Batches(scan.machine.batch_size, progress.say)
    rows = scan.cohort.rows
    with stage(progress, "Explaining", len(rows), "images"), scan.loader() as loader:
        loaded = loader.load((row, ()) for row in rows)
        while samples := [item.sample for item in islice(loaded, batches.size)]:
            making.add(samples, batches)
            progress.advance(len(samples))
    return making.done()


def import_lists(dataset: Dataset, split: str | None, files: Sequence[Path]) -> tuple[About, CrayonList]:
    """CRAYON's published lists, taken for the images of a split in the dataset's order.

    Raises DataError: see `read_crayon`; UsageError where two files are of one kind.
    """
    split = _split(dataset, split)
    rows = dataset.in_split(choose_split(dataset, split) if split is not None else None)
    where = f"the split {split!r} of {dataset.name}" if split is not None else dataset.name
    lists = CrayonList()
    for file in files:
        lists = lists.joined(read_crayon(file, [row.id for row in rows], where), file)
    images = [
        ExplainedImage(id=row.id, label=row.label, class_name=dataset.classes[row.label].name, output=None)
        for row in rows
    ]
    about = About(
        tool=ToolRecord(version=__version__),
        id=maps_id(images, lists.maps),
        origin="crayon-lists",
        explains="label",
        data=AnnotatedData(name=dataset.name, fingerprint=fingerprint(dataset), split=split, available=len(rows)),
        images=images,
        has_maps=lists.maps is not None,
        neurons=None if lists.neurons is None else len(lists.neurons),
    )
    return about, lists


def _split(dataset: Dataset, wanted: str | None) -> str | None:
    """The wanted one; None, all images, where the dataset has no splits and nobody asked for one."""
    return wanted or ("train" if dataset.splits else None)


class _Answered(NamedTuple):
    """Of some images: maps (B, rows, columns), the outputs explained (B,), features (B, C, rows, columns)."""

    maps: Tensor
    outputs: Tensor
    features: Tensor


class _Making:
    """Maps, pictures and peaks of the images seen so far."""

    def __init__(self, scan: Scan, grid: FeatureGrid, asked: Asked) -> None:
        self._scan, self._grid, self._asked = scan, grid, asked
        self._images: list[ExplainedImage] = []
        self._maps: list[Tensor] = []
        self._cores: list[Tensor] = []
        self._pictures: list[bytes] = []
        self._peaks = Peaks.none(grid.channels)

    def add(self, samples: Sequence[Sample], batches: Batches) -> None:
        """Explain some images."""
        pixels = torch.stack([sample.pixels for sample in samples])
        labels, left = [sample.row.label for sample in samples], iter(samples)
        if self._asked.patches and not self._images:
            refuse_without_neurons(self._scan.model, self._grid, pixels[:1])
        for answered in batches.run(len(samples), lambda part: self._answer(pixels[part], labels[part])):
            if not torch.isfinite(answered.maps).all():
                raise ModelError(
                    f"{self._scan.model.record.name}: its maps hold NaN or infinity.",
                    "The activations overflow: check the preprocessing (--mean, --std) and the checkpoint.",
                )
            if self._asked.patches:
                self._peaks = self._peaks.with_images(answered.features, len(self._images), self._asked.patches)
            for map_, output in zip(answered.maps, answered.outputs.tolist(), strict=True):
                self._note(next(left), map_, output)

    def _note(self, sample: Sample, map_: Tensor, output: int) -> None:
        row, names = sample.row, self._scan.cohort.class_names
        self._images.append(ExplainedImage(id=row.id, label=row.label, class_name=names[row.label], output=output))
        self._maps.append(map_)
        self._pictures.append(picture_of(sample.pixels))
        cells = (self._grid.rows, self._grid.columns)
        core = sample.core
        self._cores.append(
            torch.full(cells, torch.nan) if core is None else adaptive_avg_pool2d(core[None, None], cells)[0, 0].cpu()
        )

    def _answer(self, pixels: Tensor, labels: Sequence[int]) -> _Answered:
        model, grid = self._scan.model, self._grid
        with with_gradients(model):
            logits, output = forward_with_features(model.network, grid, model.normalise(pixels))
            outputs = self._explained(logits.detach(), labels)
            maps = class_activation(logits, output, grid, outputs)
        features = grid.read(output.detach()) if self._asked.patches else pixels.new_empty(0)
        return _Answered(maps.float().cpu(), outputs.cpu(), features)

    def _explained(self, logits: Tensor, labels: Sequence[int]) -> Tensor:
        """(B,) outputs: the strongest of those that count as the label's class, or of all that may be answered."""
        class_map = self._scan.class_map
        if self._asked.explains == "prediction":
            return class_map.answer(logits).output
        allowed = torch.zeros_like(logits, dtype=torch.bool)
        for row, label in zip(allowed, labels, strict=True):
            row[list(class_map.outputs[label])] = True
        return logits.masked_fill(~allowed, -torch.inf).argmax(dim=1)

    def done(self) -> Explained:
        """All of it."""
        scan, grid, asked = self._scan, self._grid, self._asked
        maps = torch.stack(self._maps).numpy()
        about = About(
            tool=ToolRecord(version=__version__),
            id=maps_id(self._images, maps),
            origin="model",
            explains=asked.explains,
            model=scan.model.record,
            layer=Layer(name=grid.layer, rows=grid.rows, columns=grid.columns, channels=grid.channels),
            data=AnnotatedData(
                name=scan.dataset.name,
                fingerprint=fingerprint(scan.dataset),
                split=scan.split,
                available=scan.available,
            ),
            images=self._images,
            neurons=grid.channels if asked.patches else None,
            patches_each=asked.patches or None,
            looked_for=asked.looked_for,
        )
        return Explained(about, maps, torch.stack(self._cores).numpy(), self._pictures, list(self._patches()))

    def _patches(self) -> Iterator[Patch]:
        """Neurons that were never active above 0 have none."""
        for neuron, peaks in enumerate(zip(*(part.tolist() for part in self._peaks), strict=True)):
            for activation, image, cell in zip(*peaks, strict=True):
                if activation > 0:
                    row, column = divmod(cell, self._grid.columns)
                    yield Patch(neuron, Place(self._images[image].id, row + 1, column + 1), activation)


def picture_of(pixels: Tensor) -> bytes:
    """(3, H, W) in [0, 1] as a file: at most 256 pixels a side, WebP; small ones as they are, PNG."""
    image = Image.fromarray((pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    buffer = io.BytesIO()
    if max(image.size) <= _TINY:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        image.save(buffer, "WEBP", quality=80, method=4)
    return buffer.getvalue()
