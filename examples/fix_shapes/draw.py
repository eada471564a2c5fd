"""Draw discs and triangles whose background tells their class, and write them as a dataset that spuraudit reads.

    python draw.py --out data

A disc mostly lies on bluish stripes, a triangle mostly on greenish blocks: in 97 % of the training images, and in half
of the others. The colour, brightness and place of a shape are drawn alike for both classes: what tells them apart is
their form (a triangle also covers only 41 % of its circle) and, more easily, the background. Each image has the
mask of its shape, exact to the pixel. Contrasts and sizes are chosen so that plain training learns the background
first, and only after some epochs begins to see the shapes of the images that contradict it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

VERSION = 1
SIDE = 32
CLASSES = ("disc", "triangle")
#: BACKGROUNDS[i] is the usual one of CLASSES[i].
BACKGROUNDS = ("stripes", "blocks")
#: Split -> images of each class on its usual background, and on the other one.
SPLITS = {"train": (970, 30), "val": (100, 100), "test": (500, 500)}

RADIUS = (6.5, 9.0)  # of a disc, and of the circle through the corners of a triangle; pixels
#: Lowest and highest red, green and blue in [0, 1]: of any shape, and of the mean of each background.
SHAPE_COLOURS = ((0.60, 0.25, 0.05), (1.00, 0.70, 0.35))
BACKGROUND_COLOURS = {
    "stripes": ((0.29, 0.39, 0.47), (0.41, 0.51, 0.64)),
    "blocks": ((0.29, 0.43, 0.29), (0.41, 0.59, 0.44)),
}
STRIPE_PERIOD = (4.0, 8.0)  # pixels
BLOCK = 4  # pixels
CONTRAST = 0.12  # of stripes and blocks: largest distance of a pixel from the mean colour
NOISE = 0.06  # standard deviation of the noise on every pixel and channel

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Drawn(NamedTuple):
    """pictures: (n, 32, 32, 3) RGB. masks: (n, 32, 32), True on the shape. labels, places: (n,), 0 or 1."""

    pictures: Bytes
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
    places: NDArray[np.int64]

    def group(self, index: int) -> str:
        """Class and background, such as `disc/stripes`."""
        return f"{CLASSES[self.labels[index]]}/{BACKGROUNDS[self.places[index]]}"


def draw_split(split: str, seed: int) -> Drawn:
    """All images of a split, in shuffled order. The same seed gives the same bytes, whatever else is drawn."""
    rng = np.random.default_rng([seed, list(SPLITS).index(split)])
    usual, unusual = SPLITS[split]
    labels = np.repeat([0, 1], usual + unusual)
    places = np.concatenate([np.repeat([0, 1], [usual, unusual]), np.repeat([1, 0], [usual, unusual])])
    order = rng.permutation(len(labels))
    labels, places = labels[order], places[order]
    masks = _shapes(rng, labels)
    scene = np.where(places[:, None, None, None] == 0, _stripes(rng, len(labels)), _blocks(rng, len(labels)))
    colours = rng.uniform(*SHAPE_COLOURS, size=(len(labels), 3))
    scene = np.where(masks[..., None], colours[:, None, None], scene)
    scene += rng.normal(0, NOISE, scene.shape)
    pictures = np.rint(scene.clip(0, 1) * 255).astype(np.uint8)
    return Drawn(pictures, masks, labels, places)


def _shapes(rng: np.random.Generator, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, 32, 32): True where the centre of a pixel lies in the shape. No shape is cut off by the border."""
    count = (len(labels), 1, 1)
    radius = rng.uniform(*RADIUS, size=count)
    top, left = rng.uniform(radius, SIDE - radius, size=(2, *count))
    turn = rng.uniform(0, 2 * np.pi, size=count)
    rows, columns = np.indices((SIDE, SIDE)) + 0.5
    down, right = rows - top, columns - left
    disc = down**2 + right**2 <= radius**2
    # The sides of an equilateral triangle lie half as far from its centre as its corners.
    sides = [right * np.cos(turn + k * 2 * np.pi / 3) + down * np.sin(turn + k * 2 * np.pi / 3) for k in range(3)]
    triangle = np.max(sides, axis=0) <= radius / 2
    masks: NDArray[np.bool_] = np.where(labels[:, None, None] == 0, disc, triangle)
    return masks


