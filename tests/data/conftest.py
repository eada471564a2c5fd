"""Tiny real datasets on disk, in the layouts that people have."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

MANIFEST = """\
name: beetles
licence: CC0
classes:
  - name: ladybird
    folder: ladybird
    outputs: [301]
  - {name: dung beetle, folder: dung, outputs: [305]}
images:
  folder: images
features:
  - name: beetle
    role: core
    masks: masks/{class}/{stem}.png
"""


def save_photo(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0, **options: object) -> Path:
    """A photo of smooth random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def save_mask(path: Path, size: tuple[int, int] = (40, 30), box: tuple[int, int, int, int] = (10, 5, 30, 20)) -> Path:
    """A mask with a white box (left, top, right, bottom)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    mask.save(path)
    return path


@pytest.fixture
def beetles(tmp_path: Path) -> Path:
    """Two classes in folders, three photos each, a core mask per photo, described by dataset.yaml."""
    root = tmp_path / "beetles"
    for number in range(3):
        for folder in ("ladybird", "dung"):
            save_photo(root / "images" / folder / f"{number:03}.jpg", seed=number + 100 * len(folder))
            save_mask(root / "masks" / folder / f"{number:03}.png")
    (root / "dataset.yaml").write_text(MANIFEST)
    return root


@pytest.fixture
def waterbirds(tmp_path: Path) -> Path:
    """Five images in the published layout; img_id starts at 1 and is not the row number."""
    root = tmp_path / "waterbird_complete95_forest2water2"
    rows = [
        (1, "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 0, 0, "/b/bamboo_forest/00002396.jpg"),
        (3, "001.Black_footed_Albatross/Black_Footed_Albatross_0014_89.jpg", 1, 0, 1, "/o/ocean/00000012.jpg"),
        (7, "010.Red_winged_Blackbird/Red_Winged_Blackbird_0001_3695.jpg", 0, 0, 0, "/b/bamboo_forest/00000001.jpg"),
        (8, "010.Red_winged_Blackbird/Red_Winged_Blackbird_0002_5.jpg", 0, 1, 1, "/l/lake/natural/00000003.jpg"),
        (9, "010.Red_winged_Blackbird/Red_Winged_Blackbird_0003_6.jpg", 0, 2, 1, "/o/ocean/00000004.jpg"),
    ]
    root.mkdir()
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["img_id", "img_filename", "y", "split", "place", "place_filename"])
        writer.writerows(rows)
    for number, row in enumerate(rows):
        save_photo(root / row[1], seed=number)
    return root


CLASSES = {0: "n01440764", 134: "n02012849", 379: "n02493509", 517: "n03126707"}
SYNSETS = {
    0: ("tench, Tinca tinca", "Reptiles/fish/amphibians"),
    134: ("crane", "Birds"),
    379: ("howler monkey, howler", "inverterbrates"),
    517: ("crane", "Devices"),
}
FEATURES = {0: (1697, 830, 11, 5, 42), 134: (1697, 2, 3, 4, 6), 379: (100, 101, 102, 103, 104), 517: (7, 8, 9, 10, 0)}
M, S, B = "main_object", "separate_object", "background"
#: Answers of the five workers to each of the class's features, by rank.
ANSWERS = {
    0: ([M] * 5, [M, M, M, S, B], [M, M, S, S, B], [B] * 4 + [M], [S, S, S, M, M]),
    134: ([M] * 5,) * 5,
    379: ([B, B, B, M, M], [B] * 5, [S] * 5, [S, S, B, B, B], [S, B, S, B, S]),
    517: ([M] * 4 + [B],) * 5,
}
TOP = 4


@pytest.fixture
def salient(tmp_path: Path) -> Path:
    """The release, the tables of the authors' repository and an ImageNet train tree, with their oddities."""
    root = tmp_path / "salient1m"
    release = root / "salient_imagenet_dataset"
    release.mkdir(parents=True)
    (release / "wordnet_dict.py").write_text(repr(dict(reversed(CLASSES.items()))))
    answers = [
        ["WorkerId", *(f"Input.{key}" for key in ("wordnet_id", "class_index", "feature_index", "feature_rank"))]
    ]
    answers[0] += ["Answer.main", "Answer.confidence", "Answer.reasons"]
    metadata = [
        ["class_index", "synset", "wordnet_id", "gloss", "wikilinks", "supercategory", "val_sample_paths"],
    ]
    for index, wnid in CLASSES.items():
        metadata.append([index, SYNSETS[index][0], wnid, "a, gloss", "['https://x']", SYNSETS[index][1], "['a', 'b']"])
        top = {}
        for rank, feature in enumerate(FEATURES[index]):
            # neighbouring features share images
            top[feature] = [f"{wnid}_{10026 + rank * 2 + step}" for step in range(TOP)]
            for name in top[feature]:
                save_nam(release / wnid / f"feature_{feature}" / f"{name}.JPEG", rank)
                photo = root / "ILSVRC2012" / "train" / wnid / f"{name}.JPEG"
                if not photo.exists():
                    save_photo(photo, (50, 40), seed=rank)
            answers += [
                [17, wnid, index, feature, rank + 1, answer, 4.0, 'the "fin", mostly']
                for answer in ANSWERS[index][rank]
            ]
        with (release / wnid / "image_names_map.csv").open("w", newline="") as file:
            # the order of columns is not the order of ranks
            columns = sorted(top, key=str)
            csv.writer(file).writerows([columns, *zip(*(top[column] for column in columns), strict=True)])
    (root / "mturk_results").mkdir()
    for name, rows in (("mturk_results/discover_spurious_features.csv", answers), ("class_metadata.csv", metadata)):
        with (root / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return root


def save_nam(path: Path, seed: int) -> None:
    """A soft 224 x 224 map as JPEG: values near 0 and 255 are not exactly so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:224, 0:224]
    soft = 1 / (1 + np.exp((np.hypot(y - 100, x - 90 - 5 * seed) - 50) / 6))
    noise = np.random.default_rng(seed).normal(0, 2, soft.shape)
    Image.fromarray(np.clip(soft * 250 + 3 + noise, 1, 254).astype(np.uint8)).save(path, quality=85)


@pytest.fixture
def shared() -> Path:
    """The real photos beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: the real photos are not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def _no_data_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPURAUDIT_DATA", raising=False)


@pytest.fixture
def photo() -> object:
    """`photo(path, size, seed, **options)` writes a photo."""
    return save_photo


@pytest.fixture
def mask() -> object:
    """`mask(path, size, box)` writes a mask."""
    return save_mask
