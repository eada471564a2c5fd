"""A whole noise scan, JPEGs on disk to scan.json, against its limit and against the script one would write instead.

    python benchmarks/noise_scan.py [--arch resnet18] [--arch mobilenetv2_100] [--images 128] [--turns 3] [--threads 2]

Random weights and drawn pictures: the time does not depend on what they show. The sides take turns, and every figure is
the median of the turns:

- scan: `spuraudit.scan`, from opening the dataset to scan.json, including its check of the clean accuracy;
- passes: as many forward passes of the same network object as the scan made, in batches of the same size, on random
  tensors already in memory, in the same process (so with whatever the scan does for the speed of a pass);
- decode: every photo and mask from JPEG or PNG to a tensor, once, in as many threads as the network has;
- plain: the same audit as a short script, `plain_audit` below, in a process of its own: timm's network, a DataLoader
  with worker processes, torch.randn for every batch, one pass per condition and trial.

No side's time includes importing packages, building the network or its first batch. Peak memory is the largest
resident set of a fresh process that does nothing but the scan, at 1, 4 and 16 times `--memory-images` images.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import timm
import torch
from PIL import Image
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

import spuraudit
from spuraudit.runs.allocator import keep_large_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from spuraudit.models.model import Model

BATCH = 32
SIGMA, TRIALS, DILATION = 0.25, 5, 61
TIMES = (1, 4, 16)


def draw(folder: Path, images: int) -> Path:
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
    return folder


def checkpoint(folder: Path, arch: str) -> Path:
    """Random weights of an architecture."""
    torch.manual_seed(0)
    torch.save(timm.create_model(arch).state_dict(), folder / f"{arch}.pt")
    return folder / f"{arch}.pt"


def scan(model: Model, data: Path, run: Path) -> None:
    """The side under test."""
    settings = spuraudit.ScanSettings(audits=("noise",), sigmas=(SIGMA,), trials=TRIALS, allow_chance=True)
    spuraudit.scan(model, spuraudit.open_dataset(str(data)), run, settings)


@torch.inference_mode()
def passes_alone(network: nn.Module, count: int, size: tuple[int, int]) -> None:
    """The limit: forward passes on pixels in memory."""
    pixels = torch.randn(BATCH, 3, *size)
    for first in range(0, count, BATCH):
        network(pixels[: min(BATCH, count - first)])


def decode_alone(data: Path, threads: int) -> None:
    """The other part of the limit: what lies on disk, as tensors."""
    files = [file for kind in ("images", "masks") for file in sorted((data / kind).rglob("*.*"))]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(to_tensor, files):
            pass


def to_tensor(file: Path) -> Tensor:
    """Resize the shorter side to 256, crop the middle 224."""
    image = TF.center_crop(TF.resize(Image.open(file), 256), [224, 224])
    tensor: Tensor = TF.to_tensor(image)
    return tensor


class Photos(Dataset[tuple["Tensor", "Tensor", int]]):
    """Photo, dilated mask, label: what a script would feed to a DataLoader."""

    def __init__(self, data: Path) -> None:
        self.files = sorted((data / "images").rglob("*.jpg"))
        self.masks = [data / "masks" / file.parent.name / f"{file.stem}.png" for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        mask = ndimage.maximum_filter(to_tensor(self.masks[index])[0].numpy(), DILATION, mode="constant")
        return to_tensor(self.files[index]), torch.from_numpy(mask)[None], "ab".index(self.files[index].parent.name)


@torch.inference_mode()
def plain_audit(network: nn.Module, data: Path, workers: int, out: Path) -> None:
    """Clean, core and spurious accuracy as a script would measure them, without keys, intervals or rows."""
    config = timm.data.resolve_data_config({}, model=network)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    photos = Photos(data)
    correct = {"clean": 0, "core": 0, "spurious": 0}
    for images, core, labels in DataLoader(photos, batch_size=BATCH, num_workers=workers):
        correct["clean"] += int((network((images - mean) / std).argmax(1) == labels).sum())
        for name, region in (("spurious", core), ("core", 1 - core)):
            for _ in range(TRIALS):
                noised = (images + SIGMA * region * torch.randn_like(images)).clamp(0, 1)
                correct[name] += int((network((noised - mean) / std).argmax(1) == labels).sum())
    accuracy = {name: count / len(photos) / (1 if name == "clean" else TRIALS) for name, count in correct.items()}
    out.write_text(json.dumps(accuracy), encoding="utf-8")


def print_plain_seconds(data: str, weights: str, arch: str) -> None:
    """What the plain script's process does."""
    network = timm.create_model(arch).eval()
    network.load_state_dict(torch.load(weights))
    with torch.inference_mode():
        network(torch.randn(BATCH, 3, 224, 224))
    with tempfile.TemporaryDirectory() as out:
        print(seconds(lambda: plain_audit(network, Path(data), torch.get_num_threads(), Path(out) / "plain.json")))


