"""What the options about the model mean: one way to load it, for every command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model
    from spuraudit.models.preprocess import PreprocessOverrides
    from spuraudit.record.settings import ScanSettings
    from spuraudit.runs.prepare import Machine
    from spuraudit.runs.progress import Progress


@dataclass(frozen=True)
class ModelOptions:
    """As typed, less the model's name; what is None was not given."""

    overrides: PreprocessOverrides
    arch: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    head: str | None = None
    classnames: str | None = None
    templates: str | None = None
    trust_code: bool = False
    allow_download: bool = False
    device: str = "auto"
    precision: str = "fp32"

    def load(
        self,
        spec: str,
        dataset: Dataset | None = None,
        choose: Callable[[list[Model]], Model] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Model:
        """Errors as of `models.load`. dataset: whose class names a zero-shot classifier takes, where none are given."""
        from spuraudit.models import load
        from spuraudit.models.zero_shot import read_class_names
        from spuraudit.runs.zoo_job import names_of

        return load(
            spec,
            arch=self.arch,
            kwargs=self.kwargs,
            overrides=self.overrides,
            device=self.device,
            precision=self.precision,
            allow_download=self.allow_download,
            trust_code=self.trust_code,
            class_names=read_class_names(self.classnames) if self.classnames is not None else None,
            templates=self.templates,
            data_names=names_of(dataset) if dataset is not None else None,
            head=self.head,
            choose=choose,
            say=say,
        )

    def load_for(
        self,
        spec: str,
        dataset: Dataset,
        class_map: Path | None,
        settings: ScanSettings,
        machine: Machine,
        progress: Progress,
    ) -> tuple[Model, Dataset]:
        """The model, and the dataset with the classes of a class map.

        Where several architectures fit the weights, clean images of the split in `settings` choose. Errors as of `load`
        and of `runs.prepare.with_class_map`.
        """
        from spuraudit.runs.judging import chooser
        from spuraudit.runs.prepare import with_class_map

        def choose(candidates: list[Model]) -> Model:
            mapped = with_class_map(dataset, class_map, candidates[0].record.num_classes)
            return chooser(mapped, settings, machine, progress)(candidates)

        model = self.load(spec, dataset, choose, progress.say)
        return model, with_class_map(dataset, class_map, model.record.num_classes)
