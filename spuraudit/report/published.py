"""The published table of 42 models, read from model_zoo.yaml: where the audited model stands among known ones.

Source of the figures: Singla, Moayeri, Feizi (2022), "Core Risk Minimization using Salient ImageNet", appendix A,
measured on the 226,946 test images of Salient ImageNet-1M.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from spuraudit.errors import ConfigError
from spuraudit.resources import model_zoo_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One row, as proportions: clean, core and spurious in 0..1, RCS in -1..1."""

    name: str
    group: str
    clean: float
    core: float
    spurious: float
    rcs: float


def published_models(file: Path | None = None) -> list[PublishedModel]:
    """Rows of model_zoo.yaml that carry published figures; entries without them are passed over.

    Accuracies stand in percent and RCS as 100 x RCS in the file, as printed. Raises ConfigError for broken YAML.
    """
    path = file or model_zoo_file()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML ({error}).", "Reinstall spuraudit.") from error
    entries = content.get("models") if isinstance(content, dict) else None
    rows = [_row(entry) for entry in entries or [] if isinstance(entry, dict)]
    return [row for row in rows if row is not None]


def _row(entry: dict[str, Any]) -> PublishedModel | None:
    figures = entry.get("published")
    if not isinstance(figures, dict):
        return None
    keys = ("clean", "core", "spurious", "rcs")
    values = [figures.get(key) for key in keys]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    clean, core, spurious, rcs = (float(value) / 100 for value in values)  # type: ignore[arg-type]
    name = entry.get("name") or entry.get("id") or "unnamed"
    return PublishedModel(str(name), str(entry.get("group") or "Other"), clean, core, spurious, rcs)
