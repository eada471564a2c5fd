"""Every method of `spuraudit fix` on a Waterbirds folder, over several seeds, beside its control.

    python fixes.py --data waterbirds --weights mobilenetv2_100.pt --out fixes --seeds 0 1 2

For each seed: an ImageNet MobileNetV2 with a new head is trained on the train split (ERM); every method fine-tunes that
model beside one control; JTT and swap begin at the ImageNet weights again, too; DFR follows swap; the ceiling is plain
training with all backgrounds painted grey in training and test. What is finished is not run again. Prints worst-group
and mean-group accuracy on the test split, and the region-swap gap before and after.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ARCH = "mobilenetv2_100"
INPUT = ("--arch", ARCH, "--img-size", "160", "--crop-pct", "1.0")
FRESH = ("--start=new-head", "--epochs=4", "--lr=3e-4")
FINE = ("--epochs=3", "--lr=2e-4")
#: Beside one control. The costly ones differentiate twice, three to four times the cost of a step.
QUICK = ("swap", "dfr", "scgs", "gradcam-rrr", "corm")
COSTLY = ("crayon-pruning", "crayon-attention", "crayon", "rrr")
OPTIONS = ("--option=scgs.early_start=new-head", "--option=corm.sigma=0.25")
#: CoRM's second form, on a quarter of each batch.
SALIENCY = ("--option=sigma=0", "--option=weight=0.01", "--option=part=0.25")


def fix(model: Path, data: Path, seed: int, folder: Path, methods: tuple[str, ...], *arguments: str) -> None:
    """One call of the command line, unless its folder is finished."""
    if finished(folder, methods):
        return
    command = [sys.executable, "-m", "spuraudit", "fix", str(model), "--data", str(data), "--seed", str(seed)]
    # Plain training may end near chance, with one group answered by its background: that is a result here.
    command += ["--audits", "region_swap", "--run", str(folder), "--quiet", "--allow-chance"]
    command += [f"--method={','.join(methods)}"]
    command += arguments
    print(" ".join(command), flush=True)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)


def finished(folder: Path, methods: tuple[str, ...]) -> bool:
    """Whether all of these methods were tried in this folder."""
    if len(methods) == 1:
        return (folder / "fix.json").is_file()
    file = folder / "trials.json"
    return file.is_file() and set(methods) <= {one["method"] for one in json.loads(file.read_bytes())["trials"]}


def without_backgrounds(data: Path, out: Path) -> Path:
    """A copy of the folder whose images are grey where the mask is not set."""
    if (out / "metadata.csv").is_file():
        return out
    with (data / "metadata.csv").open(newline="", encoding="utf-8") as lines:
        names = [row["img_filename"] for row in csv.DictReader(lines)]
    for name in names:
        with Image.open(data / name) as photo, Image.open((data / "segmentations" / name).with_suffix(".png")) as mask:
            pixels = np.array(photo.convert("RGB"))
            pixels[np.array(mask.convert("L")) < 128] = 128
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out / name, quality=95)
    shutil.copytree(data / "segmentations", out / "segmentations", dirs_exist_ok=True)
    shutil.copyfile(data / "metadata.csv", out / "metadata.csv")
    return out


def quick(data: Path, grey: Path, weights: Path, folder: Path, seed: int) -> None:
    """Plain training, what repairs, and the ceiling."""
    fix(weights, data, seed, folder / "erm", ("erm",), *INPUT, *FRESH)
    erm = folder / "erm" / "fixed.safetensors"
    fix(erm, data, seed, folder / "fine", QUICK, *FINE, *OPTIONS)
    swapped = folder / "fine" / "swap" / "fixed.safetensors"
    fix(swapped, data, seed, folder / "swap-dfr", ("dfr",), *FINE)
    fix(weights, grey, seed, folder / "ceiling", ("erm",), *INPUT, *FRESH)
    fix(weights, data, seed, folder / "swap-fresh", ("swap",), *INPUT, *FRESH)
    fix(folder / "swap-fresh" / "fixed.safetensors", data, seed, folder / "swap-fresh-dfr", ("dfr",), *FINE)
    fix(weights, data, seed, folder / "jtt", ("jtt",), *INPUT, *FRESH, "--option=upweight=20")


def costly(data: Path, folder: Path, seed: int) -> None:
    """Penalties on gradients."""
    erm = folder / "erm" / "fixed.safetensors"
    fix(erm, data, seed, folder / "corm-saliency", ("corm",), *FINE, *SALIENCY)
    fix(erm, data, seed, folder / "penalties", COSTLY, *FINE)


def value(fix_folder: Path, arm: str, metric: str) -> float | None:
    """A metric of all images in the scan of an arm."""
    record = fix_folder / arm / "scan.json"
    if not record.is_file():
        return None
    measured = json.loads(record.read_bytes())["measurements"]
    plain = [one["value"] for one in measured if one["metric"] == metric and not set(one["scope"]) - {"feature"}]
    return plain[0] if plain else None


def stopped(fix_folder: Path) -> bool:
    """Whether the training of this method ended with an error, such as a collapse; why is in trials.json."""
    file = fix_folder.parent / "trials.json"
    trials = json.loads(file.read_bytes())["trials"] if file.is_file() else []
    return any(one["method"] == fix_folder.name and one["status"] == "failed" for one in trials)


def rows(out: Path, seeds: list[int]) -> dict[str, list[tuple[Path, str]]]:
    """Name of a row -> the arm of each seed."""
    single = {"ERM": ("erm", "fixed"), "control": ("fine/swap", "control")}
    single |= {method: (f"fine/{method}", "fixed") for method in QUICK}
    single |= {method: (f"penalties/{method}", "fixed") for method in COSTLY}
    single |= {
        "corm saliency": ("corm-saliency", "fixed"),
        "control of jtt": ("jtt", "control"),
        "jtt": ("jtt", "fixed"),
        "swap, then dfr": ("swap-dfr", "fixed"),
        "swap from the ImageNet weights": ("swap-fresh", "fixed"),
        "the same, then dfr": ("swap-fresh-dfr", "fixed"),
        "background removed": ("ceiling", "fixed"),
    }
    return {name: [(out / f"seed{seed}" / place, arm) for seed in seeds] for name, (place, arm) in single.items()}


def table(out: Path, seeds: list[int]) -> None:
    """Worst group of each seed, then means."""
    print(f"| | {' | '.join(f'worst group, seed {seed}' for seed in seeds)} | mean | min | mean group | swap gap |")
    print("|---|" + "---|" * (len(seeds) + 4))
    for name, arms in rows(out, seeds).items():
        worst = [value(*arm, "worst_group_accuracy") for arm in arms]
        known = [one for one in worst if one is not None]
        cells = " | ".join(
            f"{one:.3f}" if one is not None else "stopped" if stopped(arm[0]) else "-"
            for one, arm in zip(worst, arms, strict=True)
        )
        if len(known) < len(seeds):
            print(f"| {name} | {cells} | - | - | - | - |")
            continue
        groups, gaps = (
            [one for arm in arms if (one := value(*arm, metric)) is not None]
            for metric in ("mean_group_accuracy", "swap_gap")
        )
        means = [statistics.mean(known), min(known), statistics.mean(groups), statistics.mean(gaps)]
        print(f"| {name} | {cells} | {' | '.join(f'{one:.3f}' for one in means)} |")


def main() -> None:
    """Run what is not there yet, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with metadata.csv, photos and segmentations")
    parser.add_argument("--weights", type=Path, required=True, help=f"ImageNet weights of timm's {ARCH}")
    parser.add_argument("--out", type=Path, default=Path("fixes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    given = parser.parse_args()
    if not given.table:
        grey = without_backgrounds(given.data, given.out / "grey")
        folders = {seed: given.out / f"seed{seed}" for seed in given.seeds}
        for seed, folder in folders.items():
            quick(given.data, grey, given.weights, folder, seed)
        for seed, folder in folders.items():
            costly(given.data, folder, seed)
    table(given.out, given.seeds)


if __name__ == "__main__":
    main()
