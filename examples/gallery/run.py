"""Make the reports that the README shows, and their pictures.

    python run.py --fashion fashion_mnist --photos my_photos --model timm:resnet50.a1_in1k

Steps: digits, fashion, photos, pictures. Without --fashion or --photos their steps are left out. What is in the folder
(--out) already is not made again; pictures are, of every run that is there. No picture shows a photo: the page of the
photos is rendered with --redact-images.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from shots import NoBrowserError, PhotoShownError, take_all

HERE = Path(__file__).resolve().parent
DECOYS = HERE.parent / "decoy_fashion_mnist"
STEPS = ("digits", "fashion", "photos", "pictures")
#: What the digits are judged by: the verdict at the top of their page.
RULES = ("--rule", "clean_accuracy >= 0.9", "--rule", "swap_gap[feature=decoy] <= 0.1")
#: Of the fashion example: the network, and a training that takes minutes on a CPU.
NETWORK: dict[str, Any] = {"num_classes": 10, "in_chans": 3, "width": 16, "pool": True}
SIZES = ("--train", "8000", "--val", "500", "--test", "600", "--sweep", "40")
ADAM = ("--train-batch", "128", "--lr", "1e-3", "--set", "optimizer=Adam", "--set", "flip=false")
BASE = ("--method", "erm", "--start", "scratch", "--epochs", "6", "--set", "schedule=none", "--set", "weight_decay=0")
BASE_SCAN = ("--audits", "noise", "--trials", "1")
SWAP = ("--method", "swap", "-O", "share=1", "-O", "bare=0.5", "--epochs", "3", "--set", "weight_decay=2e-4")
SCAN = ("--audits", "noise,region_swap", "--trials", "1", "--swap-trials", "1")


def call(*command: str | Path) -> None:
    """Print a command, carry it out, and leave with its exit code where that is not 0."""
    words = [str(word) for word in command]
    print(shlex.join(words), flush=True)
    code = subprocess.run(words, check=False).returncode
    if code:
        raise SystemExit(code)


def spuraudit(*arguments: str | Path) -> None:
    """One call of the command line, in the Python that runs this."""
    call(sys.executable, "-m", "spuraudit", *arguments)


def digits(out: Path) -> None:
    """`spuraudit demo`: decoyed digits, a small CNN, a scan with all audits; then two gates, one of which fails."""
    if digits_run(out) is None:
        spuraudit("demo", "--output", out / "digits")
    run = digits_run(out)
    if run is not None and not (run / "verdict.json").is_file():
        spuraudit("gate", run, *RULES, "--exit-zero")


def digits_run(out: Path) -> Path | None:
    """The finished scan, or None. A change of the demo's plan gives it another name: the newest one counts."""
    records = sorted(out.glob("digits/run-*/scan.json"), key=lambda file: file.stat().st_mtime)
    return records[-1].parent if records else None


def fashion(out: Path, original: Path) -> None:
    """A network that reads squares on Fashion-MNIST, and its repair by region swap, beside a control."""
    folder = out / "fashion"
    data, start, base, fixed = (folder / name for name in ("data", "start.pt", "base", "fix"))
    folder.mkdir(parents=True, exist_ok=True)
    if not (data / "dataset.yaml").is_file():
        call(sys.executable, DECOYS / "make_fix_data.py", "--mnist", original, "--out", data, *SIZES)
    if not start.is_file():  # its weights are drawn anew by --start scratch, but a fix knows its model by its bytes
        save_network(start)
    if not (base / "fix.json").is_file():
        spuraudit("fix", start, "--data", data, *BASE, *ADAM, *BASE_SCAN, "--run", base)
    if not (fixed / "fix.json").is_file():
        spuraudit("fix", base / "fixed.safetensors", "--data", data, *SWAP, *ADAM, *SCAN, "--run", fixed)


def save_network(file: Path) -> None:
    """The network with random weights, as a checkpoint that names its architecture."""
    import torch

    from spuraudit.models.paper_cnn import PaperCNN

    weights = PaperCNN(**NETWORK).state_dict()
    torch.save({"arch": "paper_cnn", "model_kwargs": NETWORK, "state_dict": weights}, file)


def photos(out: Path, given: argparse.Namespace) -> None:
    """A scan of the user's model on the user's photos. Its own report shows the photos and stays in the folder."""
    run = out / "photos" / "run"
    if (run / "scan.json").is_file():
        return
    options = {"--data-dir": given.photos_dir, "--arch": given.arch, "--limit": given.limit}
    named = [str(word) for pair in options.items() if pair[1] is not None for word in pair]
    spuraudit("scan", given.model, "--data", given.photos, *named, *SCAN, "--output", run)


def pages(out: Path) -> dict[str, Path]:
    """Render the page of every run that is there. Charts are the drawn ones, which look the same each time."""
    folder = out / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    found, fixed, photographed = digits_run(out), out / "fashion" / "fix", out / "photos" / "run"
    wanted: dict[str, tuple[str | Path, ...]] = {}
    if found is not None:
        wanted["digits"] = (found, "--title", "Small CNN on decoyed digits")
    if (fixed / "fix.json").is_file():
        wanted["fashion"] = (fixed, "--title", "Small CNN on decoyed Fashion-MNIST, repaired by region swap")
    if (photographed / "scan.json").is_file():
        wanted["photos"] = (photographed, "--redact-images")
    for name, arguments in wanted.items():
        spuraudit("report", *arguments, "--no-charts", "--output", folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in wanted}


def parse_arguments() -> argparse.Namespace:
    """The command line. Ends with exit code 2 where a step lacks what it works on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder of data, runs and pages")
    parser.add_argument("--pictures", type=Path, help="folder of the pictures; default: OUT/pictures")
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="the four .gz files of Fashion-MNIST")
    parser.add_argument("--photos", metavar="DATA", help="a dataset of photos with masks, as for spuraudit scan --data")
    parser.add_argument("--photos-dir", type=Path, metavar="DIR", help="where its photos lie, if elsewhere")
    parser.add_argument("--model", help="an ImageNet model, as for spuraudit scan")
    parser.add_argument("--arch", help="its architecture, where the weights fit several")
    parser.add_argument("--limit", type=int, default=60, metavar="N", help="photos to scan; default: 60")
    given = parser.parse_args()
    if given.only is None:
        lacking = {"fashion": given.fashion, "photos": given.photos}
        given.only = [step for step in STEPS if lacking.get(step, step) is not None]
    if "fashion" in given.only and given.fashion is None:
        parser.error("the step fashion needs --fashion DIR")
    if "photos" in given.only and (given.photos is None or given.model is None):
        parser.error("the step photos needs --photos DATA and --model MODEL")
    return given


def main() -> None:
    """The steps that were asked for, in order."""
    given = parse_arguments()
    if "digits" in given.only:
        digits(given.out)
    if "fashion" in given.only:
        fashion(given.out, given.fashion)
    if "photos" in given.only:
        photos(given.out, given)
    if "pictures" in given.only:
        try:
            written = take_all(pages(given.out), given.pictures or given.out / "pictures")
        except (NoBrowserError, PhotoShownError) as error:
            sys.exit(f"error: {error}")
        for file in written:
            print(f"{file} ({file.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
