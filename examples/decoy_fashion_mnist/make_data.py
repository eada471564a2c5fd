"""Write test images of class-wise decoy Fashion-MNIST as a dataset that spuraudit reads.

    python make_data.py --mnist fashion_mnist --out data

Only test images become files: train.py reads the training images straight from the original ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from decoys import NAMES, VARIANTS, VERSION, InputError, garment_mask, load_split, square_mask, squares_of, with_squares
from numpy.typing import NDArray
from PIL import Image

FOLDERS = tuple(name.replace(" ", "_") for name in NAMES)


def first_of_each(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of the first `count` images of every class, in file order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(NAMES))]))


def save(file: Path, picture: NDArray[np.uint8]) -> None:
    """An 8-bit greyscale PNG file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def write_dataset(mnist: Path, out: Path, variant: str, per_class: int, seed: int) -> int:
    """Images, masks of garment and square, images.csv and dataset.yaml; returns the number of images."""
    pictures, labels = load_split(mnist, "t10k")
    carried = squares_of(labels, variant, seed)
    chosen = first_of_each(labels, per_class)
    shown = with_squares(pictures[chosen], None if carried is None else carried[chosen])
    lines = ["image,class,split"]
    for picture, index in zip(shown, chosen, strict=True):
        label = int(labels[index])
        stem = f"{FOLDERS[label]}/{index:05d}.png"
        save(out / "images" / stem, picture)
        save(out / "masks" / "garment" / stem, garment_mask(pictures[index]))
        if carried is not None:
            save(out / "masks" / "decoy" / stem, square_mask(int(carried[index])))
        lines.append(f"images/{stem},{NAMES[label]},test")
    (out / "images.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = yaml.safe_dump(describe(variant, per_class, seed), sort_keys=False, allow_unicode=True)
    (out / "dataset.yaml").write_text(text, encoding="utf-8")
    return len(chosen)


def describe(variant: str, per_class: int, seed: int) -> dict[str, object]:
    """The content of dataset.yaml."""
    meaning = {
        "aligned": "every image carries the square of its own class, as in training",
        "random": f"every image carries the square of a class drawn at random (seed {seed})",
        "none": "no image carries a square",
    }[variant]
    features = [{"name": "garment", "role": "core", "masks": "masks/garment/{class}/{stem}.png"}]
    if variant != "none":
        features.append({"name": "decoy", "role": "spurious", "masks": "masks/decoy/{class}/{stem}.png"})
    return {
        "name": f"decoy_fmnist v{VERSION}, {variant}",
        "licence": "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, MIT licence); 4 x 4 squares added",
        "notes": [f"first {per_class} test images of each class; {meaning}"],
        "classes": [{"name": name, "folder": folder} for name, folder in zip(NAMES, FOLDERS, strict=True)],
        "images": {"list": "images.csv"},
        "features": features,
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
        description="Write test images of class-wise decoy Fashion-MNIST as a dataset that spuraudit reads.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    need: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS, "type": Path, "metavar": "DIR"}
    parser.add_argument("--mnist", help="folder of the four .gz files of Fashion-MNIST", **need)
    parser.add_argument("--out", help="folder to write; new or empty", **need)
    parser.add_argument("--variant", choices=VARIANTS, default="aligned", help="whose square an image carries")
    parser.add_argument("--per-class", type=positive, metavar="N", default=300, help="test images of each class")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the variant random")
    return parser.parse_args()


def main() -> None:
    """Write the folder and say what is in it."""
    args = parse_arguments()
    try:
        if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
            raise InputError(f"{args.out} is not an empty folder: name another with --out, or empty it first")
        count = write_dataset(args.mnist, args.out, args.variant, args.per_class, args.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"wrote {count} images ({args.variant}) and their masks to {args.out}")


if __name__ == "__main__":
    main()
