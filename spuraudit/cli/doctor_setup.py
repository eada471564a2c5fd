"""The part of `spuraudit doctor` about this folder: the merged settings with their origins, the model, the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spuraudit.errors import SpurauditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spuraudit.data.layouts.layout import Layout
    from spuraudit.gates.config import Config
    from spuraudit.record.settings import ScanSettings
    from spuraudit.runs.doctor import Check

#: Variables that spuraudit or what it stands on reads; values are shown, so none that may hold a secret.
_VARIABLES = (
    "SPURAUDIT_DATA", "SPURAUDIT_CACHE", "SPURAUDIT_ZOO", "SPURAUDIT_ZOO_FILES", "HF_HOME", "HF_HUB_CACHE",
    "HF_HUB_OFFLINE", "TORCH_HOME", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
)  # fmt: skip
_SHIPPED = "default"


def setup(path: Path | None, whole: bool) -> list[Check]:
    """Checks of configuration and data. `whole`: whether the required packages are there, so that data can be opened.

    A config that cannot be understood blocks: every scan in this folder would stop at it.
    """
    from spuraudit.cli.scan_options import configuration, settings
    from spuraudit.runs.doctor import Check, first_line

    try:
        config = configuration(path)
        merged = settings(config)
    except SpurauditError as error:
        hint = error.hint or "Correct the file."
        return [Check("config", "file", "missing", first_line(error), hint, blocks=True), *_variables()]
    checks = [*_sources(config), *_values(config, merged), *_variables()]
    return checks + (_datasets(config) if whole else [])


def _sources(config: Config | None) -> Iterator[Check]:
    from spuraudit.runs.doctor import Check

    if config is None:
        hint = "Nothing has to be there: `spuraudit init` writes one."
        yield Check("config", "file", "missing", "no .spuraudit.yaml here or above", hint)
        return
    yield Check("config", "file", "ok", str(config.file))
    if config.gates:
        yield Check("config", "gates", "ok", f"{len(config.gates)}: {', '.join(gate.id for gate in config.gates[:8])}")
    else:
        hint = "Without gates a scan reports and decides nothing: `spuraudit init RUN` suggests some."
        yield Check("config", "gates", "missing", f"none in {config.file.name}", hint)


def _values(config: Config | None, merged: ScanSettings) -> Iterator[Check]:
    """The settings of a scan without options, each with where it comes from."""
    from spuraudit.runs.doctor import Check

    if config is not None and config.model is not None:
        yield _model(config.model, config)
    stated = _stated(config)
    for name, value in merged.model_dump(mode="json").items():
        origin = f"from {config.file.name}" if config is not None and name in stated else _SHIPPED
        yield Check("config", name, "ok", f"{_value(value)} ({origin})")


def _stated(config: Config | None) -> set[str]:
    """Fields of the settings that the file names."""
    from spuraudit.cli.scan_options import CONFIG_KEYS

    if config is None:
        return set()
    found = {"seed"} if config.seed is not None else set()
    if config.audits is not None:
        found |= {"audits"} | {CONFIG_KEYS[audit][key] for audit, given in config.audits.items() for key in given}
    return found


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _model(spec: str, config: Config) -> Check:
    """A file has to be there; what stands behind a prefix is found, or fetched, when it is loaded."""
    from spuraudit.runs.doctor import Check

    origin = f"(from {config.file.name})"
    prefix = spec.partition(":")[0]
    if Path(spec).exists():
        return Check("config", "model", "ok", f"{os.path.normpath(spec)} {origin}")
    if ":" in spec and len(prefix) > 1:
        return Check("config", "model", "ok", f"{spec} {origin}")
    hint = "Correct `model:`, or name the model on the command line."
    return Check("config", "model", "missing", f"{spec}: no such file {origin}", hint)


def _variables() -> Iterator[Check]:
    from spuraudit.runs.doctor import Check

    for name in _VARIABLES:
        if name in os.environ:
            yield Check("config", name, "ok", f"{os.environ[name]} (environment)")


def _datasets(config: Config | None) -> list[Check]:
    from spuraudit.data.layouts import LAYOUTS
    from spuraudit.data.locate import HOME

    locations = dict(config.locations) if config is not None else {}
    checks = [_home(HOME)] if HOME in os.environ else []
    checks += [_location(name, folder) for name, folder in locations.items()]
    checks += [_registered(layout, locations) for layout in LAYOUTS.values() if layout.named]
    if config is not None and config.data is not None:
        checks.append(_configured(config.data, config))
    return checks


def _home(variable: str) -> Check:
    from spuraudit.runs.doctor import Check

    folder = Path(os.environ[variable]).expanduser()
    if folder.is_dir():
        return Check("data", variable, "ok", str(folder))
    return Check("data", variable, "warning", f"{folder}: no such folder", f"Correct or unset {variable}.")


def _location(name: str, folder: Path) -> Check:
    from spuraudit.runs.doctor import Check

    if folder.is_dir():
        return Check("data", f"location {name}", "ok", str(folder))
    return Check("data", f"location {name}", "warning", f"{folder}: no such folder", "Correct `locations:`.")


def _registered(layout: Layout, locations: Mapping[str, Path]) -> Check:
    from spuraudit.data.locate import HOME, candidates
    from spuraudit.runs.doctor import Check

    folders = candidates(layout, None, locations)
    found = next((folder for folder in folders if folder.is_dir() and layout.recognises(folder)), None)
    if found is not None:
        return Check("data", layout.name, "ok", str(found))
    looked = f"looked in {', '.join(str(folder) for folder in folders)}" if folders else f"{HOME} is not set"
    hint = f"Name its folder with --data-dir, {HOME} or `locations:`; `spuraudit data list` says what it needs."
    return Check("data", layout.name, "missing", f"not found ({looked})", hint)


def _configured(spec: str, config: Config) -> Check:
    """The dataset of the config, opened: its tables are read, no image is."""
    from spuraudit.data import open_dataset
    from spuraudit.runs.doctor import Check, first_line

    name = f"data of {config.file.name}"
    try:
        dataset = open_dataset(spec, data_dir=config.data_dir, locations=config.locations)
    except SpurauditError as error:
        return Check("data", name, "missing", first_line(error), error.hint or "Correct `data:`.")
    counts = f"{len(dataset.images):,} images, {len(dataset.classes):,} classes, {len(dataset.features):,} features"
    place = os.path.normpath(spec) if Path(spec).exists() else spec
    return Check("data", name, "ok", f"{place}: {counts}")
