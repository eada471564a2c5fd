"""Salient ImageNet-1M: 5,000 (class, feature) pairs, each with soft masks of its 65 strongest images.

    salient_imagenet_dataset[.zip]/wordnet_dict.py
    salient_imagenet_dataset/n01440764/image_names_map.csv      a column per feature, image names without suffix
    salient_imagenet_dataset/n01440764/feature_1697/n01440764_10026.JPEG      8-bit mask, 224 x 224
    [mturk_results/]discover_spurious_features.csv      25,000 answers, 5 per pair
    class_metadata.csv
    [ILSVRC2012/]train/n01440764/n01440764_10026.JPEG

Sources: Singla and Feizi, Salient ImageNet, ICLR 2022; Singla, Moayeri and Feizi, Core Risk Minimization using Salient
ImageNet, 2022 (appendix J.2: the masks were made after resize 256 and centre crop 224).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from spuraudit.data.dataset import ClassInfo, Dataset, Feature, ImageRow, MaskRow
from spuraudit.data.layouts.layout import Layout, Place, refuse_missing
from spuraudit.data.layouts.salient1m_parts import FOLDERS, LICENCE, NEEDS, find_parts, looks_like_salient1m
from spuraudit.data.layouts.salient1m_tables import Pair, read_names, read_pairs, read_top_images, read_wordnet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.data.layouts.salient1m_parts import Parts

_MASKS = "masks"
_PHOTOS = "photos"
#: Copies of ImageNet lack a file now and then; more than this share is a wrong or half folder.
_TOLERATED_MISSING = 0.01


def open_salient1m(place: Place) -> Dataset:
    """Open Salient ImageNet-1M as it lies on disk.

    Photos missing from the train tree are left out and counted, up to 1 %; any missing mask is refused.
    Raises DataError listing all missing parts at once.
    """
    parts = find_parts(place)
    classes = read_wordnet(parts.release)
    pairs = read_pairs(parts.annotations, classes)
    names = read_names(parts.metadata, classes)
    bare = [wnid for wnid in classes.values() if wnid not in pairs]
    refuse_missing(f"{parts.annotations}: answers for classes", bare, len(classes), "Restore the file.")
    images: list[ImageRow] = []
    for label, wnid in enumerate(classes.values()):
        images += _images(parts, label, wnid, pairs[wnid])
    kept, missing = _present(parts, images)
    return Dataset(
        name="salient1m",
        layout=LAYOUT.name,
        classes=tuple(ClassInfo(label, names[wnid], (index,)) for label, (index, wnid) in enumerate(classes.items())),
        features=tuple(
            Feature(feature_name(wnid, pair), pair.role, (label,))
            for label, wnid in enumerate(classes.values())
            for pair in pairs[wnid]
        ),
        images=kept,
        sources={_MASKS: parts.release, _PHOTOS: parts.photos},
        licence=LICENCE,
        notes=_notes(pairs),
        fixed_crop_pct=224 / 256,
        origin=place.origin,
        left_out={"images missing from the ImageNet train tree": missing} if missing else {},
    )


def feature_name(wnid: str, pair: Pair) -> str:
    """`n01440764/1697`: the class and the neuron, so that a name means one pair; as in the authors' tables."""
    return f"{wnid}/{pair.index}"


def _images(parts: Parts, label: int, wnid: str, pairs: tuple[Pair, ...]) -> list[ImageRow]:
    """The class's images, by rank of the feature that shows them first, then by activation."""
    masks: dict[str, list[MaskRow]] = {}
    for pair, names in zip(pairs, read_top_images(parts.release, wnid, pairs).values(), strict=True):
        for name in names:
            path = f"{wnid}/feature_{pair.index}/{name}.JPEG"
            masks.setdefault(name, []).append(MaskRow(feature_name(wnid, pair), pair.role, _MASKS, path, frame="crop"))
    there = set(parts.release.files(wnid))
    wanted = [mask.path for rows in masks.values() for mask in rows]
    refuse_missing(
        f"{parts.release.describe(wnid)}: masks",
        [parts.release.describe(path) for path in wanted if path not in there],
        len(wanted),
        "Copy or unpack the release again: it is complete as published.",
    )
    return [
        ImageRow(id=f"{wnid}/{name}.JPEG", label=label, source=_PHOTOS, path=f"{wnid}/{name}.JPEG", masks=tuple(rows))
        for name, rows in masks.items()
    ]


def _present(parts: Parts, images: list[ImageRow]) -> tuple[tuple[ImageRow, ...], int]:
    """The images whose photo is there, and how many are not."""
    there: set[str] = set()
    for wnid in dict.fromkeys(row.path.partition("/")[0] for row in images):
        there.update(parts.photos.files(wnid))
    kept = tuple(row for row in images if row.path in there)
    missing = [parts.photos.describe(row.path) for row in images if row.path not in there]
    empty = {row.label for row in images} - {row.label for row in kept}
    if empty or len(missing) > _TOLERATED_MISSING * len(images):
        refuse_missing(
            "salient1m: ImageNet train images",
            missing,
            len(images),
            "Unpack the class archives of ILSVRC2012_img_train.tar into train/<wnid>/, with the original file names; "
            "up to 1 % of missing images is tolerated, as long as no class is without any.",
        )
    return kept, len(missing)


def _notes(pairs: Mapping[str, tuple[Pair, ...]]) -> tuple[str, ...]:
    kinds = Counter(pair.kind for found in pairs.values() for pair in found)
    spurious = ", ".join(f"{kinds[kind]} {kind}" for kind in ("background", "separate object", "ambiguous"))
    return (
        f"{kinds['main object']} core and {kinds.total() - kinds['main object']} spurious pairs ({spurious}).",
        "The images come from ImageNet's train split and were chosen by a model's activation: clean accuracy is higher "
        "than on the validation split.",
        "The masks lie in the crop 224 of resize 256: the geometry is fixed to it, scaled to the model's input size.",
    )


LAYOUT = Layout(
    name="salient1m",
    title="Salient ImageNet-1M (Singla et al., 2022)",
    named=True,
    folders=FOLDERS,
    needs=NEEDS,
    licence=LICENCE,
    recognises=looks_like_salient1m,
    open=open_salient1m,
)
