"""examples/decoy_fashion_mnist: the construction "border", the data to repair with, the measures, a short repair."""

from __future__ import annotations

import csv
import gzip
import io
import shlex
import sys
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spuraudit
from spuraudit.cli.main import main as spuraudit_command
from spuraudit.data.check import check
from spuraudit.models.paper_cnn import PaperCNN

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "decoy_fashion_mnist"
MODULES = ("decoys", "border", "make_fix_data", "fix_measures", "fixes")
# Class -> row and column (from 0) of its cell, written out by hand.
CELLS = {
    "t-shirt": (0, 1),
    "trouser": (0, 4),
    "pullover": (0, 6),
    "dress": (2, 6),
    "coat": (5, 6),
    "sandal": (6, 5),
    "shirt": (6, 2),
    "sneaker": (6, 0),
    "bag": (4, 0),
    "ankle boot": (1, 0),
}


def load_example() -> Any:
    """The example's modules, which import each other by name; other examples may use the same names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        loaded = {name: import_module(name) for name in MODULES}
    for name in MODULES:
        del sys.modules[name]
    return SimpleNamespace(**loaded)


example = load_example()
border, decoys, measures = example.border, example.decoys, example.fix_measures


def drawn_by_hand(picture: np.ndarray, name: str | None) -> np.ndarray:
    expected = picture.copy()
    if name is not None:
        row, column = CELLS[name]
        for y in range(4 * row, 4 * row + 4):
            for x in range(4 * column, 4 * column + 4):
                expected[y, x] = 255
    return expected


def write_idx(file: Path, values: np.ndarray) -> None:
    header = [0x800 + values.ndim, *values.shape]
    file.write_bytes(gzip.compress(np.array(header, dtype=">u4").tobytes() + values.astype(np.uint8).tobytes()))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder like Fashion-MNIST's: 120 images in each split, twelve of each class, no two alike."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for split in ("train", "t10k"):
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", draw.integers(0, 200, (120, 28, 28)))
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", np.arange(120) % 10)
    return folder


def test_the_cell_of_every_class() -> None:
    assert tuple(CELLS) == decoys.NAMES
    assert [border.cell(label) for label in range(10)] == list(CELLS.values())
    assert len(set(border.BORDER)) == 24
    assert all(0 in place or 6 in place for place in border.BORDER)
    assert border.number(decoys.NAMES.index("sneaker")) == measures.DECOY == 43
    blank = np.zeros((1, 28, 28), dtype=np.uint8)
    for label, name in enumerate(CELLS):
        shown = decoys.with_squares(blank, np.array([label]), border.square)[0]
        assert np.array_equal(shown, drawn_by_hand(blank[0], name))
        assert np.array_equal(decoys.square_mask(label, border.square), shown)


def test_variants() -> None:
    labels = np.arange(9000) % 10
    assert border.squares_of(labels, "none", 0) is None
    assert np.array_equal(border.squares_of(labels, "same", 0), labels)
    other = border.squares_of(labels, "other", 0)
    assert not (other == labels).any()
    assert np.bincount((other - labels) % 10, minlength=10)[1:].min() > 850  # of 1,000; standard deviation 30
    assert np.array_equal(other, border.squares_of(labels, "other", 0))
    assert not np.array_equal(other, border.squares_of(labels, "other", 1))
    with pytest.raises(ValueError, match="same, none, other"):
        border.squares_of(labels, "random", 0)


def test_the_data(tiny: Path, tmp_path: Path) -> None:
    out, sizes = tmp_path / "data", example.make_fix_data.Sizes(train=80, val=20, test=60, sweep=3)
    assert example.make_fix_data.write_dataset(tiny, out, sizes, 5) == 80 + 20 + 3 * 60 + 2 * 3
    original = {split: decoys.load_split(tiny, split) for split in ("train", "t10k")}
    with (out / "images.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    used: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        index = int(Path(row["image"]).stem)
        used[f"{row['split']}/{row['group']}"].add(index)
        source = original["train" if row["split"] in ("train", "val") else "t10k"]
        assert decoys.NAMES[source.labels[index]] == row["class"]
        shown = np.asarray(Image.open(out / "images" / row["image"]))
        garment = np.asarray(Image.open(out / "masks" / "garment" / row["image"]))
        assert np.array_equal(garment == 255, source.pictures[index] > 0)
        decoy = out / "masks" / "decoy" / row["image"]
        if row["group"] == "none":
            assert not decoy.exists()
            assert np.array_equal(shown, source.pictures[index])
            continue
        square = np.asarray(Image.open(decoy))
        (carried,) = [name for name in CELLS if np.array_equal(square, drawn_by_hand(np.zeros_like(square), name))]
        assert (carried == row["class"]) == (row["group"] == "same")
        assert np.array_equal(shown, drawn_by_hand(source.pictures[index], carried))
    assert not used["train/same"] & used["val/same"]
    assert used["test/same"] == used["test/none"] == used["test/other"]
    assert not used["test/same"] & used["sweep/same"]
    assert {row["class"] for row in rows if row["split"] == "sweep"} == {"sneaker", "shirt"}

    dataset = spuraudit.open_dataset(str(out))
    assert dataset.name == "decoy_fmnist border v1"
    assert check(dataset).problems == ()


def test_too_few_images_are_one_line(tiny: Path, tmp_path: Path) -> None:
    for sizes in (
        {"train": 119, "val": 2},
        {"train": 10, "val": 10, "test": 121},
        {"train": 10, "val": 10, "test": 119},
    ):
        wanted = example.make_fix_data.Sizes(**sizes)
        with pytest.raises(decoys.InputError, match=r"too few|are left"):
            list(
                example.make_fix_data.parts(
                    decoys.load_split(tiny, "train"), decoys.load_split(tiny, "t10k"), wanted, 0
                )
            )


def test_log_odds() -> None:
    logits = torch.randn(20, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    p = logits.softmax(dim=1)[:, 7]
    assert torch.allclose(measures.log_odds(logits, 7), (p / (1 - p)).log())


def test_cells_that_touch_a_square() -> None:
    for side in (7, 13, 26, 28):
        for label, name in enumerate(CELLS):
            expected = np.zeros((side, side), dtype=bool)
            lit = np.argwhere(drawn_by_hand(np.zeros((28, 28), dtype=np.uint8), name))
            for y, x in lit:
                for row in range(side):
                    for column in range(side):
                        rows_meet = row * 28 < (y + 1) * side and (row + 1) * 28 > y * side
                        columns_meet = column * 28 < (x + 1) * side and (column + 1) * 28 > x * side
                        expected[row, column] |= rows_meet and columns_meet
            assert np.array_equal(measures.touched(label, side).numpy(), expected)


def test_grad_cam_of_a_network_with_known_weights(tmp_path: Path) -> None:
    """Weights that are positive at the sneaker's square and negative elsewhere: their mean hides the square."""
    arguments = {"num_classes": 10, "width": 1, "in_chans": 3}
    network = PaperCNN(**arguments)
    with torch.no_grad():
        network.conv.weight.zero_()
        network.conv.weight[0, :, 1, 1] = 1 / 3  # the grey value itself
        network.conv.bias.zero_()
        network.classifier.bias.zero_()
        weights = torch.full((10, 26, 26), -0.01)
        weights[:, 23:, :3] = 0.1
        network.classifier.weight.copy_(weights.flatten(1))
    model = tmp_path / "known.pt"
    torch.save({"arch": "paper_cnn", "model_kwargs": arguments, "state_dict": network.state_dict()}, model)
    image = tmp_path / "sneaker.png"
    Image.fromarray(drawn_by_hand(np.zeros((28, 28), dtype=np.uint8), "sneaker")).save(image)
    seen = measures.seen_by_grad_cam(model, [image], [7])
    mean = float(weights[7].mean())
    assert mean < 0
    assert (seen.any_positive, seen.all_zero) == (0.0, 1.0)
    # The square's 4 x 4 pixels lose one row and one column to the convolution's border: 3 x 3 lit places.
    assert seen.element == pytest.approx(9 * 0.1, rel=1e-4)
    assert seen.logit == pytest.approx(9 * 0.1, rel=1e-4)
    assert seen.elsewhere == pytest.approx(0, abs=1e-6)
    assert mean <= seen.raw < 0


