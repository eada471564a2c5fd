"""The tables of Salient ImageNet-1M: class indices, workers' answers, names of classes, images of each feature."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spuraudit.data.layouts.salient1m_parts import WORDNET
from spuraudit.data.tables import read_table
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spuraudit.data.dataset import FeatureRole
    from spuraudit.data.sources import Source

Kind = Literal["main object", "background", "separate object", "ambiguous"]

_WNID = re.compile(r"n\d{8}")
_RESTORE = "Restore the file from the project singlasahil14/salient_imagenet."
_RESTORE_RELEASE = "Restore the masks from the release."
_ANSWERS = 5
_MAJORITY = 3
_SPURIOUS = ("separate_object", "background")
_COLUMNS = ("Input.wordnet_id", "Input.class_index", "Input.feature_index", "Input.feature_rank", "Answer.main")


@dataclass(frozen=True)
class Pair:
    """A (class, feature) pair: neuron of the robust ResNet-50, its rank 1..5 in the class, what the workers said."""

    index: int
    rank: int
    role: FeatureRole
    kind: Kind


def read_wordnet(release: Source) -> dict[int, str]:
    """ImageNet index -> wnid, sorted. The file is Python text to its authors and data to us: nothing is run."""
    name = release.describe(WORDNET)
    try:
        value = ast.literal_eval(release.read(WORDNET).decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name}: not a literal Python dict (code in it is never run).", _RESTORE_RELEASE) from error
    well_formed = isinstance(value, dict) and all(
        isinstance(index, int) and isinstance(wnid, str) and _WNID.fullmatch(wnid) for index, wnid in value.items()
    )
    if not well_formed or not value or len(set(value.values())) != len(value):
        raise DataError(f"{name}: not a dict of class index to wnid, such as {{0: 'n01440764'}}.", _RESTORE_RELEASE)
    return dict(sorted(value.items()))


def read_pairs(file: Path, classes: Mapping[int, str]) -> dict[str, tuple[Pair, ...]]:
    """wnid -> its pairs by rank. A pair is spurious if at least 3 of its 5 answers name a separate object or the
    background, else core (the rule of the authors' code; Salient ImageNet, section 4)."""
    answers: dict[tuple[str, int], Counter[str]] = {}
    ranks: dict[tuple[str, int], int] = {}
    for row in read_table(file.read_bytes(), str(file), _COLUMNS):
        wnid, answer = row["Input.wordnet_id"], row["Answer.main"]
        class_index = row.integer("Input.class_index")
        if class_index not in classes:
            continue
        if classes[class_index] != wnid:
            raise row.error(f"class {class_index} is {wnid} here and {classes[class_index]} in {WORDNET}.", _RESTORE)
        if answer not in (*_SPURIOUS, "main_object"):
            raise row.error(f"unknown answer {answer!r} in column 'Answer.main'.", _RESTORE)
        key = (wnid, row.integer("Input.feature_index"))
        answers.setdefault(key, Counter())[answer] += 1
        if ranks.setdefault(key, row.integer("Input.feature_rank")) != row.integer("Input.feature_rank"):
            raise row.error(f"feature {key[1]} of {wnid} has two ranks.", _RESTORE)
    pairs: dict[str, list[Pair]] = {}
    for (wnid, index), counts in answers.items():
        if counts.total() != _ANSWERS:
            raise DataError(
                f"{file}: feature {index} of {wnid} has {counts.total()} answers instead of {_ANSWERS}.", _RESTORE
            )
        pairs.setdefault(wnid, []).append(_judged(index, ranks[wnid, index], counts))
    return {wnid: tuple(sorted(found, key=lambda pair: pair.rank)) for wnid, found in pairs.items()}


def _judged(index: int, rank: int, counts: Counter[str]) -> Pair:
    if sum(counts[answer] for answer in _SPURIOUS) < _MAJORITY:
        return Pair(index, rank, "core", "main object")
    if counts["background"] >= _MAJORITY:
        return Pair(index, rank, "spurious", "background")
    return Pair(index, rank, "spurious", "separate object" if counts["separate_object"] >= _MAJORITY else "ambiguous")


def read_names(file: Path, classes: Mapping[int, str]) -> dict[str, str]:
    """wnid -> a name unique among the classes: the first of the synset, with the wnid where several share it.

    ImageNet has two cranes, two maillots; the column `synset` itself is not unique either.
    """
    first: dict[str, str] = {}
    for row in read_table(file.read_bytes(), str(file), ("class_index", "synset", "wordnet_id")):
        class_index, wnid = row.integer("class_index"), row["wordnet_id"]
        if class_index not in classes:
            continue
        if classes[class_index] != wnid:
            raise row.error(f"class {class_index} is {wnid} here and {classes[class_index]} in {WORDNET}.", _RESTORE)
        first[wnid] = row["synset"].split(",")[0].strip() or wnid
    shared = Counter(first.values())
    names = {wnid: name if shared[name] == 1 else f"{name} ({wnid})" for wnid, name in first.items()}
    unnamed = [wnid for wnid in classes.values() if wnid not in names]
    if unnamed:
        raise DataError(f"{file}: no row for {', '.join(unnamed[:3])} ({len(unnamed)} in all).", _RESTORE)
    return names


def read_top_images(release: Source, wnid: str, pairs: tuple[Pair, ...]) -> dict[int, list[str]]:
    """Feature index -> names of its top images, without suffix, best first, from `<wnid>/image_names_map.csv`."""
    path = f"{wnid}/image_names_map.csv"
    name = release.describe(path)
    wanted = {str(pair.index) for pair in pairs}
    table = read_table(release.read(path), name, sorted(wanted))
    # pandas may have left its row numbers in a column without a name
    surplus = [column for column in table.columns if column not in wanted and column not in ("", "Unnamed: 0")]
    if surplus:
        raise DataError(f"{name}: feature {surplus[0]} of {wnid} has no annotation.", _RESTORE)
    images: dict[int, list[str]] = {pair.index: [] for pair in pairs}
    for row in table:
        for index, names in images.items():
            image = row[str(index)].removesuffix(".JPEG")
            if image and image not in names:
                names.append(image)
    empty = [index for index, names in images.items() if not names]
    if empty:
        raise DataError(f"{name}: feature {empty[0]} of {wnid} has no image.", _RESTORE_RELEASE)
    return images
