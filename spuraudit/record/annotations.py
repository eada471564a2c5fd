"""Yes, no or maybe: what was asked about a model's heat maps and neurons, and what was answered.

FOLDER/about.json             of which model, layer, data and images; written last
FOLDER/maps.safetensors       "maps": (n, rows, columns) float32 in the order of about.json's images: ReLU Grad-CAM of
                              the original model, not normalised, one value per cell of the layer
FOLDER/patches.csv            where each neuron is most active: neuron, image, row, column, activation
FOLDER/annotate.html          the page that asks; neurons.html for the patches
FOLDER/annotations.csv        what it exports: image, verdict. Where the page is split, annotations-2.csv and so on
FOLDER/neurons.csv            what neurons.html exports: neuron, image, row, column, verdict

Source: CRAYON (Lee et al. 2024), section IV-B.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ConfigDict, Field

from spuraudit.errors import DataError, RunError
from spuraudit.record.annotation_tables import (
    ANSWERS_FILE,
    NEURONS_FILE,
    Answer,
    NeuronAnswer,
    part_files,
    read_answers,
    read_neuron_answers,
)
from spuraudit.record.base import Part
from spuraudit.record.folder import read_json, to_json, write_bytes
from spuraudit.record.scan import ModelRecord, ToolRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = "1.0"
ABOUT_FILE, MAPS_FILE = "about.json", "maps.safetensors"
#: Maps that differ by less than this share of the largest value are the same ones.
_ROUNDING = 1e-3


class ExplainedImage(Part):
    """An image whose map was made."""

    id: str
    label: int = Field(description="Index of its class in the dataset.")
    class_name: str
    output: int | None = Field(description="Model output that the map speaks for; null in an imported list.")


class AnnotatedData(Part):
    """Where the images come from."""

    name: str
    fingerprint: str
    split: str | None
    available: int = Field(description="Images of the split; as many as there are images here, or more.")


class Layer(Part):
    """The layer whose cells the maps have."""

    name: str
    rows: int
    columns: int
    channels: int


class Derived(Part):
    """Answers that nobody gave: computed from masks."""

    yes: float = Field(description="Share of the map's energy on the core from which on the answer is yes.")
    no: float = Field(description="Share up to which it is no.")
    without_mask: int = Field(description="Images without a core mask (or with a blank one), which got no answer.")
    sha256: str = Field(description="Of the answers' file as it was written; another file holds other answers.")


class About(Part):
    """about.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/annotate"] = Field(default="spuraudit/annotate", alias="schema")
    schema_version: str = SCHEMA_VERSION
    tool: ToolRecord
    id: str = Field(description="16 hex digits of the sha256 of maps and images: equal for equal maps.")
    origin: Literal["model", "crayon-lists"]
    explains: Literal["label", "prediction"] = Field(description="Class that the maps speak for.")
    model: ModelRecord | None = Field(default=None, description="The original model; null for imported lists.")
    layer: Layer | None = None
    data: AnnotatedData
    images: list[ExplainedImage]
    has_maps: bool = True
    neurons: int | None = Field(default=None, description="Neurons whose patches are in patches.csv.")
    patches_each: int | None = Field(default=None, description="Patches per neuron.")
    looked_for: str | None = Field(
        default=None, description="What people were asked to look for; null: the image's class."
    )
    derived: Derived | None = None


class Maps(NamedTuple):
    """Maps (n, rows, columns) float32, at least 0, in the order of `about.images`."""

    about: About
    maps: NDArray[np.float32]

    def of(self, images: Sequence[str]) -> NDArray[np.float32]:
        """Those of some images, in their order. Raises DataError for an image without a map."""
        at = {image.id: index for index, image in enumerate(self.about.images)}
        missing = [image for image in images if image not in at]
        if missing:
            raise DataError(
                f"{len(missing)} annotated images have no map, the first is {missing[0]!r}.",
                "The answers belong to another folder: name the folder whose page exported them.",
            )
        return self.maps[[at[image] for image in images]]


@dataclass(frozen=True)
class Annotations:
    """Answers by image id; of neurons, one per patch. `derived` where they were computed from masks."""

    answers: Mapping[str, Answer]
    neurons: tuple[NeuronAnswer, ...] = ()
    about: About | None = None
    derived: Derived | None = None

    def images(self, answer: Answer) -> tuple[str, ...]:
        """Ids of the images with this answer."""
        return tuple(image for image, given in self.answers.items() if given == answer)


