from __future__ import annotations

import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spuraudit.data import open_dataset
from spuraudit.data.decode import decode
from spuraudit.data.fingerprint import fingerprint
from spuraudit.data.geometry import resized_size
from spuraudit.errors import DataError
from spuraudit.record.geometry import Geometry

RELEASE = "salient_imagenet_dataset"


def opened(root: Path) -> object:
    return open_dataset("salient1m", data_dir=root)


def refused(root: Path, message: str) -> DataError:
    with pytest.raises(DataError, match=message) as caught:
        opened(root)
    assert caught.value.hint
    return caught.value


def pack(root: Path, top: str = f"{RELEASE}/") -> None:
    with zipfile.ZipFile(root / f"{RELEASE}.zip", "w") as packed:
        for file in sorted((root / RELEASE).rglob("*")):
            if file.is_file():
                packed.write(file, top + file.relative_to(root / RELEASE).as_posix())
        packed.writestr("__MACOSX/._wordnet_dict.py", b"junk")
    shutil.rmtree(root / RELEASE)


def test_the_release_as_it_lies_on_disk(salient: Path) -> None:
    dataset = opened(salient)
    assert (dataset.name, dataset.layout, dataset.origin) == ("salient1m", "salient1m", "salient1m")
    assert [(info.index, info.name, info.outputs) for info in dataset.classes] == [
        (0, "tench", (0,)),
        (1, "crane (n02012849)", (134,)),
        (2, "howler monkey", (379,)),
        (3, "crane (n03126707)", (517,)),
    ]
    assert len(dataset.features) == 20
    assert len({feature.name for feature in dataset.features}) == 20
    # rank order, and the rule of three answers of five
    assert [(feature.name, feature.role) for feature in dataset.features[:5]] == [
        ("n01440764/1697", "core"),
        ("n01440764/830", "core"),
        ("n01440764/11", "spurious"),
        ("n01440764/5", "spurious"),
        ("n01440764/42", "spurious"),
    ]
    assert {feature.role for feature in dataset.features if feature.classes == (2,)} == {"spurious"}
    assert dataset.fixed_crop_pct == 0.875
    assert dataset.splits == ()
    assert dataset.left_out == {}
    assert "12 core and 8 spurious pairs (4 background, 3 separate object, 1 ambiguous)." in dataset.notes
    assert "research use only" in (dataset.licence or "")


def test_images_are_unique_and_carry_the_masks_of_every_feature_that_names_them(salient: Path) -> None:
    dataset = opened(salient)
    tench = [row for row in dataset.images if row.label == 0]
    # five features of four images each, neighbours share two
    assert [row.id for row in tench] == [f"n01440764/n01440764_{10026 + number}.JPEG" for number in range(12)]
    masks = {row.id[-10:-5]: [(mask.feature, mask.role) for mask in row.masks] for row in tench}
    assert masks["10026"] == [("n01440764/1697", "core")]
    assert masks["10032"] == [("n01440764/11", "spurious"), ("n01440764/5", "spurious")]
    mask = tench[0].masks[0]
    assert (mask.frame, mask.path) == ("crop", "n01440764/feature_1697/n01440764_10026.JPEG")
    assert [row.label for row in dataset.images if row.has_core] == [0] * 6 + [1] * 12 + [3] * 12


def test_masks_lie_in_the_crop_and_scale_with_the_input(salient: Path) -> None:
    dataset = opened(salient)
    row = dataset.images[0]
    stored = np.asarray(Image.open(salient / RELEASE / row.masks[0].path))
    own = Geometry(height=224, width=224, crop_pct=1.0, crop_mode="squash", interpolation="bicubic")
    decoded = decode(dataset, row, own)
    assert np.array_equal(decoded.masks["n01440764/1697"], stored), "at 224 the published mask is used as it is"
    assert (stored[:20] > 0).mean() > 0.5, "the ground of a JPEG mask is not exactly 0"
    larger = decode(dataset, row, own.model_copy(update={"height": 299, "width": 299}))
    grown = larger.masks["n01440764/1697"].astype(float)
    assert grown.shape == (299, 299)
    assert grown.mean() == pytest.approx(stored.mean(), abs=1)
    y, x = (float((grown.sum(axis=axis) * np.arange(299)).sum() / grown.sum()) for axis in (1, 0))
    sy, sx = (float((stored.astype(float).sum(axis=axis) * np.arange(224)).sum() / stored.sum()) for axis in (1, 0))
    assert math.dist(((y + 0.5) / 299, (x + 0.5) / 299), ((sy + 0.5) / 224, (sx + 0.5) / 224)) < 0.5 / 224
    # the photo goes through resize 256 and centre crop 224, whatever the model's own fraction is
    photo = Image.open(salient / "ILSVRC2012" / "train" / row.path)
    size = resized_size(photo.size, own.model_copy(update={"crop_pct": 0.875, "crop_mode": "center"}))
    resized = np.asarray(photo.resize(size, Image.Resampling.BICUBIC))
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    assert np.array_equal(decoded.pixels, resized[top : top + 224, left : left + 224])