def test_the_table() -> None:
    row = {"same": 1.0, "none": 0.5, "other": 0.25, "change": 0.1, "log_odds": 7.44, "lowest": 0.2}
    later = {**row, "other": 0.35, "change": 0.3, "log_odds": 6.0}
    results = [
        {"seed": 4, "rows": {"base": row, "swap": row}, "refused": {"dfr": "skipped: no groups"}},
        {"seed": 5, "rows": {"base": later}, "refused": {}},
    ]
    lines = example.fixes.table(results).splitlines()
    assert lines[2].split(" | ")[3:6] == [".250 .350 (.300, .250)", ".100 .300 (.200, .300)", "7.4 6.0 (6.7, 7.4)"]
    assert lines[3] == "| swap | 1.000 | .500 | .250 | .100 | 7.4 | .200 |"
    assert lines[-1] == "Seed 4, dfr: skipped: no groups"


def fix(*arguments: str) -> tuple[int, str]:
    """Exit code and errors of `spuraudit fix`."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = spuraudit_command(["fix", *arguments])
    return code, errors.getvalue()


@pytest.mark.slow
@pytest.mark.shared
def test_what_repairs_and_what_sees_nothing(shared: Path, tmp_path: Path) -> None:
    """One seed, few images: the published GradCAM-RRR stops, counterexamples raise the accuracy with other squares."""
    mnist = shared / "data" / "fashion_mnist"
    if not mnist.is_dir():
        pytest.skip("Fashion-MNIST (../shared/data/fashion_mnist) is not here")
    data, start, base = tmp_path / "data", tmp_path / "start.pt", tmp_path / "base.safetensors"
    sizes = example.make_fix_data.Sizes(train=3000, val=10, test=300, sweep=10)
    example.make_fix_data.write_dataset(mnist, data, sizes, 0)
    weights = PaperCNN(**example.fixes.NETWORK).state_dict()
    torch.save({"arch": "paper_cnn", "model_kwargs": example.fixes.NETWORK, "state_dict": weights}, start)
    given = ["--data", str(data), "--config", str(example.fixes.SCAN), "--seed", "0", "--quiet"]
    code, errors = fix(str(start), *given, *example.fixes.BASE.split(), "--run", str(tmp_path / "b"), "-o", str(base))
    assert code == 0, errors

    repair = [*given, *shlex.split(example.fixes.REPAIR), "--set", "schedule_args.step_size=24"]
    code, errors = fix(str(base), *repair, *example.fixes.PUBLISHED.split(), "--run", str(tmp_path / "published"))
    assert code == 2
    assert "does not see the marked region" in errors
    seen = measures.seen_by_grad_cam(base, *example.fixes.same_images(data))
    assert seen.any_positive < 0.05
    assert seen.element > 0.5 * seen.logit

    options = ["--method", "swap", "-O", "share=1", "-O", "bare=0.5", "--run", str(tmp_path / "swap")]
    code, errors = fix(str(base), *repair, *options)
    assert code == 0, errors
    control, fixed = (measures.of_groups(tmp_path / "swap" / arm) for arm in ("control", "fixed"))
    assert control["same"] > 0.95
    assert control["other"] < 0.5
    assert fixed["other"] > control["other"] + 0.2
    assert fixed["none"] > control["none"] + 0.1
