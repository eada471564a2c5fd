"""Write decoyed Fashion-MNIST (construction "border") to repair models with: what fixes.py trains on and scans.

    python make_fix_data.py --mnist fashion_mnist --out fix_data

Splits: train and val (of the original training images, every image with the square of its class), test (each of its
images three times: groups same, none and other) and sweep (other test images: sneakers and shirts with their squares).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from border import NAME, SNEAKER, VARIANTS, VERSION, square, squares_of
from decoys import NAMES, InputError, Split, garment_mask, load_split, square_mask, with_squares
from numpy.typing import NDArray
from PIL import Image

FOLDERS = tuple(name.replace(" ", "_") for name in NAMES)
SWEPT = (SNEAKER, NAMES.index("shirt"))


class Sizes(NamedTuple):
    """Images of each split; test: of each group; sweep: of each of its two classes."""

    train: int = 15_000
    val: int = 1_000
    test: int = 2_500
    sweep: int = 100


class Part(NamedTuple):
    """Images of a split that are shown in one variant. chosen: places in the original file."""

    split: str
    variant: str
    source: Split
    chosen: NDArray[np.int64]


def parts(train: Split, test: Split, sizes: Sizes, seed: int) -> Iterator[Part]:
    """Drawn without replacement, so that no image is in two splits. Raises InputError where there are too few."""
    rng = np.random.default_rng(seed)
    order, held_out = rng.permutation(len(train.labels)), rng.permutation(len(test.labels))
    if sizes.train + sizes.val > len(order) or sizes.test > len(held_out):
        raise InputError(f"{len(order)} training and {len(held_out)} test images are too few for {sizes}")
    yield Part("train", "same", train, order[: sizes.train])
    yield Part("val", "same", train, order[sizes.train :][: sizes.val])
    for variant in VARIANTS:
        yield Part("test", variant, test, held_out[: sizes.test])
    rest = held_out[sizes.test :]
    swept = [rest[test.labels[rest] == label][: sizes.sweep] for label in SWEPT]
    if min(map(len, swept)) < sizes.sweep:
        raise InputError(f"after {sizes.test} test images fewer than {sizes.sweep} sneakers or shirts are left")
    yield Part("sweep", "same", test, np.concatenate(swept))


def write_dataset(mnist: Path, out: Path, sizes: Sizes, seed: int) -> int:
    """Images, masks of garment and square, images.csv and dataset.yaml; returns the number of images."""
    train, test = load_split(mnist, "train"), load_split(mnist, "t10k")
    lines = ["image,class,split,group"]
    for part in list(parts(train, test, sizes, seed)):
        lines += write_part(out, part, seed)
    (out / "images.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "dataset.yaml").write_text(yaml.safe_dump(describe(seed), sort_keys=False), encoding="utf-8")
    return len(lines) - 1


def write_part(out: Path, part: Part, seed: int) -> list[str]:
    """The files of a part; returns its lines of images.csv."""
    pictures, labels = part.source.pictures[part.chosen], part.source.labels[part.chosen]
    carried = squares_of(labels, part.variant, seed)
    lines = []
    for place, shown in enumerate(with_squares(pictures, carried, square)):
        folder = f"{part.split}/{part.variant}/{FOLDERS[labels[place]]}"
        file = f"{folder}/{part.chosen[place]:05d}.png"
        save(out / "images" / file, shown)
        save(out / "masks" / "garment" / file, garment_mask(pictures[place]))
        if carried is not None:
            save(out / "masks" / "decoy" / file, square_mask(int(carried[place]), square))
        lines.append(f"{file},{NAMES[labels[place]]},{part.split},{part.variant}")
    return lines


def save(file: Path, picture: NDArray[np.uint8]) -> None:
    """An 8-bit greyscale PNG file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def describe(seed: int) -> dict[str, Any]:
    """The content of dataset.yaml."""
    return {
        "name": f"decoy_fmnist {NAME} v{VERSION}",
        "licence": "Fashion-MNIST: MIT, Zalando SE; squares added",
        "notes": [f"a white square in the border cell of a class; images and squares drawn with seed {seed}"],
        "classes": list(NAMES),
        "images": {"list": "images.csv", "folder": "images"},
        "features": [
            {"name": "garment", "role": "core", "masks": "masks/garment/{path}"},
            {"name": "decoy", "role": "spurious", "masks": "masks/decoy/{path}", "optional": True},
        ],
    }


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Write decoyed Fashion-MNIST to repair models with.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    need: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS, "type": Path}
    parser.add_argument("--mnist", metavar="DIR", help="folder of the four .gz files of Fashion-MNIST", **need)
    parser.add_argument("--out", metavar="DIR", help="folder to write; new or empty", **need)
    words = ("to train on", "to choose by", "of each group: same, none, other", "of each of the two swept classes")
    for (name, default), meaning in zip(Sizes._field_defaults.items(), words, strict=True):
        parser.add_argument(f"--{name}", type=positive, metavar="N", default=default, help=f"images {meaning}")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the images and of the squares of others")
    return parser.parse_args()


def main() -> None:
    """Write the folder and say what is in it."""
    args = parse_arguments()
    try:
        if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
            raise InputError(f"{args.out} is not an empty folder: name another with --out, or empty it first")
        sizes = Sizes(args.train, args.val, args.test, args.sweep)
        count = write_dataset(args.mnist, args.out, sizes, args.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"wrote {count:,} images and their masks to {args.out}")


if __name__ == "__main__":
    main()
