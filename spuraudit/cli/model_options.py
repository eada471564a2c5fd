"""What the options about the model mean: one way to load it, for every command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model
    from spuraudit.models.preprocess import PreprocessOverrides


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
