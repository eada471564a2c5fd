"""Finding the photos that `dataset.yaml` speaks of: in a folder per class, or through a CSV file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.data.layouts.layout import refuse_missing
from spuraudit.data.layouts.manifest_schema import ColumnKeys
from spuraudit.data.paths import IMAGE_SUFFIXES, inside, is_image, parent
from spuraudit.data.tables import read_table
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spuraudit.data.layouts.manifest_schema import Manifest
    from spuraudit.data.sources import Source
    from spuraudit.data.tables import TableRow
    from spuraudit.record.yaml_lines import YamlDocument

_OTHER_ROWS = "rows of classes that dataset.yaml does not name"
_OTHER_FOLDERS = "folders of classes that dataset.yaml does not name"


@dataclass(frozen=True)
class FoundImage:
    """A photo before its masks are looked up. `path` is relative to the folder of images."""

    path: str
    label: int
    split: str | None = None
    group: str | None = None
    id: str = ""
    where: str = ""


@dataclass(frozen=True)
class ImageSearch:
    """Where to look: the manifest, the source of photos, and the folders that may hold the CSV file."""

    document: YamlDocument
    keys: Manifest
    source: Source
    list_folders: tuple[Path, ...]

    @property
    def base(self) -> str:
        """The folder of images inside the source, "" for its root."""
        folder = self.keys.images.folder
        where = f"{self.document.name}, line {self.document.line('images', 'folder')}"
        return "" if folder in ("", ".", "./") else inside(folder, where)


def find_images(search: ImageSearch) -> tuple[list[FoundImage], dict[str, int]]:
    """All photos in a stable order, and counts of what was left out, by reason.

    Raises DataError for missing files, for a class without a photo, and for an image named twice.
    """
    found, left_out = _from_folders(search) if search.keys.images.listed is None else _from_list(search)
    _refuse_empty_classes(search, found, left_out)
    _refuse_twice(search, found)
    return found, left_out


def _from_folders(search: ImageSearch) -> tuple[list[FoundImage], dict[str, int]]:
    labels = {entry.directory: index for index, entry in enumerate(search.keys.classes)}
    base = search.base
    found: list[FoundImage] = []
    others: set[str] = set()
    for split in search.keys.images.splits or (None,):
        start = "/".join(part for part in (base, split) if part)
        files = list(search.source.files(start))
        if not files:
            key = "splits" if split else "folder"
            where = search.source.describe(start) if start else "the root"
            raise search.document.error(("images", key), f"no files in {where}.", "Correct the folder, or root:.")
        for path in files:
            below = path[len(start) + 1 :] if start else path
            folder = _class_folder(below, labels)
            if folder is None:
                others.update(below.split("/")[:-1][:1])
            elif is_image(path):
                relative = path[len(base) + 1 :] if base else path
                found.append(FoundImage(relative, labels[folder], split, id=relative))
    # Without a folder of their own, photos share the root with masks and the like: nothing to count there.
    return found, {_OTHER_FOLDERS: len(others)} if others and base else {}


def _class_folder(path: str, labels: Mapping[str, int]) -> str | None:
    folder = parent(path)
    while folder and folder not in labels:
        folder = parent(folder)
    return folder or None


def _from_list(search: ImageSearch) -> tuple[list[FoundImage], dict[str, int]]:
    columns = search.keys.images.columns or ColumnKeys()
    file = _list_file(search)
    given = {name: getattr(columns, name) for name in ("split", "group", "id")}
    table = read_table(file.read_bytes(), str(file), [columns.image, columns.label, *filter(None, given.values())])
    # A column with one of these very names is used without being asked for.
    extra = {name: column or name for name, column in given.items() if (column or name) in table.columns}
    labels = _labels(search.keys)
    found: list[FoundImage] = []
    missing: list[str] = []
    total = others = 0
    for row in table:
        total += 1
        path = inside(row[columns.image], row.where)
        label = _label(row, columns.label, labels, len(search.keys.classes))
        full = f"{search.base}/{path}" if search.base else path
        if label is None:
            others += 1
        elif not search.source.exists(full):
            missing.append(f"{search.source.describe(full)} ({row.where})")
        else:
            found.append(_found(row, path, label, extra))
    refuse_missing(
        f"{file}: images", missing, total, "Restore the files, or correct the rows or images: {folder: ...}."
    )
    return found, {_OTHER_ROWS: others} if others else {}


def _found(row: TableRow, path: str, label: int, extra: Mapping[str, str]) -> FoundImage:
    cells = {name: row[column] or None for name, column in extra.items()}
    if "split" in cells and cells["split"] is None:
        raise row.error(f"column {extra['split']!r} is empty.", "Give every image a split, or drop the column.")
    return FoundImage(path, label, cells.get("split"), cells.get("group"), cells.get("id") or path, row.where)


def _list_file(search: ImageSearch) -> Path:
    listed = search.keys.images.listed or ""
    name = inside(listed, f"{search.document.name}, line {search.document.line('images', 'list')}")
    for folder in search.list_folders:
        if (folder / name).is_file():
            return folder / name
    looked = " nor in ".join(str(folder) for folder in dict.fromkeys(search.list_folders))
    raise search.document.error(("images", "list"), f"no {name} in {looked}.", "Correct list:, or root:.")


def _labels(keys: Manifest) -> dict[str, int]:
    by_folder = {entry.directory: index for index, entry in enumerate(keys.classes)}
    return by_folder | {entry.name: index for index, entry in enumerate(keys.classes)}


def _label(row: TableRow, column: str, labels: Mapping[str, int], n_classes: int) -> int | None:
    """Index of the row's class, given as name, folder or number; None for a class that the manifest does not name."""
    text = row[column]
    if text in labels:
        return labels[text]
    if not text:
        raise row.error(f"column {column!r} is empty.", "Give every image a class.")
    if not re.fullmatch(r"\d+(\.0)?", text):
        return None
    index = row.integer(column)
    if index >= n_classes:
        # Numbers of another counting would silently name the wrong classes.
        raise row.error(
            f"class number {index}, but dataset.yaml has {n_classes} classes (0 to {n_classes - 1}).",
            "Numbers count the classes in the order of dataset.yaml; use names or folders to audit only some of them.",
        )
    return index


