"""A noise scan from JPEGs on disk to scan.json, against the same number of forward passes on random tensors.

    python benchmarks/scan_overhead.py [--arch mobilenetv2_100] [--images 64]

Random weights and drawn pictures: the time does not depend on what they show. Both sides run in one process, in turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

import spuraudit
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import Machine, prepare_scan

BATCH = 32


def draw(folder: Path, images: int) -> None:
    """Photo-sized JPEGs of two classes, with masks and a dataset.yaml."""
    rng = np.random.default_rng(0)
    for index in range(images):
        name = f"{'ab'[index % 2]}/{index:04d}"
        for kind, ending in (("images", "jpg"), ("masks", "png")):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
            mask = Image.new("L", (500, 375))
            mask.paste(255, (150, 100, 350, 275))
            (picture if kind == "images" else mask).save(folder / kind / f"{name}.{ending}")
    (folder / "dataset.yaml").write_text(
        "name: drawn\nclasses: [{name: a, outputs: [0]}, {name: b, outputs: [1]}]\nimages: {folder: images}\n"
        "features: [{name: object, role: core, masks: 'masks/{class}/{stem}.png'}]\n",
        encoding="utf-8",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="mobilenetv2_100")
    parser.add_argument("--images", type=int, default=64)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, chosen.images)
        torch.manual_seed(0)
        torch.save(timm.create_model(chosen.arch).state_dict(), folder / "model.pt")
        model = spuraudit.load_model(str(folder / "model.pt"), arch=chosen.arch, device="cpu")
        settings = spuraudit.ScanSettings(audits=("noise",), allow_chance=True)
        scan = prepare_scan(model, spuraudit.open_dataset(str(folder)), settings, Machine(BATCH))
        passes = sum(shard.answers for shard in scan.shards)
        geometry = model.record.preprocess.geometry
        pixels = torch.rand(BATCH, 3, geometry.height, geometry.width)
        model.logits(pixels)
        ratios = []
        print(
            f"| {chosen.arch}, {chosen.images} images, {passes} passes | scan s | bare passes s | ratio |",
            "|---|---|---|---|",
            sep="\n",
        )
        for turn in range(3):
            start = time.perf_counter()
            execute(scan, folder / f"run{turn}")
            middle = time.perf_counter()
            for first in range(0, passes, BATCH):
                model.logits(pixels[: min(BATCH, passes - first)])
            end = time.perf_counter()
            ratios.append((middle - start) / (end - middle))
            print(f"| turn {turn + 1} | {middle - start:.2f} | {end - middle:.2f} | {ratios[-1]:.2f} |")
        print(f"| median |  |  | {sorted(ratios)[1]:.2f} |")


if __name__ == "__main__":
    main()
