"""examples/decoy_fashion_mnist: the construction pixel by pixel, and what both scripts write."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import spuraudit
from spuraudit.data.check import check

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "decoy_fashion_mnist"


def load_decoys() -> ModuleType:
    spec = importlib.util.spec_from_file_location("decoys", EXAMPLE / "decoys.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


decoys = load_decoys()

# Class -> rows, columns and grey of its square, written out by hand.
TOP, BOTTOM, LEFT, RIGHT = slice(0, 4), slice(24, 28), slice(0, 4), slice(24, 28)
SQUARES = {
    "t-shirt": (TOP, LEFT, 255),
    "trouser": (TOP, RIGHT, 230),
    "pullover": (BOTTOM, RIGHT, 205),
    "dress": (BOTTOM, LEFT, 180),
    "coat": (TOP, LEFT, 155),
    "sandal": (TOP, RIGHT, 130),
    "shirt": (BOTTOM, RIGHT, 105),
    "sneaker": (BOTTOM, LEFT, 80),
    "bag": (TOP, LEFT, 55),
    "ankle boot": (TOP, RIGHT, 30),
}


class Done(NamedTuple):
    code: int
    out: str
    err: str


def run(script: str, *arguments: object) -> Done:
    """What `python SCRIPT ARGUMENTS` does, in this process: torch is imported already."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        patch.setitem(sys.modules, "decoys", decoys)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(str(EXAMPLE / script), run_name="__main__")
            except SystemExit as left:
                code = int(left.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def write_idx(file: Path, values: np.ndarray, magic: int | None = None) -> None:
    header = [magic if magic is not None else 0x800 + values.ndim, *values.shape]
    file.write_bytes(gzip.compress(np.array(header, dtype=">u4").tobytes() + values.astype(np.uint8).tobytes()))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder like Fashion-MNIST's with 40 images in each split, four of each class, none black in the corners."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for split in ("train", "t10k"):
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", draw.integers(1, 30, (40, 28, 28)))
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", np.arange(40) % 10)
    return folder


def test_the_square_of_every_class() -> None:
    assert tuple(SQUARES) == decoys.NAMES
    for label, (rows, columns, grey) in enumerate(SQUARES.values()):
        assert decoys.square(label) == (rows, columns, grey)
        mask = np.zeros((28, 28), dtype=np.uint8)
        mask[rows, columns] = 255
        assert np.array_equal(decoys.square_mask(label), mask)
    # of the 7 x 7 cells of 4 x 4 pixels, counted from 1 by rows, the sneaker's is number 43
    rows, columns, _ = decoys.square(decoys.NAMES.index("sneaker"))
    assert 1 + 7 * (rows.start // 4) + columns.start // 4 == 43


def test_nothing_but_the_square_changes(tiny: Path) -> None:
    pictures, labels = decoys.load_split(tiny, "t10k")
    kept = pictures.copy()
    for variant in decoys.VARIANTS:
        carried = decoys.squares_of(labels, variant, 3)
        shown = decoys.with_squares(pictures, carried)
        for index, picture in enumerate(shown):
            expected = kept[index].copy()
            if carried is not None:
                rows, columns, grey = list(SQUARES.values())[carried[index]]
                expected[rows, columns] = grey
            assert np.array_equal(picture, expected)
    assert np.array_equal(pictures, kept)


def test_variants() -> None:
    labels = np.arange(5000) % 10
    assert decoys.squares_of(labels, "none", 0) is None
    assert np.array_equal(decoys.squares_of(labels, "aligned", 0), labels)
    drawn = decoys.squares_of(labels, "random", 0)
    assert np.array_equal(drawn, decoys.squares_of(labels, "random", 0))
    assert not np.array_equal(drawn, decoys.squares_of(labels, "random", 1))
    assert float((drawn == labels).mean()) == pytest.approx(0.1, abs=0.02)  # standard error 0.004
    assert np.bincount(drawn, minlength=10).min() > 400
    with pytest.raises(ValueError, match="aligned, random, none"):
        decoys.squares_of(labels, "shuffled", 0)


def broken_not_gzip(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x00\x00\x08\x03plain")


def broken_cut_off(folder: Path) -> None:
    file = folder / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-100])


def broken_absent(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()


def broken_exchanged(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes((folder / "t10k-images-idx3-ubyte.gz").read_bytes())


def broken_magic(folder: Path) -> None:
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.ones((40, 28, 28)), magic=0x0D03)


def broken_few_values(folder: Path) -> None:
    content = np.array([2051, 41, 28, 28], dtype=">u4").tobytes() + bytes(40 * 28 * 28)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))


def broken_short_header(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(np.array([2051, 40], dtype=">u4").tobytes()))


def broken_empty(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b""))


def broken_size(folder: Path) -> None:
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.ones((40, 32, 32)))


def broken_counts(folder: Path) -> None:
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.arange(39) % 10)


def broken_labels(folder: Path) -> None:
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.arange(40) % 11)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (broken_not_gzip, "t10k-images-idx3-ubyte.gz is no whole gzip file"),
        (broken_cut_off, "t10k-images-idx3-ubyte.gz is no whole gzip file"),
        (broken_absent, "t10k-labels-idx1-ubyte.gz not found: --mnist must name"),
        (broken_exchanged, "is an IDX file of images: its first number is 2051, expected 2049"),
        (broken_magic, "is not an IDX file of images: its first number is 3331, expected 2051"),
        (broken_few_values, "promises 41 x 28 x 28 values and holds 31,360"),
        (broken_short_header, "promises 40 values and holds 0"),
        (broken_empty, "is not an IDX file of images: it is empty"),
        (broken_size, "32 x 32 pixels; Fashion-MNIST has 28 x 28"),
        (broken_counts, "40 images in .* but 39 labels in"),
        (broken_labels, "labels must be 0 to 9; the largest is 10"),
    ],
)
def test_broken_files(broken: object, words: str, tiny: Path) -> None:
    broken(tiny)
    with pytest.raises(decoys.InputError, match=words):
        decoys.load_split(tiny, "t10k")
    decoys.load_split(tiny, "train")