def print_peak(data: str, weights: str, arch: str) -> None:
    """What the process that is measured for its memory does."""
    with tempfile.TemporaryDirectory() as run:
        scan(spuraudit.load_model(weights, arch=arch, device="cpu"), Path(data), Path(run) / "run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (2**20 if sys.platform == "darwin" else 2**10))


IN_A_PROCESS = {"plain": print_plain_seconds, "peak": print_peak}


def in_a_process(what: str, data: Path, weights: Path, arch: str, threads: int) -> float:
    """The number that one of `IN_A_PROCESS` prints."""
    command = [sys.executable, __file__, "--only", what, str(data), str(weights), arch, "--threads", str(threads)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def seconds(side: Callable[[], None]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


class Times(NamedTuple):
    """Medians over the turns, in seconds, and how many pictures the scan's network saw."""

    passes_made: int
    scan: float
    passes: float
    decode: float
    plain: float


def measure(arch: str, weights: Path, data: Path, turns: int, threads: int) -> Times:
    """All sides in turn, after a scan that does not count."""
    model = spuraudit.load_model(str(weights), arch=arch, device="cpu")
    geometry = model.record.preprocess.geometry
    made = 0

    def count(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal made
        made += len(inputs[0])

    with tempfile.TemporaryDirectory() as runs:
        counter = model.network.register_forward_pre_hook(count)
        scan(model, data, Path(runs) / "warm-up")
        counter.remove()
        times: list[list[float]] = []
        for turn in range(turns):
            times.append(
                [
                    seconds(lambda turn=turn: scan(model, data, Path(runs) / f"{turn}")),
                    seconds(lambda: passes_alone(model.network, made, (geometry.height, geometry.width))),
                    seconds(lambda: decode_alone(data, threads)),
                    in_a_process("plain", data, weights, arch, threads),
                ]
            )
            print(f"{arch}, turn {turn + 1}: " + ", ".join(f"{value:.2f}" for value in times[-1]), file=sys.stderr)
    return Times(made, *(statistics.median(column) for column in zip(*times, strict=True)))


def machine(threads: int) -> str:
    """Where the times were taken."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return (
        f"{name}, {os.cpu_count()} cores, {threads} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, timm {timm.__version__}"
    )


def row(arch: str, images: int, times: Times, peaks: list[float]) -> str:
    """One line of the table."""
    cells = [
        arch,
        f"{times.passes_made}",
        *(f"{images / value:.2f}" for value in (times.scan, times.plain, times.passes, times.decode)),
        f"{times.scan / times.passes:.2f}",
        f"{times.scan / (times.passes + times.decode):.2f}",
        f"{times.scan / max(times.passes, times.decode):.2f}",
        f"{times.plain / times.scan:.2f}",
        " / ".join(f"{peak:.0f}" for peak in peaks) or "-",
        " / ".join(f"{peak / peaks[0]:.2f}" for peak in peaks) or "-",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = """\
| model | passes | scan, images/s | plain, images/s | passes alone, images/s | decode alone, images/s | scan : passes \
| scan : passes + decode | scan : slower of the two | plain : scan | peak MiB | peak ratio |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", action="append", help="may be repeated; default: resnet18 and mobilenetv2_100")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-images", type=int, default=32, help="images at 1x; 0: no measurement of memory")
    parser.add_argument("--only", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if not chosen.only or chosen.only[0] != "plain":
        keep_large_blocks()  # as `spuraudit scan` does for its own process
    if chosen.only:
        IN_A_PROCESS[chosen.only[0]](*chosen.only[1:])
        return
    print(f"{machine(chosen.threads)}; {chosen.images} images of 500x375, batches of {BATCH}, median of {chosen.turns}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = draw(work / "data", chosen.images)
        grown = [draw(work / f"memory-{n}x", n * chosen.memory_images) for n in TIMES if chosen.memory_images]
        print(HEADER)
        for arch in chosen.arch or ["resnet18", "mobilenetv2_100"]:
            weights = checkpoint(work, arch)
            times = measure(arch, weights, data, chosen.turns, chosen.threads)
            peaks = [in_a_process("peak", folder, weights, arch, chosen.threads) for folder in grown]
            print(row(arch, chosen.images, times, peaks), flush=True)


if __name__ == "__main__":
    main()