def maps_id(images: Sequence[ExplainedImage], maps: NDArray[np.float32] | None) -> str:
    """The id of a folder: equal where the images, their classes and every byte of the maps are."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.model_dump_json().encode() + b"\n")
    digest.update(b"" if maps is None else repr(maps.shape).encode() + maps.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def write_folder(folder: Path, about: About, maps: NDArray[np.float32] | None) -> None:
    """Write maps (n, rows, columns) and about.json, which comes last. Whoever asks `settled` first replaces nothing."""
    if maps is not None:
        from safetensors.numpy import save

        content = {"maps": maps.astype("float32", order="C")}
        write_bytes(folder / MAPS_FILE, save(content, {"id": about.id}))
    write_bytes(folder / ABOUT_FILE, to_json(about))


def settled(
    folder: Path, about: About, maps: NDArray[np.float32] | None
) -> tuple[About, NDArray[np.float32] | None, About | None]:
    """What a folder is to hold: these, or the maps that it holds, where they differ from these by rounding alone, as
    those of another device or batch size do; and its about.json as it is, None for a new folder.

    Raises RunError where it holds other maps: answers already given must keep what they were given to.
    """
    before = read_about(folder) if (folder / ABOUT_FILE).is_file() else None
    if before is None or before.id == about.id:
        return about, maps, before
    if maps is not None and before.has_maps and before.images == about.images and before.layer == about.layer:
        stored = read_maps(folder).maps
        if stored.shape == maps.shape and abs(stored - maps).max() <= _ROUNDING * stored.max():
            return about.model_copy(update={"id": before.id}), stored, before
    raise RunError(
        f"{folder}: holds the maps of another model, other images or other options.",
        "Choose another folder with -o, or remove this one with the answers in it.",
    )


def read_about(folder: Path) -> About:
    """about.json. Raises RunError where the folder is none of ours or the file is damaged."""
    file = folder / ABOUT_FILE
    foreign = RunError(f"{file}: not written by `spuraudit annotate`.", "Give a folder that it wrote.")
    if not file.is_file():
        raise RunError(
            f"{folder}: no {ABOUT_FILE} here.", "Give a folder that `spuraudit annotate` wrote and finished."
        )
    return read_json(file, About, "run `spuraudit annotate` again", foreign)


def read_maps(folder: Path) -> Maps:
    """The maps of a folder. Raises RunError where they are missing, damaged or not those of about.json."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about, file = read_about(folder), folder / MAPS_FILE
    if not about.has_maps:
        raise RunError(
            f"{folder}: answers without maps (imported from lists).",
            "Import the authors' interpretation list with them: --import-crayon MAPS.json",
        )
    again = "Run `spuraudit annotate` again."
    try:
        maps: NDArray[np.float32] = load(file.read_bytes())["maps"]
    except (OSError, KeyError, SafetensorError) as error:
        raise RunError(f"{file}: no readable maps ({error}).", again) from error
    fits = maps.ndim == 3 and len(maps) == len(about.images) and maps.dtype == "float32"
    if not fits or maps_id(about.images, maps) != about.id:
        raise RunError(f"{file}: not the maps that {ABOUT_FILE} describes.", again)
    return Maps(about, maps)


def read_annotations(place: Path) -> Annotations:
    """The answers in a folder of `spuraudit annotate`, or in a CSV file of image and verdict.

    In a folder, images that it did not ask about are refused. Raises DataError naming file and line, RunError for a
    folder of another kind, and DataError where nothing was answered.
    """
    if place.is_file():
        return Annotations(_told(read_answers(place), place))
    about = read_about(place)
    known = {image.id for image in about.images}
    answers: dict[str, Answer] = {}
    for file in part_files(place, ANSWERS_FILE):
        answers |= read_answers(file, known, answers)
    neurons = tuple(answer for file in part_files(place, NEURONS_FILE) for answer in read_neuron_answers(file))
    if not answers and not neurons:
        raise DataError(
            f"{place}: no {ANSWERS_FILE} here.",
            "Open its annotate.html, answer, press Export, and move the file into the folder.",
        )
    return Annotations(answers, neurons, about, about.derived if is_derived(place, about) else None)


def is_derived(folder: Path, about: About) -> bool:
    """Whether the folder's answers are those computed from masks, untouched."""
    file = folder / ANSWERS_FILE
    return about.derived is not None and file.is_file() and file_sha256(file) == about.derived.sha256


def file_sha256(file: Path) -> str:
    """Of the bytes of a file of answers."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _told(answers: dict[str, Answer], file: Path) -> dict[str, Answer]:
    if not answers:
        raise DataError(f"{file}: no answers in it.", "Answer some images, then export again.")
    return answers
