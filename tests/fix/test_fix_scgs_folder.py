"""The folder of generated images: whole, resumable, and refused where its index and files disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spuraudit.errors import DataError, RunError
from spuraudit.fix.scgs.composite import CompositeGenerator, Donor
from spuraudit.fix.scgs.folder import GeneratedFolder, open_folder, read_folder
from spuraudit.fix.scgs.generate import Drawn, Order, Scene

PLAN = {"generator": "composite", "threshold": 0.7, "seed": 0}
ORDERS = [Order(f"folder/{number} \u00e9\n.png", number % 2, "a/b, c", 5) for number in range(4)]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 20, 3)).astype(np.uint8)


class Drawer:
    """Draws real composites, and notes for which orders."""

    def __init__(self, masked: bool = True) -> None:
        core = np.zeros((16, 20), dtype=np.uint8)
        core[4:12, 5:14] = 255
        donor = Donor(noise(9), core if masked else None)
        self.generator = CompositeGenerator({0: ["donor"], 1: ["donor"]}, lambda _: donor)
        self.made: list[Order] = []

    def __call__(self, order: Order) -> tuple[Scene, Drawn]:
        self.made.append(order)
        keep = np.zeros((16, 20), dtype=bool)
        keep[:, :10] = True
        scene = Scene(order, noise(ORDERS.index(order)), keep)
        return scene, self.generator.draw(scene)


def filled(path: Path, orders: list[Order] = ORDERS, masked: bool = True) -> GeneratedFolder:
    folder, draw = open_folder(path, PLAN), Drawer(masked)
    for order in orders:
        folder.obtain(order, draw)
    return folder


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_images_and_rows_come_back(tmp_path: Path) -> None:
    rows = filled(tmp_path / "new").rows
    assert rows == read_folder(tmp_path / "new").rows
    assert [row.order for row in rows] == ORDERS
    draw = Drawer()
    for row in rows:
        scene, drawn = draw(row.order)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / row.file)), drawn.pixels)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / row.keep)) == 255, scene.keep)
        assert row.core is not None
        assert drawn.core is not None
        assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / row.core)), drawn.core)
        assert row.facts == dict(drawn.facts)
        assert (row.label, row.class_name, row.seed) == (row.order.label, "a/b, c", 5)
    lines = (tmp_path / "new" / "index.jsonl").read_text().splitlines()
    assert [json.loads(line)["source"] for line in lines] == [order.source for order in ORDERS]


def test_an_image_without_a_core_mask_has_none(tmp_path: Path) -> None:
    (row,) = filled(tmp_path, ORDERS[:1], masked=False).rows
    assert row.core is None
    assert not (tmp_path / "core").exists()
    assert read_folder(tmp_path).rows == (row,)


def test_whole_images_are_not_made_again(tmp_path: Path) -> None:
    filled(tmp_path / "once")
    filled(tmp_path / "twice", ORDERS[:2])
    folder, draw = open_folder(tmp_path / "twice", PLAN), Drawer()
    for order in ORDERS:
        folder.obtain(order, draw)
    assert draw.made == ORDERS[2:]
    assert folder.obtain(ORDERS[0], draw) == folder.rows[0]
    assert draw.made == ORDERS[2:]
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


@pytest.mark.parametrize("cut", ["half a line", "no line", "no newline"])
def test_a_killed_run_resumes_to_the_same_folder(tmp_path: Path, cut: str) -> None:
    filled(tmp_path / "whole")
    filled(tmp_path / "cut", ORDERS[:3])
    index = tmp_path / "cut" / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    last = {"half a line": lines[2][:40], "no line": b"", "no newline": lines[2][:-1]}[cut]
    index.write_bytes(b"".join(lines[:2]) + last)
    (tmp_path / "cut" / "images" / ".x.png.123.tmp").write_bytes(b"half")
    assert len(read_folder(tmp_path / "cut").rows) == 2
    folder, draw = open_folder(tmp_path / "cut", PLAN), Drawer()
    for order in ORDERS:
        folder.obtain(order, draw)
    assert draw.made == ORDERS[2:]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_seeds_labels_and_names_make_different_images(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, PLAN)
    orders = [Order("s", 0, "a", 0), Order("s", 0, "a", 1), Order("s", 1, "a", 0), Order("t", 0, "a", 0)]
    keep = np.zeros((16, 20), dtype=bool)
    for order in orders:
        folder.obtain(order, lambda order: (Scene(order, noise(0), keep), Drawn(noise(order.seed))))
    assert len({row.file for row in folder.rows}) == 4
    assert [row.order for row in read_folder(tmp_path).rows] == orders


def test_a_failure_while_drawing_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = filled(tmp_path, ORDERS[:1])
    before = contents(tmp_path)

    def broken(order: Order) -> tuple[Scene, Drawn]:
        raise DataError("no donor")

    with pytest.raises(DataError, match="no donor"):
        folder.obtain(ORDERS[1], broken)
    assert contents(tmp_path) == before
    with pytest.raises(DataError, match="another scene"):
        folder.obtain(ORDERS[1], lambda _: Drawer()(ORDERS[2]))
    assert contents(tmp_path) == before


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert open_folder(tmp_path / "new", PLAN).rows == ()
    assert read_folder(tmp_path / "new").rows == ()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no generated images here"):
        read_folder(tmp_path / "absent")
    filled(tmp_path / "new", ORDERS[:1])
    with pytest.raises(RunError, match="generated in another way"):
        open_folder(tmp_path / "new", {**PLAN, "seed": 1})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(b"x")
    with pytest.raises(RunError, match="holds other files"):
        open_folder(tmp_path / "photos", PLAN)
    assert contents(tmp_path / "photos") == {"mine.png": b"x"}


def _edited(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        index = path / "index.jsonl"
        first, *others = index.read_text().splitlines()
        row = json.loads(first)
        change(row)
        index.write_text("\n".join([json.dumps(row), *others, ""]))

    return edit


def _first(path: Path, kind: str) -> Path:
    return path / json.loads((path / "index.jsonl").read_text().splitlines()[0])[kind]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: _first(path, "file").unlink(), r"images/.*png is missing"),
        (lambda path: _first(path, "keep").unlink(), r"keep/.*png is missing"),
        (lambda path: _first(path, "core").write_bytes(b""), r"core/.*png is not the file that was written"),
        (lambda path: _first(path, "file").write_bytes(_first(path, "keep").read_bytes()), "is not the file"),
        (_edited(lambda row: row.update(label="cat")), "not a generated image: label"),
        (_edited(lambda row: row.pop("seed")), "not a generated image: seed"),
        (_edited(lambda row: row.update(extra=1)), "not a generated image: extra"),
        (_edited(lambda row: row.update(file="../../secret.png")), "climbs out of the root"),
        (_edited(lambda row: row.update(keep="/etc/hostname")), "is absolute"),
        (_edited(lambda row: row.update(sha256={})), "is not the file"),
        (lambda path: (path / "index.jsonl").write_bytes(b"\xff\xfe\n"), "not a generated image"),
        (lambda path: (path / "index.jsonl").write_bytes(b"\n"), "not a generated image"),
        (
            lambda path: (path / "index.jsonl").write_bytes((path / "index.jsonl").read_bytes() * 2),
            "line 3: the same image as an earlier line",
        ),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    filled(tmp_path, ORDERS[:2])
    spoil(tmp_path)
    with pytest.raises(RunError, match=rf"index.jsonl, line \d: .*{says}|index.jsonl, {says}") as caught:
        read_folder(tmp_path)
    assert caught.value.hint
    with pytest.raises(RunError):
        open_folder(tmp_path, PLAN)
