"""What a zoo run is asked to do: plain values only, so that it travels to other processes and machines as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.data import open_dataset
from spuraudit.errors import UsageError
from spuraudit.models.loading import load
from spuraudit.record.settings import ScanSettings
from spuraudit.record.zoo import Published
from spuraudit.record.zoo_schema import check_id
from spuraudit.runs.judging import chooser
from spuraudit.runs.prepare import Machine, with_class_map

if TYPE_CHECKING:
    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model


@dataclass(frozen=True)
class ZooItem:
    """A model to be audited. id: also the name of its run folder; spec: what `load` takes.

    class_map: file that says which outputs are which class; None: the dataset says. shown: the spec for the record,
    without folders; None: made from `spec`.
    """

    id: str
    name: str
    spec: str
    group: str | None = None
    class_map: Path | None = None
    licence: str | None = None
    published: Published | None = None
    shown: str | None = None


@dataclass(frozen=True)
class Loading:
    """How models are loaded; the same for all of a zoo run."""

    device: str = "auto"
    precision: str = "fp32"
    allow_download: bool = False
    trust_code: bool = False


@dataclass(frozen=True)
class ZooJob:
    """Models, data, settings, and where the results go. data, data_dir, locations: as `open_dataset` takes them.

    memory: bytes that the weights of models may take which share a pass; None: half of what is free.
    """

    items: tuple[ZooItem, ...]
    data: str
    folder: Path
    data_dir: Path | None = None
    locations: tuple[tuple[str, str], ...] = ()
    settings: ScanSettings = field(default_factory=ScanSettings)
    machine: Machine = field(default_factory=Machine)
    loading: Loading = field(default_factory=Loading)
    memory: int | None = None

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for item in self.items:
            try:
                check_id(item.id)
            except ValueError as error:
                raise UsageError(f"The id of a model: {error}.", "Choose another id.") from error
            if item.id.lower() in seen:  # one folder on disks that ignore case
                raise UsageError(f"Two models of the zoo have the id {item.id!r}.", "Give every entry its own id.")
            seen.add(item.id.lower())

    def open_dataset(self) -> Dataset:
        """Tables only; no image is read."""
        return open_dataset(self.data, data_dir=self.data_dir, locations=dict(self.locations))

    def load(self, item: ZooItem, dataset: Dataset) -> tuple[Model, Dataset]:
        """The model, and the dataset with the model's class map.

        Labelled images decide where the weights fit several architectures. Errors as of `models.load`.
        """
        how = self.loading

        def choose(candidates: list[Model]) -> Model:
            mapped = with_class_map(dataset, item.class_map, candidates[0].record.num_classes)
            return chooser(mapped, self.settings, self.machine)(candidates)

        model = load(
            item.spec,
            device=how.device,
            precision=how.precision,
            allow_download=how.allow_download,
            trust_code=how.trust_code,
            data_names=names_of(dataset),
            choose=choose,
        )
        return model, with_class_map(dataset, item.class_map, model.record.num_classes)

    def run_of(self, item: ZooItem) -> Path:
        """The run folder of a model."""
        return self.folder / "models" / item.id

    def of(self, items: Sequence[ZooItem]) -> ZooJob:
        """The same job for some of the models."""
        return replace(self, items=tuple(items))


def names_of(dataset: Dataset) -> tuple[str, ...] | None:
    """Class names of a zero-shot classifier for a dataset, where the user gave none; None: ImageNet's.

    A dataset whose classes name outputs, or that has ImageNet's thousand classes, is asked in ImageNet's words.
    """
    if len(dataset.classes) == _IMAGENET or any(info.outputs is not None for info in dataset.classes):
        return None
    return tuple(info.name for info in dataset.classes)


_IMAGENET = 1000
