"""examples/fix_shapes: what is drawn, what is written, and what the network learns of it first."""

from __future__ import annotations

import importlib.util
import io
import runpy
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from scipy import ndimage

import spuraudit
from spuraudit.data.check import check
from spuraudit.errors import ModelError

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fix_shapes"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fix_shapes_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw, net = load("draw"), load("net")


class Done(NamedTuple):
    code: int
    out: str
    err: str


def run(*arguments: object) -> Done:
    """What `python draw.py ARGUMENTS` does, in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["draw.py", *map(str, arguments)])
        with redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(str(EXAMPLE / "draw.py"), run_name="__main__")
            except SystemExit as left:
                code = int(left.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def shapes() -> Any:
    return draw.draw_split("test", 0)


@pytest.mark.parametrize(("split", "usual", "unusual"), [("train", 970, 30), ("val", 100, 100), ("test", 500, 500)])
def test_groups(split: str, usual: int, unusual: int) -> None:
    drawn = draw.draw_split(split, 0)
    groups = [drawn.group(index) for index in range(len(drawn.labels))]
    assert Counter(groups) == {
        "disc/stripes": usual,
        "disc/blocks": unusual,
        "triangle/blocks": usual,
        "triangle/stripes": unusual,
    }
    half = len(groups) // 2
    assert 0.4 < float((drawn.labels[:half] == 0).mean()) < 0.6  # shuffled


def test_the_seed_decides_every_byte() -> None:
    first, again, other = draw.draw_split("val", 3), draw.draw_split("val", 3), draw.draw_split("val", 4)
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(first.pictures, other.pictures)
    # no image of one split is an image of another
    seen = Counter(picture.tobytes() for split in draw.SPLITS for picture in draw.draw_split(split, 3).pictures)
    assert max(seen.values()) == 1


def test_forms(shapes: Any) -> None:
    """A disc fills the circle around its centre; a triangle covers 3 sqrt(3) / 4 pi = 41 % of it."""
    for mask, label in zip(shapes.masks, shapes.labels, strict=True):
        points = np.argwhere(mask)
        reach = np.linalg.norm(points - points.mean(axis=0), axis=1).max() + 0.4  # centres of pixels -> their edge
        filled = len(points) / (np.pi * reach**2)
        # Pixels make the share uncertain, most for triangles, whose tips may fall between them.
        assert filled > 0.8 if label == 0 else filled < 0.62
        assert 5.4 < reach < 9.5
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1  # one piece; tips may hang on by a corner
    area = shapes.masks.sum(axis=(1, 2))
    ratio = area[shapes.labels == 1].mean() / area[shapes.labels == 0].mean()
    assert ratio == pytest.approx(0.413, abs=0.02)


def rim_error(pictures: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """Mean distance, in red minus blue, of the pixels along a mask's border from the rest on their side of it.

    Stripes, blocks and noise leave red minus blue of a side alone, but for its noise.
    """
    inside, outside = [], []
    for picture, mask in zip(pictures.astype(float) / 255, masks, strict=True):
        warmth = picture[..., 0] - picture[..., 2]
        core, around = ndimage.binary_erosion(mask, border_value=1), ndimage.binary_dilation(mask)
        inside.append(abs(warmth[mask & ~core].mean() - warmth[core].mean()))
        outside.append(abs(warmth[around & ~mask].mean() - warmth[~around].mean()))
    return float(np.mean(inside)), float(np.mean(outside))


def test_masks_are_exact(shapes: Any) -> None:
    pictures, masks = shapes.pictures[:300], shapes.masks[:300]
    assert max(rim_error(pictures, masks)) < 0.03
    for shift in ((1, 0), (0, 1), (-1, 0), (0, -1)):  # one pixel off would show
        assert min(rim_error(pictures, np.roll(masks, shift, axis=(1, 2)))) > 0.1


def test_colour_brightness_and_place_do_not_tell_the_class(shapes: Any) -> None:
    shown = shapes.pictures / 255
    rows = []
    for picture, mask in zip(shown, shapes.masks, strict=True):
        inside, points = picture[mask], np.argwhere(mask)
        rows.append([*inside.mean(axis=0), inside.mean(), *(points.mean(axis=0) / 32)])
    values = np.array(rows)
    disc, triangle = values[shapes.labels == 0], values[shapes.labels == 1]
    # Red, green, blue, mean, row, column: standard errors of these differences are 0.003 to 0.006.
    assert np.abs(disc.mean(axis=0) - triangle.mean(axis=0)).max() < 0.02
    assert np.abs(disc.std(axis=0) - triangle.std(axis=0)).max() < 0.02


def test_backgrounds(shapes: Any) -> None:
    """The mean colour around the shape tells the background of nearly every image: bluish or greenish."""
    right = []
    for picture, mask, place in zip(shapes.pictures, shapes.masks, shapes.places, strict=True):
        _, green, blue = picture[~mask].mean(axis=0)
        right.append((blue > green) == (place == 0))
    assert np.mean(right) > 0.9


def test_the_dataset_on_disk(tmp_path: Path) -> None:
    out = tmp_path / "new" / "data"
    done = run("--out", out, "--seed", 5)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"wrote 4,400 images of 32 x 32 pixels and their masks to {out}\n"
    dataset = spuraudit.open_dataset(str(out))
    assert dataset.name == "shapes v1, seed 5"
    assert [info.name for info in dataset.classes] == ["disc", "triangle"]
    assert {feature.name: feature.role for feature in dataset.features} == {"shape": "core"}
    report = check(dataset)
    assert report.problems == ()
    assert report.per_split == {"test": 2000, "train": 2000, "val": 400}
    assert report.per_group == {
        "disc/blocks": 630,
        "disc/stripes": 1570,
        "triangle/blocks": 1570,
        "triangle/stripes": 630,
    }

    drawn = draw.draw_split("val", 5)
    for index in (0, 399):
        file = f"val/{draw.CLASSES[drawn.labels[index]]}/{index:04d}.png"
        assert np.array_equal(np.asarray(Image.open(out / "images" / file)), drawn.pictures[index])
        assert np.array_equal(np.asarray(Image.open(out / "masks" / file)), drawn.masks[index] * np.uint8(255))


def test_a_full_folder_and_a_negative_seed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = run("--out", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: {tmp_path} is not an empty folder: name another with --out, or empty it first\n"
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    done = run("--out", tmp_path / "data", "--seed", -1)
    assert done.code == 2
    assert "--seed: must not be negative" in done.err
    assert not (tmp_path / "data").exists()


def test_the_network_is_a_model(tmp_path: Path) -> None:
    spec = f"{EXAMPLE / 'net.py'}:build"
    before = torch.get_rng_state()
    first, again, other = net.build(seed=1)[0], net.build(seed=1)[0], net.build(seed=2)[0]
    assert torch.equal(torch.get_rng_state(), before)
    pixels = torch.rand(4, 3, 32, 32)
    normalised = (pixels - 0.5) / 0.25
    with torch.inference_mode():
        expected = first.eval()(normalised)
        assert torch.equal(again.eval()(normalised), expected)
        assert not torch.allclose(other.eval()(normalised), expected)
    assert first.get_classifier() is first.classifier

    file = tmp_path / "saved.safetensors"
    save_file(first.state_dict(), file)
    model = spuraudit.load_model(spec, trust_code=True, kwargs={"weights": str(file)})
    assert torch.allclose(model.logits(pixels), expected, atol=1e-5)
    assert model.logits(pixels).shape == (4, 2)
    with pytest.raises(ModelError, match=r"gone\.safetensors"):
        spuraudit.load_model(spec, trust_code=True, kwargs={"weights": str(tmp_path / "gone.safetensors")})


def test_the_background_is_learnt_first() -> None:
    """After two epochs the training errors are the images whose background contradicts their class."""
    drawn = draw.draw_split("train", 0)
    pixels = (torch.from_numpy(drawn.pictures).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    labels = torch.from_numpy(drawn.labels)
    network = net.build(seed=0)[0]
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(2):
        for chosen in torch.randperm(len(labels), generator=shuffle).split(64):
            loss = F.cross_entropy(network(pixels[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    network.eval()
    with torch.inference_mode():
        wrong = (network(pixels).argmax(dim=1) != labels).numpy()
    minority = drawn.labels != drawn.places
    assert int((wrong & minority).sum()) >= 45  # of 60
    assert int((wrong & ~minority).sum()) <= 10  # of 1,940
