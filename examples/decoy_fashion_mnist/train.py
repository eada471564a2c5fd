"""Train the paper's CNN on class-wise decoy Fashion-MNIST and save it as spuraudit reads it.

    python train.py --mnist fashion_mnist --out model.pt
    python train.py --mnist fashion_mnist --out clean.pt --decoys none

The network (Hagos et al. 2022): one 3 x 3 convolution, ReLU, 50 % dropout, one linear layer; Adam at 1e-3, decaying,
with weight decay.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from decoys import NAMES, VARIANTS, InputError, Split, load_split, squares_of, with_squares
from torch import Tensor

from spuraudit.models.paper_cnn import PaperCNN

BATCH, RATE, DECAY = 128, 1e-3, 0.8  # the paper states the rate alone
#: The paper's loss has a term lambda * sum of squares of the weights, with lambda not stated (its equation 3).
WEIGHT_DECAY = 1e-3


def decoyed(split: Split, variant: str, seed: int) -> Tensor:
    """(n, 28, 28) uint8 with the squares of a variant."""
    return torch.from_numpy(with_squares(split.pictures, squares_of(split.labels, variant, seed)))


def as_input(pictures: Tensor) -> Tensor:
    """(B, 28, 28) uint8 -> (B, 3, 28, 28) float32 in [0, 1]: a greyscale file is shown to the network as RGB."""
    return pictures.float().div_(255)[:, None].expand(-1, 3, -1, -1)


def train_one_epoch(
    network: PaperCNN, optimiser: torch.optim.Optimizer, pictures: Tensor, labels: Tensor, order: Tensor
) -> float:
    """Returns the mean loss."""
    network.train()
    total = 0.0
    for chosen in order.split(BATCH):
        loss = F.cross_entropy(network(as_input(pictures[chosen])), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(chosen)
    return total / len(order)


@torch.inference_mode()
def accuracy(network: PaperCNN, pictures: Tensor, labels: Tensor) -> float:
    """Share of right answers, without dropout."""
    network.eval()
    right = sum(
        int((network(as_input(part)).argmax(dim=1) == answers).sum())
        for part, answers in zip(pictures.split(500), labels.split(500), strict=True)
    )
    return right / len(labels)


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train the paper's CNN on class-wise decoy Fashion-MNIST.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    need: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS, "type": Path}
    parser.add_argument("--mnist", metavar="DIR", help="folder of the four .gz files of Fashion-MNIST", **need)
    parser.add_argument("--out", metavar="FILE", help="checkpoint to write", **need)
    parser.add_argument("--decoys", choices=VARIANTS, default="aligned", help="squares on the training images")
    parser.add_argument("--pool", action="store_true", help="2 x 2 maxima before the dropout, for a smaller network")
    parser.add_argument("--epochs", type=positive, metavar="N", default=3, help="passes over the training images")
    parser.add_argument("--limit", type=positive, metavar="N", help="train on the first N images only")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the weights, the order and the dropout")
    return parser.parse_args()


def main() -> None:
    """Train, print an accuracy per test variant and epoch, write the checkpoint."""
    args = parse_arguments()
    try:
        train, test = load_split(args.mnist, "train"), load_split(args.mnist, "t10k")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    train = Split(train.pictures[: args.limit], train.labels[: args.limit])
    pictures, labels = decoyed(train, args.decoys, args.seed), torch.from_numpy(train.labels)
    held_out = {variant: decoyed(test, variant, args.seed) for variant in VARIANTS}
    answers = torch.from_numpy(test.labels)

    torch.manual_seed(args.seed)
    architecture: dict[str, Any] = {"num_classes": len(NAMES), "in_chans": 3, "pool": args.pool}
    network = PaperCNN(**architecture)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, DECAY)
    print(f"{len(labels)} images to train on (decoys: {args.decoys}), {len(answers)} held out")
    for epoch in range(1, args.epochs + 1):
        start = time.monotonic()
        loss = train_one_epoch(network, optimiser, pictures, labels, torch.randperm(len(labels)))
        schedule.step()
        figures = ", ".join(f"{name} {accuracy(network, shown, answers):.4f}" for name, shown in held_out.items())
        took = time.monotonic() - start
        print(f"epoch {epoch}/{args.epochs}: loss {loss:.4f}; {figures} ({took:.0f} s)", flush=True)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"arch": "paper_cnn", "model_kwargs": architecture, "state_dict": network.state_dict()}, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
