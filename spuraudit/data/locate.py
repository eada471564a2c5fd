"""From what the user typed after --data to a Dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.data.layouts import LAYOUTS
from spuraudit.data.layouts.layout import Layout, Place
from spuraudit.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.data.dataset import Dataset

#: Environment variable: a folder that holds datasets, or one dataset's own folder.
HOME = "SPURAUDIT_DATA"

_MANIFEST = LAYOUTS["manifest"]


def open_dataset(
    spec: str, *, data_dir: Path | None = None, locations: Mapping[str, Path | str] | None = None
) -> Dataset:
    """Open a dataset; no image is read.

    spec: a folder with dataset.yaml, such a YAML file, a folder in a known layout, or a registered name.
    data_dir: the folder of photos and masks; overrides `root:` of a dataset.yaml, or says where a name lies.
    locations: name -> folder, from the configuration; a name that is not registered opens the folder as such.
    A name is looked for in data_dir alone if given, else in locations, else in SPURAUDIT_DATA.
    Raises DataError or ConfigError saying what is missing and how to go on.
    """
    places = {name: Path(folder).expanduser() for name, folder in (locations or {}).items()}
    path = Path(spec).expanduser()
    if path.is_file():
        return _open_file(spec, path, data_dir)
    found = recognise(path) if path.is_dir() else None
    if found is not None:
        if data_dir is not None and found is not _MANIFEST:
            raise UsageError(
                f"--data {spec} is a {found.name} folder already; --data-dir {data_dir} would name another.",
                f"Give one of them, or --data {found.name} --data-dir FOLDER.",
            )
        return found.open(Place(path, spec, data_dir, places))
    named = LAYOUTS.get(spec)
    if named is not None and named.named:
        return _open_named(named, spec, data_dir, places)
    if spec in places:
        return _open_folder(places[spec], spec, data_dir, places)
    if path.is_dir():
        raise DataError(f"{spec}: {_unrecognised()}", _example())
    raise _unknown(spec, places)


def recognise(folder: Path) -> Layout | None:
    """The layout of a folder, or None."""
    return next((layout for layout in LAYOUTS.values() if layout.recognises(folder)), None)


def candidates(layout: Layout, data_dir: Path | None, locations: Mapping[str, Path]) -> list[Path]:
    """The folders in which a named layout is looked for, in order."""
    if data_dir is not None:
        return [data_dir, *(data_dir / name for name in layout.folders)]
    folders = [locations[layout.name]] if layout.name in locations else []
    home = os.environ.get(HOME)
    if home:
        root = Path(home).expanduser()
        folders += [root, *(root / name for name in layout.folders)]
    return folders


def _open_file(spec: str, path: Path, data_dir: Path | None) -> Dataset:
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise DataError(f"{spec}: not a dataset.", "Name a folder, a dataset.yaml, or a registered dataset.")
    return _MANIFEST.open(Place(path, spec, data_dir))


def _open_named(layout: Layout, spec: str, data_dir: Path | None, places: Mapping[str, Path]) -> Dataset:
    folders = candidates(layout, data_dir, places)
    for folder in folders:
        if folder.is_dir() and layout.recognises(folder):
            return layout.open(Place(folder, spec, data_dir, places))
    if data_dir is not None and data_dir.is_dir():
        return layout.open(Place(data_dir, spec, data_dir, places))  # says what is missing there
    looked = ", ".join(str(folder) for folder in folders) or f"nowhere: neither --data-dir nor {HOME} is set"
    needs = "".join(f"\n  - {need}" for need in layout.needs)
    raise DataError(
        f"{spec}: not found (looked in {looked}). It needs:{needs}\nLicence: {layout.licence}.",
        f"Name its folder with --data-dir, {HOME}, or in the configuration. Nothing is downloaded for you.",
    )


def _open_folder(folder: Path, spec: str, data_dir: Path | None, places: Mapping[str, Path]) -> Dataset:
    if not folder.is_dir():
        raise DataError(f"{spec}: the configuration places it in {folder}, which is no folder.", "Correct the path.")
    layout = recognise(folder)
    if layout is None:
        raise DataError(f"{spec}: {folder}: {_unrecognised()}", _example())
    return layout.open(Place(folder, spec, data_dir, places))


def _unrecognised() -> str:
    known = ", ".join(layout.name for layout in LAYOUTS.values() if layout.named)
    return f"a folder, but neither a dataset.yaml nor the files of a known layout ({known}) are in it."


def _example() -> str:
    return "Write a dataset.yaml that says where photos and masks lie: docs/datasets.md has a worked example."


def _unknown(spec: str, places: Mapping[str, Path]) -> DataError:
    names = [layout.name for layout in LAYOUTS.values() if layout.named]
    names += [name for name in places if name not in names and name != "imagenet"]
    near = did_you_mean(spec, names)
    return DataError(
        f"{spec}: neither a folder or file that exists nor a registered dataset.{' ' + near if near else ''}",
        f"Registered: {', '.join(names)}. `spuraudit data list` shows what each needs.",
    )
