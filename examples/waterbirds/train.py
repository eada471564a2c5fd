"""Fine-tune an ImageNet MobileNetV2 on a Waterbirds folder, with or without the background shortcut.

    python train.py --data DIR --weights mobilenetv2_100.pt --groups as-is    --out erm.pt
    python train.py --data DIR --weights mobilenetv2_100.pt --groups balanced --out balanced/balanced.pt

`as-is` is empirical risk minimisation (ERM) on the train split, where 95 % of the birds stand in front of their usual
background. `balanced` trains the same network without that correlation: on the val split and half of the test split,
in which every class stands on land as often as on water. Nothing but the data differs.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import timm
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

ARCH = "mobilenetv2_100"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: what the weights were trained with
CLASSES = ("landbird", "waterbird")
PLACES = ("land", "water")
SPLITS = ("train", "val", "test")


def stop(message: str) -> NoReturn:
    """Say what is wrong and leave with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


@dataclass(frozen=True)
class Photo:
    """One row of metadata.csv."""

    file: str
    label: int
    place: int
    split: str

    @property
    def group(self) -> str:
        """Class and background, such as `landbird/water`."""
        return f"{CLASSES[self.label]}/{PLACES[self.place]}"

    @property
    def bird(self) -> str:
        """The photo the bird was cut out of: `x/y__03.jpg` is the third use of the bird of `x/y.jpg`."""
        return re.sub(r"__\d+$", "", str(Path(self.file).with_suffix("")))


def read_metadata(folder: Path) -> list[Photo]:
    """The rows of `folder`/metadata.csv, in file order."""
    table = folder / "metadata.csv"
    if not table.is_file():
        stop(f"{table} not found: --data must name a folder in the Waterbirds layout (metadata.csv beside the photos)")
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        missing = {"img_filename", "y", "split", "place"} - set(reader.fieldnames or ())
        if missing:
            stop(f"{table} has no column {', '.join(sorted(missing))}")
        try:
            photos = [
                Photo(row["img_filename"], (0, 1)[int(row["y"])], (0, 1)[int(row["place"])], SPLITS[int(row["split"])])
                for row in reader
            ]
        except (ValueError, IndexError):
            stop(f"{table}, line {reader.line_num}: y and place must be 0 or 1, split must be 0, 1 or 2")
    absent = [photo.file for photo in photos if not (folder / photo.file).is_file()]
    if absent:
        stop(f"{len(absent)} of the {len(photos)} photos in {table} do not exist, the first is {folder / absent[0]}")
    for split in SPLITS:
        if all(photo.split != split for photo in photos):
            stop(f"{table} has no row of the {split} split")
    return photos


def halve_by_bird(photos: list[Photo], seed: int) -> tuple[list[Photo], list[Photo]]:
    """Two halves that share no bird, each with the groups in the proportions of the whole.

    Birds of one class that stand on the same backgrounds equally often are interchangeable: of each such kind, in
    shuffled order, every bird goes to the half that has fewer images of the kind.
    """
    of_bird: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        of_bird[photo.bird].append(photo)
    kinds: dict[tuple[str, ...], list[list[Photo]]] = defaultdict(list)
    for images in of_bird.values():
        kinds[tuple(sorted(photo.group for photo in images))].append(images)
    rng = random.Random(seed)
    halves: tuple[list[Photo], list[Photo]] = ([], [])
    for kind in sorted(kinds):
        rng.shuffle(kinds[kind])
        counts = [0, 0]
        # An odd bird out goes to the half that is behind in this class so far.
        in_class = [sum(photo.label == kinds[kind][0][0].label for photo in half) for half in halves]
        for images in kinds[kind]:
            side = min((0, 1), key=lambda i: (counts[i], in_class[i]))
            halves[side].extend(images)
            counts[side] += len(images)
    order = {photo: position for position, photo in enumerate(photos)}
    first, second = (sorted(half, key=order.__getitem__) for half in halves)
    return first, second


