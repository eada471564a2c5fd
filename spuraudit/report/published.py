"""The published table of 42 models, read from model_zoo.yaml: where the audited model stands among known ones.

Source of the figures: Singla, Moayeri, Feizi (2022), "Core Risk Minimization using Salient ImageNet", appendix A,
measured on the 226,946 test images of Salient ImageNet-1M.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.zoo_file import load_zoo

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.zoo_file import ZooEntry


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One row, as proportions: clean, core and spurious in 0..1, RCS in -1..1 (None: undefined)."""

    name: str
    group: str
    clean: float | None
    core: float
    spurious: float
    rcs: float | None


def published_models(file: Path | None = None) -> list[PublishedModel]:
    """The models of a zoo file (None: the shipped one) with published core and spurious accuracy, in its order.

    Raises ConfigError for a file that is no zoo file.
    """
    rows = (_row(entry) for entry in load_zoo(file).entries)
    return [row for row in rows if row is not None]


def _row(entry: ZooEntry) -> PublishedModel | None:
    figures = entry.published
    if figures is None or figures.core is None or figures.spurious is None:
        return None
    return PublishedModel(
        entry.name, entry.group or "Other", figures.clean, figures.core, figures.spurious, figures.rcs
    )