def _refuse_empty_classes(search: ImageSearch, found: list[FoundImage], left_out: Mapping[str, int]) -> None:
    document, classes = search.document, search.keys.classes
    counts = Counter(image.label for image in found)
    empty = [index for index in range(len(classes)) if counts[index] == 0]
    if not empty:
        return
    names = ", ".join(repr(classes[index].name) for index in empty)
    if search.keys.images.listed is None:
        places = ", ".join(
            search.source.describe("/".join(part for part in (search.base, split, classes[index].directory) if part))
            for index in empty[:3]
            for split in search.keys.images.splits or ("",)
        )
        looked = f"looked in {places} for {', '.join(IMAGE_SUFFIXES)}"
    else:
        looked = f"no row of {search.keys.images.listed} has it as name, folder or number"
    seen = "".join(f"; left out: {count} {reason}" for reason, count in left_out.items())
    raise DataError(
        f"{document.name}, line {document.line('classes', empty[0])}: no image of class {names} ({looked}{seen}).",
        "Correct the class's name or folder:, or take it out of classes:.",
    )


def _refuse_twice(search: ImageSearch, found: list[FoundImage]) -> None:
    first: dict[str, FoundImage] = {}
    for image in found:
        if image.id in first:
            raise DataError(
                f"{image.where or search.document.name}: image {image.id!r} appears twice"
                f"{' (first: ' + first[image.id].where + ')' if first[image.id].where else ''}.",
                "Each image may appear once; rows that show the same file need an id column with ids of their own.",
            )
        first[image.id] = image