class Waterbirds(Dataset[tuple[Tensor, int]]):
    """Photos as normalised (3, size, size) tensors with their label."""

    def __init__(self, folder: Path, photos: list[Photo], size: int, *, augment: bool) -> None:
        self.folder, self.photos = folder, photos
        self.transform = v2.Compose(
            [
                v2.Resize(size, interpolation=v2.InterpolationMode.BICUBIC),  # no-op for photos stored at this size
                v2.CenterCrop(size),
                *([v2.RandomHorizontalFlip()] if augment else []),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        photo = self.photos[index]
        with Image.open(self.folder / photo.file) as image:
            return self.transform(image.convert("RGB")), photo.label


def build_network(weights: Path) -> nn.Module:
    """The ImageNet network with a new head of two outputs."""
    if not weights.is_file():
        stop(f"{weights} not found: --weights must name a file with the ImageNet weights of timm's {ARCH}")
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many types; its advice to switch weights_only off is not passed on
        stop(f"{weights} is not a PyTorch file of plain tensors (torch.load refused it with weights_only=True)")
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    network = timm.create_model(ARCH, pretrained=False)
    try:
        network.load_state_dict(state)
    except RuntimeError:  # lists hundreds of names
        stop(f"{weights} does not hold the weights of {ARCH} with its ImageNet head: names or shapes differ")
    # Not create_model(num_classes=2): timm would draw that head from +-0.71 instead of +-0.03, a start with large and
    # random answers.
    network.reset_classifier(len(CLASSES))
    return network


def train_one_epoch(
    network: nn.Module,
    loader: DataLoader[tuple[Tensor, int]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Returns the mean loss."""
    # Batch norm takes its statistics from the new photos. With those of ImageNet kept and the same learning rate, the
    # network of the balanced groups ended 8 points lower (README.md).
    network.train()
    total = 0.0
    for pixels, labels in loader:
        loss = F.cross_entropy(network(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)  # type: ignore[arg-type]


@torch.inference_mode()
def group_accuracy(network: nn.Module, data: Waterbirds, batch_size: int) -> dict[str, float]:
    """Share of right answers in each of the four groups, and `average` over all images."""
    network.eval()
    predicted = torch.cat([network(pixels).argmax(1) for pixels, _ in DataLoader(data, batch_size)])
    right: dict[str, list[bool]] = defaultdict(list)
    for photo, answer in zip(data.photos, predicted.tolist(), strict=True):
        right[photo.group].append(answer == photo.label)
    accuracy = {group: sum(right[group]) / len(right[group]) for group in sorted(right)}
    accuracy["average"] = sum(map(sum, right.values())) / len(data)
    return accuracy


def describe(folder: Path, data: Path, train: list[Photo], test: list[Photo]) -> None:
    """Write dataset.yaml and images.csv, which tell spuraudit what was trained on and what may be audited."""
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["image", "class", "split", "group"])
        for split, photos in (("train", train), ("test", test)):
            table.writerows([photo.file, CLASSES[photo.label], split, photo.group] for photo in photos)
    description = {
        "name": "waterbirds, balanced groups",
        "root": str(data.resolve()),
        "classes": list(CLASSES),
        "images": {"list": "images.csv"},
        "features": [{"name": "bird", "role": "core", "masks": "segmentations/{parent}/{stem}.png"}],
    }
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fine-tune an ImageNet MobileNetV2 on Waterbirds, with or without the background shortcut.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    need = {"required": True, "default": argparse.SUPPRESS}
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with metadata.csv and the photos", **need)
    parser.add_argument("--weights", type=Path, metavar="FILE", help=f"ImageNet weights of timm's {ARCH}", **need)
    parser.add_argument(
        "--groups",
        choices=("as-is", "balanced"),
        help="as-is: train on the train split, test on the test split. "
        "balanced: train on the val split and half of the test split, test on the other half; "
        "dataset.yaml and images.csv beside the checkpoint say which images those are",
        **need,
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="checkpoint to write", **need)
    parser.add_argument("--epochs", type=positive, metavar="N", default=4, help="passes over the training images")
    parser.add_argument(
        "--lr", type=float, metavar="X", default=3e-4, help="first learning rate; it falls to 0 along a cosine"
    )
    parser.add_argument("--weight-decay", type=float, metavar="X", default=1e-4, help="of AdamW")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=32, help="images per step")
    parser.add_argument(
        "--img-size", type=positive, metavar="N", default=160, help="pixels; shorter side resized to it, centre cropped"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", default=0, help="of the new head, the order, the flips and the halves"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    photos = read_metadata(args.data)
    part = {split: [photo for photo in photos if photo.split == split] for split in SPLITS}
    if args.groups == "as-is":
        train, test = part["train"], part["test"]
    else:
        seen, test = halve_by_bird(part["test"], args.seed)
        train = part["val"] + seen

    torch.manual_seed(args.seed)
    network = build_network(args.weights)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(Waterbirds(args.data, train, args.img_size, augment=True), args.batch_size, shuffle=True)
    held_out = Waterbirds(args.data, test, args.img_size, augment=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * len(loader))

    print(f"{len(train)} images to train on, {len(test)} held out")
    for epoch in range(1, args.epochs + 1):
        start = time.monotonic()
        loss = train_one_epoch(network, loader, optimizer, schedule)
        accuracy = group_accuracy(network, held_out, args.batch_size)
        figures = ", ".join(f"{group} {share:.3f}" for group, share in accuracy.items())
        print(f"epoch {epoch}/{args.epochs}: loss {loss:.3f}; {figures} ({time.monotonic() - start:.0f} s)", flush=True)

    preprocessing = {"mean": list(MEAN), "std": list(STD), "img_size": args.img_size, "crop_pct": 1.0}
    torch.save(
        {
            "arch": ARCH,
            "args": {"num_classes": len(CLASSES), "interpolation": "bicubic", **preprocessing},
            "state_dict": network.state_dict(),
        },
        args.out,
    )
    print(f"wrote {args.out}")
    if args.groups == "balanced":
        describe(args.out.parent, args.data, train, test)
        print(f"wrote {args.out.parent / 'dataset.yaml'} and images.csv: train = trained on, test = held out")


if __name__ == "__main__":
    main()
