"""A zoo run against the same models scanned one by one, and a Ray cluster of two workers against one.

    python benchmarks/zoo.py [--images 48] [--turns 3] [--no-ray]

Random weights and drawn photos: the time does not depend on what they show. Two conditions:

- decoding dominates: 12-megapixel JPEGs, small networks, one noise draw per region;
- passes dominate: photos of 500 x 375 pixels, larger networks, five draws.

A side's time is everything from opening the dataset to the last scan.json: loading, the check of the clean accuracy,
passes, records. Sides take turns; figures are ratios of the medians, with the range over turns. The share of decoding
is that of the one-by-one side: photos and masks decoded as often as it decodes them, divided by its time.

Ray: two workers against one on the first condition, one thread each; the cluster is started before the clock. The
first unit of a worker pays for importing packages and loading the group's models.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch
from PIL import Image

from spuraudit.record.settings import ScanSettings
from spuraudit.runs.allocator import keep_large_blocks
from spuraudit.runs.execute import execute
from spuraudit.runs.loader import Loader
from spuraudit.runs.prepare import Machine, prepare_scan
from spuraudit.runs.zoo import Here, ZooRun, run_zoo
from spuraudit.runs.zoo_job import Loading, ZooItem, ZooJob

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = ("lcnet_035", "lcnet_050", "tinynet_e", "mobilenetv3_small_050", "mobilenetv3_small_075", "mnasnet_small")
LARGE = ("mobilenetv2_100", "resnet18", "efficientnet_lite0", "regnetx_004")
CLASSES = 2
#: One for all, as with Salient ImageNet, whose masks fix resize and crop.
GEOMETRY = {"img_size": 224, "crop_pct": 0.875, "interpolation": "bicubic"}


def draw(folder: Path, images: int, size: tuple[int, int]) -> Path:
    """Photos of two classes with a soft gradient and grain, and an object mask each; a dataset.yaml."""
    rng = np.random.default_rng(0)
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    for index in range(images):
        label = index % CLASSES
        base = (rows / height * 120 + columns / width * 80)[..., None] + rng.integers(0, 50, 3)
        photo = (base + rng.normal(0, 12, (height, width, 1))).clip(0, 255).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 255
        for kind, picture in (("images", photo), ("masks", mask)):
            place = folder / kind / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            if kind == "images":
                Image.fromarray(picture).save(place / f"{index:04d}.jpg", quality=92)
            else:
                Image.fromarray(picture).save(place / f"{index:04d}.png")
    (folder / "dataset.yaml").write_text(
        "name: drawn\nclasses: [{name: class0, outputs: [0]}, {name: class1, outputs: [1]}]\n"
        "images: {folder: images}\nfeatures: [{name: object, role: core, masks: 'masks/{class}/{stem}.png'}]\n",
        encoding="utf-8",
    )
    return folder


def job_of(folder: Path, archs: tuple[str, ...], data: Path, trials: int) -> ZooJob:
    """Random weights on disk, and a noise audit of them."""
    items = []
    for arch in archs:
        torch.manual_seed(0)
        path = folder / f"{arch}.pt"
        content = {"arch": arch, "state_dict": timm.create_model(arch).state_dict(), "args": GEOMETRY}
        torch.save(content, path)
        items.append(ZooItem(arch, arch, str(path)))
    settings = ScanSettings(audits=("noise",), trials=trials, allow_chance=True)
    return ZooJob(
        tuple(items), str(data), folder / "zoo", settings=settings, machine=Machine(32), loading=Loading(device="cpu")
    )


def together(job: ZooJob) -> None:
    """The side under test."""
    run_zoo(ZooRun(job, Here()))


def one_by_one(job: ZooJob) -> None:
    """The same run folders, a scan each."""
    for item in job.items:
        dataset = job.open_dataset()
        scan = prepare_scan(*job.load(item, dataset), job.settings, job.machine)
        execute(scan, job.run_of(item))


def decode_seconds(job: ZooJob) -> float:
    """Time to decode every photo and mask once, with the threads that a scan decodes with."""
    dataset = job.open_dataset()
    scan = prepare_scan(*job.load(job.items[0], dataset), job.settings, job.machine)
    with Loader(dataset, scan.model.record.preprocess, scan.model.device, job.machine.threads) as loader:
        start = time.monotonic()
        for _ in loader.load((row, ()) for row in scan.cohort.rows):
            pass
        return time.monotonic() - start


def timed(side: Callable[[ZooJob], None], job: ZooJob) -> float:
    """Seconds of a side in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        side(replace(job, folder=Path(folder) / "zoo"))
        return time.monotonic() - start


def compare(name: str, job: ZooJob, turns: int) -> None:
    """Print the ratio of one condition."""
    times: dict[str, list[float]] = {"together": [], "one by one": []}
    for _ in range(turns):
        times["together"].append(timed(together, job))
        times["one by one"].append(timed(one_by_one, job))
    alone, shared = times["one by one"], times["together"]
    ratios = [one / both for one, both in zip(alone, shared, strict=True)]
    share = len(job.items) * decode_seconds(job) / statistics.median(alone)
    print(
        f"{name}: {len(job.items)} models, one by one : together = "
        f"{statistics.median(alone) / statistics.median(shared):.2f} ({min(ratios):.2f} to {max(ratios):.2f} over "
        f"{turns} turns); decoding alone is {share:.0%} of one by one",
        flush=True,
    )


def compare_workers(job: ZooJob, turns: int) -> None:
    """Print the ratio of one worker's time and two workers'."""
    from spuraudit.runs.zoo_ray import OnRay

    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(turns):
        for workers in times:
            with closing(OnRay(workers=workers)) as cluster:

                def side(job: ZooJob, cluster: OnRay = cluster) -> None:
                    run_zoo(ZooRun(job, cluster))

                timed(side, job.of(job.items[:1]))  # imports
                times[workers].append(timed(side, job))
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    print(
        f"ray: {len(job.items)} models, one worker : two workers = "
        f"{statistics.median(times[1]) / statistics.median(times[2]):.2f} ({min(ratios):.2f} to {max(ratios):.2f} "
        f"over {turns} turns)",
        flush=True,
    )


def main() -> None:
    """All conditions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true")
    given = parser.parse_args()
    keep_large_blocks()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.images} images", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        large, small = (
            draw(folder / "large", given.images, (4000, 3000)),
            draw(folder / "small", given.images, (500, 375)),
        )
        decoding = job_of(folder, SMALL, large, 1)
        compare("decoding dominates", decoding, given.turns)
        compare("passes dominate", job_of(folder, LARGE, small, 5), given.turns)
        if not given.no_ray:
            torch.set_num_threads(1)
            compare_workers(decoding, given.turns)


if __name__ == "__main__":
    main()