@pytest.mark.parametrize("top", [f"{RELEASE}/", "", "data/salient_imagenet_dataset/"])
def test_the_zip_is_read_in_place(salient: Path, top: str) -> None:
    unpacked = opened(salient)
    pixels = decode(unpacked, unpacked.images[5], Geometry(height=64, width=64, crop_pct=0.9))
    before = fingerprint(unpacked)
    pack(salient, top)
    packed = opened(salient)
    assert packed.images == unpacked.images
    assert fingerprint(packed) == before
    again = decode(packed, packed.images[5], Geometry(height=64, width=64, crop_pct=0.9))
    assert all(np.array_equal(again.masks[name], pixels.masks[name]) for name in pixels.masks)
    assert sorted(file.name for file in salient.iterdir()) == [
        "ILSVRC2012",
        "class_metadata.csv",
        "mturk_results",
        f"{RELEASE}.zip",
    ], "nothing is unpacked onto the disk"


def test_the_places_that_people_have(salient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = opened(salient).images
    # answers beside the release
    shutil.move(salient / "mturk_results" / "discover_spurious_features.csv", salient)
    (salient / "mturk_results").rmdir()
    assert opened(salient).images == expected
    # a bare train/ folder
    shutil.move(salient / "ILSVRC2012" / "train", salient / "train")
    assert opened(salient).images == expected
    # a clone of the authors' repository inside
    clone = salient / "salient_imagenet"
    (clone / "mturk_results").mkdir(parents=True)
    shutil.move(salient / "discover_spurious_features.csv", clone / "mturk_results")
    shutil.move(salient / "class_metadata.csv", clone)
    assert opened(salient).images == expected
    # ImageNet beside the dataset's folder, as Kaggle packs it
    kaggle = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    kaggle.mkdir(parents=True)
    shutil.move(salient / "train", kaggle)
    assert opened(salient).images == expected
    # ImageNet anywhere, named in the configuration
    shutil.move(tmp_path / "ILSVRC", tmp_path / "elsewhere")
    place = tmp_path / "elsewhere" / "Data" / "CLS-LOC"
    found = open_dataset("salient1m", locations={"salient1m": salient, "imagenet": place})
    assert found.images == expected
    # linked into the folder, opened by its path, and through the environment
    (salient / "train").symlink_to(place / "train")
    assert open_dataset(str(salient)).images == expected
    (tmp_path / "home").mkdir()
    shutil.copytree(clone, tmp_path / "home" / "salient_imagenet")
    shutil.copytree(salient / RELEASE, tmp_path / "home" / "salient1m" / RELEASE)
    shutil.copytree(place / "train", tmp_path / "home" / "imagenet" / "train")
    for home in (salient, salient.parent, tmp_path / "home"):
        monkeypatch.setenv("SPURAUDIT_DATA", str(home))
        assert open_dataset("salient1m").images == expected


def test_all_missing_parts_are_listed_at_once(salient: Path, tmp_path: Path) -> None:
    shutil.rmtree(salient / "ILSVRC2012")
    (salient / "class_metadata.csv").unlink()
    message = refused(salient, r"salient1m: 2 of 4 parts are not below").message
    assert "- classes: class_metadata.csv" in message
    assert "- photos: the train split of ILSVRC2012" in message
    assert "- masks" not in message
    assert "research use only" in message
    empty = tmp_path / "far" / "empty"
    empty.mkdir(parents=True)
    message = refused(empty, r"salient1m: 4 of 4 parts").message
    assert "singlasahil14/salient_imagenet" in message
    with pytest.raises(DataError, match=r"looked in nowhere: neither --data-dir nor SPURAUDIT_DATA is set") as caught:
        open_dataset("salient1m")
    assert "Nothing is downloaded" in (caught.value.hint or "")
    assert "discover_spurious_features.csv" in caught.value.message


def test_code_in_the_dict_is_never_run(salient: Path, tmp_path: Path) -> None:
    file = salient / RELEASE / "wordnet_dict.py"
    for text in (
        f"open({str(tmp_path / 'ran')!r}, 'w')",
        "{0: 'n01440764'",
        "[1, 2]",
        "{'0': 'n01440764'}",
        "{0: 'x'}",
        "{}",
    ):
        file.write_text(text)
        refused(salient, r"wordnet_dict\.py: not a")
    assert not (tmp_path / "ran").exists()


def test_a_few_missing_photos_are_counted_and_many_refused(salient: Path) -> None:
    photos = sorted((salient / "ILSVRC2012" / "train" / "n01440764").iterdir())
    photos[0].unlink()
    error = refused(salient, r"ImageNet train images: 1 of 48 missing")
    assert "n01440764_10026.JPEG" in error.message
    assert "1 %" in (error.hint or "")


def test_one_missing_photo_in_a_hundred_is_left_out(salient: Path, photo: object) -> None:
    release = salient / RELEASE / "n02012849"
    names = (release / "image_names_map.csv").read_text().splitlines()
    for number in range(60):
        names.append(",".join([f"n02012849_{number}"] * 5))
        photo(salient / "ILSVRC2012" / "train" / "n02012849" / f"n02012849_{number}.JPEG")
        for feature in (1697, 2, 3, 4, 6):
            nam = release / f"feature_{feature}" / "n02012849_10026.JPEG"
            source = nam if nam.exists() else next(nam.parent.iterdir())
            shutil.copy(source, nam.parent / f"n02012849_{number}.JPEG")
    (release / "image_names_map.csv").write_text("\n".join(names))
    assert len(opened(salient).images) == 108
    next((salient / "ILSVRC2012" / "train" / "n01440764").iterdir()).unlink()
    dataset = opened(salient)
    assert len(dataset.images) == 107
    assert dataset.left_out == {"images missing from the ImageNet train tree": 1}


def test_a_class_without_any_photo_is_refused(salient: Path) -> None:
    shutil.rmtree(salient / "ILSVRC2012" / "train" / "n03126707")
    refused(salient, r"ImageNet train images: 12 of 48 missing")


def test_a_missing_mask_is_refused(salient: Path) -> None:
    (salient / RELEASE / "n01440764" / "feature_830" / "n01440764_10029.JPEG").unlink()
    refused(salient, r"n01440764: masks: 1 of 20 missing:\n.*feature_830/n01440764_10029\.JPEG")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "mturk_results/discover_spurious_features.csv",
            "17,n01440764,0,1697,1,main_object",
            "",
            "has 4 answers instead of 5",
        ),
        (
            "mturk_results/discover_spurious_features.csv",
            "main_object,4.0",
            "Main object,4.0",
            "line 2: unknown answer",
        ),
        (
            "mturk_results/discover_spurious_features.csv",
            "n02493509,379",
            "n02493509,517",
            r"class 517 is n02493509 here",
        ),
        (
            "mturk_results/discover_spurious_features.csv",
            "Answer.main",
            "Answer",
            "line 1: column 'Answer.main' is miss",
        ),
        ("class_metadata.csv", '0,"tench, Tinca tinca",n01440764', "0,tench,n99999999", "class 0 is n99999999 here"),
        ("class_metadata.csv", "517,crane", "1,crane", r"no row for n03126707 \(1 in all\)"),
        (f"{RELEASE}/n01440764/image_names_map.csv", "1697", "1698", r"column '1697' is missing"),
        (f"{RELEASE}/n01440764/image_names_map.csv", "n01440764_10026", "../../x", r"masks: 1 of 20 missing"),
    ],
)
def test_damaged_tables_are_refused(salient: Path, file: str, old: str, new: str, message: str) -> None:
    path = salient / file
    text = path.read_text()
    assert old in text
    if new:
        path.write_text(text.replace(old, new))
    else:
        path.write_text("\n".join(line for number, line in enumerate(text.splitlines()) if number != 1))
    refused(salient, message)


def test_a_release_with_row_numbers_and_suffixes_is_read(salient: Path) -> None:
    # as pandas writes it back with its index
    file = salient / RELEASE / "n01440764" / "image_names_map.csv"
    header, *rows = file.read_text().splitlines()
    with_suffix = [f"{number},{row.replace(',', '.JPEG,')}.JPEG" for number, row in enumerate(rows)]
    before = opened(salient).images
    file.write_text("\n".join([f",{header}", *with_suffix]))
    assert opened(salient).images == before