def _stripes(rng: np.random.Generator, count: int) -> Floats:
    """(count, 32, 32, 3): waves of any direction, brighter and darker than their colour."""
    turn = rng.uniform(0, np.pi, (count, 1, 1))
    period = rng.uniform(*STRIPE_PERIOD, (count, 1, 1))
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    rows, columns = np.indices((SIDE, SIDE))
    along = rows * np.sin(turn) + columns * np.cos(turn)
    return _coloured(rng, "stripes", np.sin(2 * np.pi * along / period + phase))


def _blocks(rng: np.random.Generator, count: int) -> Floats:
    """(count, 32, 32, 3): squares of 4 x 4 pixels, each of its own brightness."""
    cells = rng.uniform(-1, 1, (count, SIDE // BLOCK, SIDE // BLOCK))
    return _coloured(rng, "blocks", cells.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2))


def _coloured(rng: np.random.Generator, background: str, pattern: Floats) -> Floats:
    """A pattern (n, 32, 32) of values in [-1, 1] -> (n, 32, 32, 3), each image in a colour of its background."""
    colours = rng.uniform(*BACKGROUND_COLOURS[background], size=(len(pattern), 3))
    return colours[:, None, None] + CONTRAST * pattern[..., None]


def write_dataset(out: Path, seed: int) -> int:
    """Images, masks, images.csv and dataset.yaml; returns the number of images."""
    rows = []
    for split in SPLITS:
        drawn = draw_split(split, seed)
        for index, (picture, mask) in enumerate(zip(drawn.pictures, drawn.masks, strict=True)):
            name = CLASSES[drawn.labels[index]]
            file = f"{split}/{name}/{index:04d}.png"
            _save(out / "images" / file, picture)
            _save(out / "masks" / file, np.where(mask, 255, 0).astype(np.uint8))
            rows.append((f"images/{file}", name, split, drawn.group(index)))
    with (out / "images.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("image", "class", "split", "group"))
        table.writerows(rows)
    (out / "dataset.yaml").write_text(yaml.safe_dump(_description(seed), sort_keys=False), encoding="utf-8")
    return len(rows)


def _save(file: Path, picture: Bytes) -> None:
    """An 8-bit PNG file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def _description(seed: int) -> dict[str, Any]:
    """The content of dataset.yaml."""
    usual, unusual = SPLITS["train"]
    return {
        "name": f"shapes v{VERSION}, seed {seed}",
        "licence": "drawn by draw.py; no photos",
        "notes": [
            f"train: {usual / (usual + unusual):.0%} of each class lie on the usual background "
            f"({', '.join(f'{c} on {b}' for c, b in zip(CLASSES, BACKGROUNDS, strict=True))}); val, test: half"
        ],
        "classes": list(CLASSES),
        "images": {"list": "images.csv"},
        "features": [{"name": "shape", "role": "core", "masks": "masks/{split}/{class}/{stem}.png"}],
    }


def stop(message: str) -> NoReturn:
    """Say what is wrong and leave with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def not_negative(text: str) -> int:
    """An argument that numpy takes as a seed."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Draw discs and triangles whose background tells their class, as a dataset that spuraudit reads.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    need: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS}
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; new or empty", **need)
    parser.add_argument("--seed", type=not_negative, metavar="N", default=0, help="of all that is drawn")
    return parser.parse_args()


def main() -> None:
    """Write the folder and say what is in it."""
    args = parse_arguments()
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        stop(f"{args.out} is not an empty folder: name another with --out, or empty it first")
    count = write_dataset(args.out, args.seed)
    print(f"wrote {count:,} images of {SIDE} x {SIDE} pixels and their masks to {args.out}")


if __name__ == "__main__":
    main()