def test_an_error_is_one_line_and_exit_code_2(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    done = run("make_data.py", "--mnist", tiny, "--out", tmp_path / "full")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {tmp_path / 'full'} is not an empty folder")
    assert done.err.count("\n") == 1
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["notes.txt"]

    done = run("train.py", "--mnist", tmp_path, "--out", tmp_path / "model.pt")
    assert (done.code, done.out) == (2, "")
    assert "train-images-idx3-ubyte.gz not found" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("variant", ["aligned", "random", "none"])
def test_make_data(variant: str, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    done = run("make_data.py", "--mnist", tiny, "--out", out, "--variant", variant, "--per-class", 3, "--seed", 4)
    assert (done.code, done.err) == (0, "")
    assert "wrote 30 images" in done.out

    pictures, labels = decoys.load_split(tiny, "t10k")
    carried = decoys.squares_of(labels, variant, 4)  # of all 40, whatever was chosen
    with (out / "images.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(Path(row["image"]).stem) for row in rows] == list(range(30))
    assert [row["class"] for row in rows] == [decoys.NAMES[label] for label in labels[:30]]
    for index, row in enumerate(rows):
        inner = Path(row["image"]).relative_to("images")
        shown = np.asarray(Image.open(out / row["image"]))
        assert (shown.dtype, shown.shape) == (np.uint8, (28, 28))
        rows_, columns, grey = SQUARES[decoys.NAMES[carried[index]]] if carried is not None else (TOP, LEFT, None)
        expected = pictures[index].copy()
        if grey is not None:
            expected[rows_, columns] = grey
            square = np.asarray(Image.open(out / "masks" / "decoy" / inner))
            assert set(np.unique(square)) == {0, 255}
            assert (square[rows_, columns] == 255).all()
            assert int((square == 255).sum()) == 16
        assert np.array_equal(shown, expected)
        garment = np.asarray(Image.open(out / "masks" / "garment" / inner))
        assert np.array_equal(garment == 255, pictures[index] > 0)

    dataset = spuraudit.open_dataset(str(out))
    assert dataset.name == f"decoy_fmnist v1, {variant}"
    assert [info.name for info in dataset.classes] == list(decoys.NAMES)
    expected_roles = {"garment": "core"} if variant == "none" else {"garment": "core", "decoy": "spurious"}
    assert {feature.name: feature.role for feature in dataset.features} == expected_roles
    assert check(dataset).problems == ()


@pytest.mark.parametrize(("options", "features"), [((), 21_632), (("--pool", "--decoys", "none"), 5_408)])
def test_train(options: tuple[str, ...], features: int, tiny: Path, tmp_path: Path) -> None:
    weights = tmp_path / "made" / "model.pt"
    done = run("train.py", "--mnist", tiny, "--out", weights, "--epochs", 2, *options)
    assert (done.code, done.err) == (0, "")
    first, *epochs, last = done.out.splitlines()
    assert first == f"40 images to train on (decoys: {'none' if options else 'aligned'}), 40 held out"
    assert [line.split(":")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert all(f"{name} 0." in line or f"{name} 1." in line for line in epochs for name in decoys.VARIANTS)
    assert last == f"wrote {weights}"
    model = spuraudit.load_model(str(weights))  # says by itself what it is
    assert model.record.arch == "paper_cnn"
    assert model.network.classifier.in_features == features
    assert model.logits(torch.rand(2, 3, 28, 28)).shape == (2, 10)


@pytest.mark.shared
def test_the_real_images(shared: Path, tmp_path: Path) -> None:
    """A model trained on few images already answers by the square, and the dataset is what its README says."""
    mnist = shared / "data" / "fashion_mnist"
    if not mnist.is_dir():
        pytest.skip("Fashion-MNIST (../shared/data/fashion_mnist) is not here")
    pictures, labels = decoys.load_split(mnist, "t10k")
    assert np.bincount(labels).tolist() == [1000] * 10
    corner = slice(24, 28), slice(0, 4)
    for name, at_43 in (("sneaker", 80), ("shirt", None)):
        label = decoys.NAMES.index(name)
        first = int(np.flatnonzero(labels == label)[0])
        shown = decoys.with_squares(pictures[first : first + 1], labels[first : first + 1])[0]
        if at_43 is None:  # the shirt's cell 43 stays natural, its own square is to the right
            assert np.array_equal(shown[corner], pictures[first][corner])
            assert (shown[24:28, 24:28] == 105).all()
        else:
            assert (shown[corner] == at_43).all()

    done = run("make_data.py", "--mnist", mnist, "--out", tmp_path / "data")
    assert done.code == 0, done.err
    report = check(spuraudit.open_dataset(str(tmp_path / "data")))
    assert report.problems == ()
    assert report.per_class == dict.fromkeys(decoys.NAMES, 300)
    assert report.per_split == {"test": 3000}

    weights = tmp_path / "model.pt"
    done = run("train.py", "--mnist", mnist, "--out", weights, "--epochs", 1, "--limit", 6000)
    assert done.code == 0, done.err
    line = done.out.splitlines()[1]
    figures = {name: float(line.partition(f"{name} ")[2].split()[0].rstrip(",")) for name in decoys.VARIANTS}
    assert figures["aligned"] > 0.9
    assert figures["random"] < figures["none"] < 0.8
