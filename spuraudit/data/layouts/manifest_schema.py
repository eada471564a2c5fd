"""The keys of `dataset.yaml`, as docs/datasets.md explains them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from spuraudit.data.paths import inside
from spuraudit.errors import did_you_mean
from spuraudit.record.yaml_lines import YamlDocument, load, parse

if TYPE_CHECKING:
    from pathlib import Path

PLACEHOLDERS = ("class", "class_name", "stem", "name", "path", "parent", "split")


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


NonEmpty = Annotated[str, Field(min_length=1)]
Outputs = Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_listed), Field(min_length=1)]


class ClassKeys(_Keys):
    """A class: `monarch`, or a mapping with its folder and the model outputs that count as it."""

    name: NonEmpty
    folder: NonEmpty | None = None
    outputs: Outputs | None = None

    @property
    def directory(self) -> str:
        """The class's folder: `folder`, or its name; it may be nested ("birds/gull")."""
        return (self.folder or self.name).strip("/")


class ColumnKeys(_Keys):
    """Names of the columns in the list of images."""

    image: NonEmpty = "image"
    label: NonEmpty = Field(default="class", alias="class")
    split: NonEmpty | None = None
    group: NonEmpty | None = None
    id: NonEmpty | None = None


class ImageKeys(_Keys):
    """Where the photos lie: in a folder per class, or named by a CSV file."""

    folder: str = ""
    listed: NonEmpty | None = Field(default=None, alias="list")
    splits: list[NonEmpty] | None = None
    columns: ColumnKeys | None = None
    archive: NonEmpty | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ImageKeys:
        if self.listed is None and self.columns is not None:
            raise ValueError("columns: belongs to list:, and there is none")
        if self.listed is not None and self.splits is not None:
            raise ValueError("splits: names folders; with list: name the column instead (columns: {split: ...})")
        return self


class FeatureKeys(_Keys):
    """A visual attribute and the template of its masks' paths."""

    name: NonEmpty
    role: Literal["core", "spurious"]
    masks: NonEmpty
    classes: list[NonEmpty] | None = None
    optional: bool = False
    archive: NonEmpty | None = None

    @field_validator("masks")
    @classmethod
    def _known_placeholders(cls, value: str) -> str:
        for word in re.findall(r"\{([^{}]*)\}", value):
            if word not in PLACEHOLDERS:
                near = did_you_mean(word, PLACEHOLDERS)
                known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ValueError(f"unknown placeholder {{{word}}}. {near + ' ' if near else ''}Known: {known}")
        if re.search(r"[{}]", re.sub(r"\{\w+\}", "", value)):
            raise ValueError("a { or } without its partner")
        if not re.search(r"\{(stem|name|path)\}", value):
            raise ValueError("the template names the same file for every image; use {stem}, {name} or {path}")
        return value


class Manifest(_Keys):
    """The whole file."""

    name: NonEmpty
    classes: list[Annotated[ClassKeys, BeforeValidator(_named)]] = Field(min_length=1)
    images: ImageKeys
    features: list[FeatureKeys] = Field(default_factory=list)
    root: NonEmpty | None = None
    licence: str | None = None
    notes: list[str] = Field(default_factory=list)
    default_split: NonEmpty | None = None


def read_manifest(file: Path) -> tuple[YamlDocument, Manifest]:
    """Read and check `dataset.yaml`. Raises ConfigError naming file, line and key."""
    document = load(file)
    keys = parse(document, Manifest)
    _check_folders(document, keys)
    _check_classes(document, keys)
    _check_features(document, keys)
    return document, keys


def _check_folders(document: YamlDocument, keys: Manifest) -> None:
    for number, entry in enumerate(keys.classes):
        inside(entry.directory, f"{document.name}, line {document.line('classes', number, 'folder')}")
    for number, split in enumerate(keys.images.splits or ()):
        inside(split, f"{document.name}, line {document.line('images', 'splits', number)}")


def _check_classes(document: YamlDocument, keys: Manifest) -> None:
    owners: dict[int, str] = {}
    for kind in ("name", "directory"):
        seen: set[str] = set()
        for number, entry in enumerate(keys.classes):
            value = getattr(entry, kind)
            if value in seen:
                raise document.error(("classes", number), f"{value!r} appears twice.", "Give each class its own name.")
            seen.add(value)
    for number, entry in enumerate(keys.classes):
        if (entry.outputs is None) != (keys.classes[0].outputs is None):
            raise document.error(
                ("classes", number),
                f"{entry.name!r} {'has no' if entry.outputs is None else 'has'} outputs:, {keys.classes[0].name!r} "
                f"{'has none' if keys.classes[0].outputs is None else 'has'}.",
                "Give outputs: to every class, or to none (then the classes are the model's outputs in this order).",
            )
        for output in entry.outputs or ():
            if output in owners:
                raise document.error(
                    ("classes", number, "outputs"),
                    f"output {output} belongs to {owners[output]!r} already.",
                    "A model output can count as one class only.",
                )
            owners[output] = entry.name


def _check_features(document: YamlDocument, keys: Manifest) -> None:
    names = [entry.name for entry in keys.classes]
    seen: set[str] = set()
    for number, feature in enumerate(keys.features):
        if feature.name in seen:
            raise document.error(
                ("features", number, "name"), f"{feature.name!r} appears twice.", "Give each feature its own name."
            )
        seen.add(feature.name)
        for position, name in enumerate(feature.classes or ()):
            if name not in names:
                near = did_you_mean(name, names)
                raise document.error(
                    ("features", number, "classes", position), f"no class {name!r}.", near or f"Classes: {names}."
                )
        if "{split}" in feature.masks and keys.images.listed is None and keys.images.splits is None:
            raise document.error(
                ("features", number, "masks"),
                "uses {split}, but the dataset has no splits.",
                "Name the folders with images: {splits: [...]}, or the column with images: {columns: {split: ...}}.",
            )
