"""Where people have the four parts of Salient ImageNet-1M, and where to get what is missing.

Nothing is downloaded: the release is for research, and ImageNet cannot be passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.data.sources import FolderSource, Source, ZipSource
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.data.layouts.layout import Place

RELEASE = "salient_imagenet_dataset"
WORDNET = "wordnet_dict.py"
ANNOTATIONS = "discover_spurious_features.csv"
METADATA = "class_metadata.csv"

NEEDS = (
    f"masks: {RELEASE}.zip (read in place) or the unpacked folder {RELEASE}/; Singla and Feizi, linked from the README "
    "of the GitHub project singlasahil14/salient_imagenet",
    f"annotations: {ANNOTATIONS}, from the folder mturk_results/ of that project",
    f"classes: {METADATA}, from the same project",
    "photos: the train split of ILSVRC2012 (train/n01440764/*.JPEG), from image-net.org after registration",
)
LICENCE = (
    "Salient ImageNet: University of Maryland, non-profit or research use only, no redistribution; ImageNet photos: "
    "non-commercial research and education, terms of image-net.org"
)

#: Usual names of its folder, and of a clone of the authors' repository.
FOLDERS = ("salient1m", "salient_imagenet_1m", "salient_imagenet", "salient_imagenet-main", "salient_imagenet-master")
_IMAGENETS = ("ILSVRC2012", "ilsvrc2012", "imagenet", "ImageNet", "imagenet1k", "ILSVRC/Data/CLS-LOC")
_TRAINS = ("train", "ILSVRC2012_img_train", "")


@dataclass(frozen=True)
class Parts:
    """The four parts, found. `release` has wordnet_dict.py at its root, `photos` has a folder per wnid."""

    release: Source
    annotations: Path
    metadata: Path
    photos: Source


def find_parts(place: Place) -> Parts:
    """Look for the four parts. Raises DataError listing all that are missing, with where to get them."""
    homes = _homes(place.folder)
    release = _release(homes)
    # The clone may also lie beside the folder, where one folder holds all datasets.
    homes += _homes(place.folder.resolve().parent)[1:]
    annotations = _file(homes, ANNOTATIONS)
    metadata = _file(homes, METADATA)
    photos = _photos(place)
    found = (release, annotations, metadata, photos)
    missing = [need for need, part in zip(NEEDS, found, strict=True) if part is None]
    if release is None or annotations is None or metadata is None or photos is None:
        listed = "".join(f"\n  - {need}" for need in missing)
        raise DataError(
            f"salient1m: {len(missing)} of {len(NEEDS)} parts are not below {place.folder}:{listed}\n"
            f"Licence: {LICENCE}.",
            "Put them into one folder (or link them there) and name it with --data-dir or SPURAUDIT_DATA; ImageNet may "
            "lie elsewhere: `imagenet` among the locations of the configuration. Nothing is downloaded for you.",
        )
    return Parts(release, annotations, metadata, photos)


def looks_like_salient1m(folder: Path) -> bool:
    """Whether the masks or the annotations lie in this very folder."""
    return _release_file((folder,)) is not None or _file((folder,), ANNOTATIONS) is not None


def _homes(folder: Path) -> tuple[Path, ...]:
    """The folder, and a clone of the authors' repository in it."""
    return (folder, *(folder / name for name in FOLDERS))


def _release_file(homes: Sequence[Path]) -> Path | None:
    """The unpacked release (a folder), or its zip. The folder wins: somebody took the trouble to unpack it."""
    for home in homes:
        for candidate in (home, home / RELEASE):
            if (candidate / WORDNET).is_file():
                return candidate
    return next((home / f"{RELEASE}.zip" for home in homes if (home / f"{RELEASE}.zip").is_file()), None)


def _release(homes: Sequence[Path]) -> Source | None:
    found = _release_file(homes)
    if found is None or found.is_dir():
        return None if found is None else FolderSource(found)
    packed = ZipSource(found)
    inside = [path for path in packed.files() if path == WORDNET or path.endswith(f"/{WORDNET}")]
    if len(inside) != 1:
        raise DataError(
            f"{found}: {'no' if not inside else 'more than one'} {WORDNET} in the archive.",
            f"Use the archive as released; it holds one folder {RELEASE}/.",
        )
    packed.prefix = inside[0].removesuffix(WORDNET).rstrip("/")  # the index of 326,000 members is read once
    return packed


def _file(homes: Sequence[Path], name: str) -> Path | None:
    for home in homes:
        for candidate in (home / name, home / "mturk_results" / name, home / "metadata" / name):
            if candidate.is_file():
                return candidate
    return None


def _photos(place: Place) -> Source | None:
    named = place.locations.get("imagenet")
    roots = [named] if named is not None else []
    roots += [place.folder / name for name in _IMAGENETS] + [place.folder]
    # Beside the dataset's folder: one folder for all datasets.
    roots += [place.folder.resolve().parent / name for name in _IMAGENETS]
    for root in roots:
        for train in _TRAINS:
            candidate = root / train if train else root
            if _has_photos(candidate):
                return FolderSource(candidate)
    return None


def _has_photos(folder: Path) -> bool:
    try:
        wnids = sorted(entry for entry in folder.iterdir() if _is_wnid(entry.name))
        return any(photo.suffix.lower() == ".jpeg" for photo in wnids[0].iterdir()) if wnids else False
    except OSError:
        return False


def _is_wnid(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()
