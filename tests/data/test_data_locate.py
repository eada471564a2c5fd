from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spuraudit.data import open_dataset
from spuraudit.data.fingerprint import fingerprint
from spuraudit.errors import DataError, UsageError


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"salient1n: neither a folder .* Did you mean 'salient1m'\?") as caught:
        open_dataset("salient1n")
    assert "salient1m, waterbirds" in (caught.value.hint or "")


def test_a_folder_that_is_no_dataset_says_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither a dataset\.yaml nor the files of a known layout") as caught:
        open_dataset(str(tmp_path))
    assert "docs/datasets.md" in (caught.value.hint or "")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"photo\.jpg: not a dataset"):
        open_dataset(str(tmp_path / "photo.jpg"))


def test_the_configuration_may_name_any_folder(beetles: Path, waterbirds: Path, tmp_path: Path) -> None:
    locations = {"mine": beetles, "birds": str(waterbirds), "gone": tmp_path / "gone", "plain": tmp_path}
    assert open_dataset("mine", locations=locations).name == "beetles"
    assert open_dataset("birds", locations=locations).layout == "waterbirds"
    with pytest.raises(DataError, match=r"gone: the configuration places it in"):
        open_dataset("gone", locations=locations)
    with pytest.raises(DataError, match=r"plain: .*neither a dataset\.yaml"):
        open_dataset("plain", locations=locations)
    with pytest.raises(DataError, match="Did you mean 'mine'"):
        open_dataset("mien", locations=locations)


def test_the_order_in_which_a_name_is_looked_for(
    waterbirds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {}
    for name in ("flag", "config", "environment"):
        places[name] = shutil.copytree(waterbirds, tmp_path / name / "waterbirds")
    monkeypatch.setenv("SPURAUDIT_DATA", str(tmp_path / "environment"))
    locations = {"waterbirds": places["config"]}

    def where(**options: object) -> Path:
        return open_dataset("waterbirds", **options).sources["root"].root

    assert where(data_dir=tmp_path / "flag", locations=locations) == places["flag"]
    assert where(locations=locations) == places["config"]
    assert where() == places["environment"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no metadata\.csv"):
        open_dataset("waterbirds", data_dir=tmp_path / "empty", locations=locations)


def test_a_folder_that_has_a_layout_needs_no_data_dir(waterbirds: Path, beetles: Path) -> None:
    with pytest.raises(UsageError, match="is a waterbirds folder already"):
        open_dataset(str(waterbirds), data_dir=beetles)


def test_the_fingerprint_is_the_same_in_any_folder_and_order(beetles: Path, tmp_path: Path) -> None:
    first = fingerprint(open_dataset(str(beetles)))
    assert len(first) == 64
    moved = shutil.copytree(beetles, tmp_path / "moved")
    (moved / "dataset.yaml").write_text((moved / "dataset.yaml").read_text().replace("name: beetles", "name: other"))
    assert fingerprint(open_dataset(str(moved))) == first
    names = [f"{folder}/{number:03}.jpg,{folder}\n" for number in (2, 0, 1) for folder in ("ladybird", "dung")]
    (moved / "images.csv").write_text("image,class\n" + "".join(names))
    text = (moved / "dataset.yaml").read_text().replace("folder: images\n", "folder: images\n  list: images.csv\n")
    (moved / "dataset.yaml").write_text(text)
    listed = open_dataset(str(moved))
    assert listed.images[0].id == "ladybird/002.jpg"
    assert fingerprint(listed) == first


def test_the_fingerprint_is_fixed(waterbirds: Path) -> None:
    for photo in waterbirds.glob("0*/*.jpg"):
        photo.write_bytes(b"x" * 100)  # sizes of encoded photos differ between versions of the codec
    found = fingerprint(open_dataset(str(waterbirds)))
    assert found == "aa87b9eab9b74fc65cb0b30ad88179cfc672478190525969939fad9f5a5826f3"


@pytest.mark.parametrize("change", ["outputs", "class name", "role", "mask", "photo", "fewer", "group", "feature"])
def test_the_fingerprint_notices_changes(beetles: Path, change: str) -> None:
    (beetles / "images.csv").write_text("image,class,group\ndung/000.jpg,dung,a\nladybird/000.jpg,ladybird,b\n")
    file = beetles / "dataset.yaml"
    file.write_text(file.read_text().replace("folder: images\n", "folder: images\n  list: images.csv\n"))
    before = fingerprint(open_dataset(str(beetles)))

    def replace(where: Path, old: str, new: str) -> None:
        assert old in where.read_text()
        where.write_text(where.read_text().replace(old, new))

    if change == "outputs":
        replace(file, "[305]", "[306]")
    elif change == "class name":
        replace(file, "dung beetle", "scarab")
    elif change == "role":
        replace(file, "role: core", "role: spurious")
    elif change == "feature":
        replace(file, "name: beetle\n", "name: insect\n")
    elif change == "group":
        replace(beetles / "images.csv", "dung,a", "dung,b")
    elif change == "fewer":
        (beetles / "images.csv").write_text("image,class,group\ndung/000.jpg,dung,a\nladybird/001.jpg,ladybird,b\n")
    else:
        path = beetles / ("masks/dung/000.png" if change == "mask" else "images/dung/000.jpg")
        path.write_bytes(path.read_bytes() + b"x")
    assert fingerprint(open_dataset(str(beetles))) != before
