from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from spuraudit.data import open_dataset
from spuraudit.data.check import check
from spuraudit.errors import DataError


def test_a_sound_dataset(waterbirds: Path, mask: object) -> None:
    for photo in sorted(waterbirds.glob("0*/*.jpg")):
        mask(waterbirds / "segmentations" / photo.relative_to(waterbirds).with_suffix(".png"))
    seen: list[tuple[int, int]] = []
    report = check(open_dataset(str(waterbirds)), lambda done, total: seen.append((done, total)))
    assert seen == [(number, 5) for number in range(1, 6)]
    assert (report.images, report.masks) == (5, 5)
    assert report.per_class == {"landbird": 3, "waterbird": 2}
    assert report.per_split == {"test": 1, "train": 3, "val": 1}
    assert report.per_group == {"landbird/land": 1, "landbird/water": 2, "waterbird/land": 1, "waterbird/water": 1}
    assert report.problems == ()
    assert report.warnings == ()
    (bird,) = report.features
    assert (bird.masks, bird.empty, bird.looks_inverted) == (5, 0, False)
    assert bird.coverage == pytest.approx(20 * 15 / (40 * 30))


def test_all_problems_are_found_not_only_the_first(beetles: Path) -> None:
    dataset = open_dataset(str(beetles))
    photo = beetles / "images" / "dung" / "000.jpg"
    photo.write_bytes(photo.read_bytes()[:-200])
    (beetles / "images" / "ladybird" / "000.jpg").write_bytes(b"")
    Image.new("L", (3, 3)).save(beetles / "masks" / "ladybird" / "001.png")
    (beetles / "masks" / "ladybird" / "002.png").unlink()
    report = check(dataset)
    assert [problem.image for problem in report.problems] == [
        "dung/000.jpg",
        "ladybird/000.jpg",
        "ladybird/001.jpg",
        "ladybird/002.jpg",
    ]
    for problem, words in zip(report.problems, ("cut off", "is empty", "3 x 3", "cannot be read"), strict=True):
        assert words in problem.message
        assert problem.hint
    assert report.features[0].masks == 2


def test_inverted_and_empty_masks_and_copies_are_pointed_out(beetles: Path, mask: object) -> None:
    shutil.copy(beetles / "images" / "dung" / "000.jpg", beetles / "images" / "ladybird")
    for split in ("train", "test"):
        shutil.copytree(beetles / "images", beetles / "by_split" / split)
    text = (
        (beetles / "dataset.yaml")
        .read_text()
        .replace("folder: images\n", "folder: by_split\n  splits: [train, test]\n")
    )
    (beetles / "dataset.yaml").write_text(text)
    for number, box in enumerate([(0, 0, 40, 30), (0, 0, 40, 29), (0, 0, 39, 30)]):
        mask(beetles / "masks" / "dung" / f"{number:03}.png", box=box)
        mask(beetles / "masks" / "ladybird" / f"{number:03}.png", box=(0, 0, 40, 30))
    report = check(open_dataset(str(beetles)))
    assert report.problems == ()
    assert report.features[0].looks_inverted
    assert any("inverted" in warning for warning in report.warnings)
    assert any("5 photos are in more than one split" in warning for warning in report.warnings)
    assert any("1 photos have more than one class" in warning for warning in report.warnings)
    mask(beetles / "masks" / "dung" / "001.png", box=(0, 0, 0, 0))
    report = check(open_dataset(str(beetles)))
    assert report.features[0].empty == 2
    assert any("2 of 12 masks are empty" in warning for warning in report.warnings)


def test_masks_in_a_crop_are_checked_in_their_own_size(salient: Path) -> None:
    report = check(open_dataset(str(salient)))
    assert report.problems == ()
    assert (report.images, report.masks) == (48, 80)
    assert len(report.features) == 20
    assert all(feature.masks == 4 for feature in report.features)


def spuraudit_data(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = "from spuraudit.cli.data import app; app()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=cwd
    )


def test_check_prints_counts_on_stdout_and_the_rest_on_stderr(beetles: Path) -> None:
    done = spuraudit_data("check", str(beetles))
    assert done.returncode == 0, done.stderr
    assert "beetles: 6 images, 6 masks (manifest)" in done.stdout
    assert "dung beetle" in done.stdout
    assert "25.0%" in done.stdout
    assert "Every photo and mask can be read." in done.stderr
    assert "\x1b" not in done.stderr, "no bar without a terminal"
    assert spuraudit_data("check", "--quiet", str(beetles)).stderr == ""


def test_check_finds_names_of_the_configuration(beetles: Path, tmp_path: Path) -> None:
    (tmp_path / ".spuraudit.yaml").write_text(f"version: 1\nlocations: {{mine: {beetles}}}\n")
    assert "beetles: 6 images" in spuraudit_data("check", "mine", cwd=tmp_path).stdout


def test_check_lists_problems_and_raises(beetles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from spuraudit.cli.data import app

    Image.new("L", (3, 3)).save(beetles / "masks" / "ladybird" / "001.png")
    result = CliRunner().invoke(app, ["check", str(beetles)])
    assert isinstance(result.exception, DataError)
    assert "1 files of 1 images cannot be used" in result.exception.message
    assert result.exception.exit_code == 2
    assert "001.png: the mask has 3 x 3 pixels, its photo has 40 x 30" in result.stderr
    assert "ladybird" in result.stdout


def test_list_says_what_each_dataset_needs_and_where_it_was_looked_for(
    salient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = spuraudit_data("list")
    assert listed.returncode == 0, listed.stderr
    for words in ("salient1m", "waterbirds", "discover_spurious_features.csv", "SPURAUDIT_DATA is not set", "research"):
        assert words in listed.stdout
    monkeypatch.setenv("SPURAUDIT_DATA", str(salient.parent))
    assert f"found   {salient}" in spuraudit_data("list").stdout


def test_the_room_of_data_needs_no_torch() -> None:
    program = (
        "import sys, spuraudit.data.check, spuraudit.data.decode, spuraudit.data.fingerprint, spuraudit.cli.data\n"
        "print([name for name in ('torch', 'timm', 'torchvision', 'plotly', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
    light = (
        "import sys, spuraudit.cli.data; print([n for n in ('numpy', 'PIL', 'yaml', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
