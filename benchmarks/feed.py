"""What it costs to feed networks: decoding a photo and its mask, and making its noised pictures, on one core.

    python benchmarks/feed.py [--images 200] [--turns 3]

Photos of 500 x 375 pixels as in benchmarks/noise_scan.py, input 224, noise on the dilated core and on the rest. One
thread does everything; figures are medians of the turns, in milliseconds per image. No network is asked.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from noise_scan import checkpoint, draw

from spuraudit.data import open_dataset
from spuraudit.models import load
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.loader import Loader
from spuraudit.runs.prepare import Machine, Scan, arrange
from spuraudit.runs.showing import make, tasks


def once(scan: Scan) -> tuple[float, float]:
    """Seconds of decoding all images, and of making all their pictures."""
    audits = list(scan.audits.values())
    decode = show = 0.0
    preprocess = scan.model.record.preprocess
    with Loader(scan.dataset, preprocess, scan.model.device, 1) as loader:
        for row in scan.cohort.rows:  # one at a time, so that nothing is decoded beside the showing
            start = time.perf_counter()
            (loaded,) = loader.load([(row, ())])
            middle = time.perf_counter()
            for task in tasks(iter([loaded]), audits, 64):
                make(task)
            decode, show = decode + middle - start, show + time.perf_counter() - middle
    return decode, show


def main() -> None:
    """One line per number of draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset = open_dataset(str(draw(folder / "data", given.images)))
        model = load(str(checkpoint(folder, "lcnet_050")), arch="lcnet_050", device="cpu")
        print(f"torch {torch.__version__}, {platform.machine()}, {given.images} images, {given.turns} turns")
        print("| draws | decode, ms | pictures, ms | images a second and core |\n|---|---|---|---|")
        for trials in (1, 5):
            settings = ScanSettings(audits=("noise",), trials=trials)
            scan = arrange(model, dataset, settings, Machine(64, 1))
            times = [once(scan) for _ in range(given.turns)]
            decode, show = (1e3 * statistics.median(column) / given.images for column in zip(*times, strict=True))
            print(f"| {trials} | {decode:.1f} | {show:.1f} | {1e3 / (decode + show):.0f} |", flush=True)


if __name__ == "__main__":
    main()
