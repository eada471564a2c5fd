"""`dataset.yaml`: any folder of photos and masks, described in one file (docs/datasets.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.data.dataset import ClassInfo, Dataset, Feature, ImageRow, MaskRow
from spuraudit.data.layouts.layout import Layout, Place, refuse_missing
from spuraudit.data.layouts.manifest_images import ImageSearch, find_images
from spuraudit.data.layouts.manifest_schema import read_manifest
from spuraudit.data.paths import inside, parent, stem
from spuraudit.data.sources import FolderSource, Source, ZipSource
from spuraudit.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.layouts.manifest_images import FoundImage
    from spuraudit.data.layouts.manifest_schema import FeatureKeys, Manifest
    from spuraudit.record.yaml_lines import YamlDocument

FILE_NAMES = ("dataset.yaml", "dataset.yml")
_ROOT = "root"


@dataclass(frozen=True)
class _Opening:
    document: YamlDocument
    keys: Manifest
    root: Path
    sources: dict[str, Source]

    def source(self, archive: str | None, *key: str | int) -> str:
        """Name of the source: the root, or an archive below it, opened on first use."""
        if archive is None:
            return _ROOT
        path = inside(archive, f"{self.document.name}, line {self.document.line(*key)}")
        name = f"zip:{path}"
        if name not in self.sources:
            if not self.sources[_ROOT].exists(path):
                raise self.document.error(key, f"no such archive: {self.root / path}.", "Correct the path, or root:.")
            self.sources[name] = ZipSource(self.root / path)
        return name


def open_manifest(place: Place) -> Dataset:
    """Open `dataset.yaml` (place.folder is the file, or its folder). Raises ConfigError and DataError."""
    file = place.folder if place.folder.is_file() else _file_in(place.folder)
    document, keys = read_manifest(file)
    root = _root(document, keys, file, place.data_dir)
    opening = _Opening(document, keys, root, {_ROOT: FolderSource(root)})
    image_source = opening.source(keys.images.archive, "images", "archive")
    search = ImageSearch(document, keys, opening.sources[image_source], (file.parent, root))
    found, left_out = find_images(search)
    masks = _masks(opening, found)
    images = tuple(
        ImageRow(
            id=image.id,
            label=image.label,
            source=image_source,
            path=f"{search.base}/{image.path}" if search.base else image.path,
            split=image.split,
            group=image.group,
            masks=tuple(rows),
        )
        for image, rows in zip(found, masks, strict=True)
    )
    return Dataset(
        name=keys.name,
        layout=LAYOUT.name,
        classes=tuple(
            ClassInfo(index, entry.name, None if entry.outputs is None else tuple(entry.outputs))
            for index, entry in enumerate(keys.classes)
        ),
        features=tuple(Feature(entry.name, entry.role, _labels(keys, entry)) for entry in keys.features),
        images=images,
        sources=opening.sources,
        licence=keys.licence,
        notes=tuple(keys.notes),
        origin=place.origin,
        default_split=_default_split(document, keys, images),
        left_out=left_out,
    )


def _file_in(folder: Path) -> Path:
    return next((folder / name for name in FILE_NAMES if (folder / name).is_file()), folder / FILE_NAMES[0])


def _recognises(folder: Path) -> bool:
    return _file_in(folder).is_file()


def _root(document: YamlDocument, keys: Manifest, file: Path, data_dir: Path | None) -> Path:
    root = data_dir or file.parent / Path(keys.root or ".").expanduser()
    if root.is_dir():
        return root
    if data_dir is not None:
        raise DataError(f"{root}: no such folder (--data-dir).", "Name the folder that holds the photos.")
    raise document.error(("root",), f"no such folder: {root}.", "Correct root:, or give --data-dir.")


def _masks(opening: _Opening, found: Sequence[FoundImage]) -> list[list[MaskRow]]:
    """The masks of each image, in the order of features."""
    masks: list[list[MaskRow]] = [[] for _ in found]
    for number, feature in enumerate(opening.keys.features):
        labels = _labels(opening.keys, feature)
        asked = [
            (image, rows) for image, rows in zip(found, masks, strict=True) if labels is None or image.label in labels
        ]
        _feature_masks(opening, number, feature, asked)
    return masks


def _feature_masks(
    opening: _Opening, number: int, feature: FeatureKeys, asked: Sequence[tuple[FoundImage, list[MaskRow]]]
) -> None:
    document = opening.document
    source_name = opening.source(feature.archive, "features", number, "archive")
    source = opening.sources[source_name]
    where = f"{document.name}, line {document.line('features', number, 'masks')}"
    missing: list[str] = []
    for image, rows in asked:
        path = inside(_fill_in(feature.masks, image, opening.keys, where), where)
        if source.exists(path):
            rows.append(MaskRow(feature.name, feature.role, source_name, path))
        else:
            missing.append(f"{source.describe(path)} (of image {image.id})")
    if not feature.optional:
        refuse_missing(
            f"{where}: masks of feature {feature.name!r}",
            missing,
            len(asked),
            "Restore the masks or correct the template; where some images have none, say optional: true.",
        )
    elif len(missing) == len(asked):
        raise document.error(
            ("features", number, "masks"),
            f"not one of {len(asked)} masks of the optional feature {feature.name!r} is there, such as {missing[0]}.",
            "Correct the template, or take the feature out.",
        )


def _fill_in(template: str, image: FoundImage, keys: Manifest, where: str) -> str:
    if image.split is None and "{split}" in template:
        raise DataError(f"{where}: uses {{split}}, but the list of images has no split column.", "Name the column.")
    entry = keys.classes[image.label]
    values = {
        "class": entry.directory,
        "class_name": entry.name,
        "stem": stem(image.path),
        "name": image.path.rsplit("/", 1)[-1],
        "path": image.path,
        "parent": parent(image.path),
        "split": image.split or "",
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


def _labels(keys: Manifest, feature: FeatureKeys) -> tuple[int, ...] | None:
    if feature.classes is None:
        return None
    names = [entry.name for entry in keys.classes]
    return tuple(names.index(name) for name in feature.classes)


def _default_split(document: YamlDocument, keys: Manifest, images: Sequence[ImageRow]) -> str | None:
    splits = sorted({image.split for image in images if image.split is not None})
    if keys.default_split is None:
        return "test" if "test" in splits else None
    if keys.default_split not in splits:
        raise document.error(
            ("default_split",),
            f"no split {keys.default_split!r} (found: {', '.join(splits) or 'none'}).",
            did_you_mean(keys.default_split, splits) or None,
        )
    return keys.default_split


LAYOUT = Layout(
    name="manifest",
    title="a folder described by dataset.yaml",
    named=False,
    folders=(),
    needs=("dataset.yaml: where the photos and masks lie (docs/datasets.md)",),
    licence="the dataset's own",
    recognises=_recognises,
    open=open_manifest,
)
