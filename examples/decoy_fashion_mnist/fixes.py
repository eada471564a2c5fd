"""Train the paper's network on decoyed Fashion-MNIST, then repair it with every method of `spuraudit fix`.

    python fixes.py --data fix_data --out fixes --seeds 0 1 2

Every command is printed before it is carried out. The same command again goes on where it was stopped. results.json and
table.md are written anew after each seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from border import VARIANTS
from decoys import NAMES
from fix_measures import at_decoy, of_groups, seen_by_grad_cam

from spuraudit.cli.main import main as spuraudit_command
from spuraudit.models.paper_cnn import PaperCNN

SCAN = Path(__file__).resolve().parent / "fix_scan.yaml"
NETWORK: dict[str, Any] = {"num_classes": len(NAMES), "in_chans": 3, "width": 16, "pool": True}
TRAINED_ON, BATCH = 8_000, 128
ADAM = f"--train-batch {BATCH} --lr 1e-3 --set optimizer=Adam --set flip=false"
BASE = f"--method erm --start scratch --epochs 4 {ADAM} --set schedule=none --set weight_decay=0"
#: An L2 term of 1e-4 * sum of squares has the gradient 2e-4 * weight, which is what Adam's weight_decay means.
REPAIR = f"--epochs 3 {ADAM} --set weight_decay=2e-4 --set schedule=StepLR --set schedule_args.gamma=0.7"
SWEEP = "--split sweep --audits patch_swap --pair sneaker:shirt --targets 50 --passes 100"


class Call(NamedTuple):
    """A call of `spuraudit fix`: which methods it trains, their options, and what the table calls each."""

    name: str
    methods: dict[str, str]
    options: str = ""


CALLS = (
    Call(
        "first",
        {
            "swap": "swap share=1 bare=.5 (counterexamples)",
            "rrr": "rrr random-logits, weight .1",
            "crayon-attention": "crayon-attention",
            "corm": "corm noise sigma=1",
            "dfr": "dfr",
            "jtt": "jtt",
        },
        "-O swap.share=1 -O swap.bare=0.5 -O corm.sigma=1",
    ),
    Call(
        "second",
        {
            "swap": "swap share=.5 bare=1 (decoy removed)",
            "rrr": "rrr log-probabilities, weight .01",
            "gradcam-rrr": "gradcam-rrr form=element",
            "corm": "corm saliency weight=10",
        },
        "-O swap.share=0.5 -O swap.bare=1 -O rrr.form=log-probabilities -O gradcam-rrr.form=element -O corm.sigma=0 "
        "-O corm.weight=10",
    ),
    Call(
        "third",
        {
            "swap": "swap as it comes (share=.5 bare=0)",
            "rrr": "rrr log-probabilities, weight 1",
            "gradcam-rrr": "gradcam-rrr norm=min-max relu=false weight=10",
            "scgs": "scgs share=.04",
            "crayon-pruning": "crayon-pruning",
            "crayon": "crayon",
        },
        # The default share of scgs would be 25,920 new images here.
        "-O rrr.form=log-probabilities -O rrr.weight=1 -O gradcam-rrr.norm=min-max -O gradcam-rrr.relu=false "
        "-O gradcam-rrr.weight=10 -O scgs.share=0.04",
    ),
)
#: Alone, for its exit code; what is scanned does not matter here.
PUBLISHED = "--method gradcam-rrr --limit 300"
COLUMNS = (*VARIANTS, "change", "log_odds", "lowest")


def spuraudit(log: Path, *arguments: str) -> int:
    """What the command does, in this process; its output goes to a file. Returns the exit code."""
    print("spuraudit", shlex.join(arguments), flush=True)
    with log.open("a", encoding="utf-8") as lines, redirect_stdout(lines), redirect_stderr(lines):
        return spuraudit_command(list(arguments))


def need(log: Path, *arguments: str) -> None:
    """The same, of a command without which nothing can go on."""
    code = spuraudit(log, *arguments)
    if code != 0:
        print(f"error: exit code {code}; see {log}", file=sys.stderr)
        raise SystemExit(2)


def measured(checkpoint: Path, run: Path, data: Path, sweep: Path, sources: int, log: Path) -> dict[str, float]:
    """Accuracy of each group of a finished scan, and the sweep, which is scanned here."""
    asked = [*SWEEP.split(), "--sources", str(sources), "--seed", "0", "--quiet", "--output", str(sweep)]
    need(log, "scan", str(checkpoint), "--data", str(data), *asked)
    found = at_decoy(sweep, checkpoint, data / "images")
    return {**of_groups(run), **found._asdict()}


def one_seed(data: Path, out: Path, seed: int, repair: str, calls: list[Call]) -> dict[str, Any]:
    """Base, control and every method; returns rows by name, refusals and what Grad-CAM sees."""
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.txt"
    shared = ["--data", str(data), "--config", str(SCAN), "--seed", str(seed)]
    start, base = out / "start.pt", out / "base.safetensors"
    if not start.is_file():  # its weights are drawn anew by --start scratch, but a fix knows its model by its bytes
        weights = PaperCNN(**NETWORK).state_dict()
        torch.save({"arch": "paper_cnn", "model_kwargs": NETWORK, "state_dict": weights}, start)
    need(log, "fix", str(start), *shared, *BASE.split(), "--run", str(out / "base"), "-o", str(base))
    rows = {"base": measured(base, out / "base" / "fixed", data, out / "sweep-base", 20, log)}
    refused: dict[str, str] = {}
    for call in calls:
        folder = out / call.name
        methods = ["--method", ",".join(call.methods), *call.options.split()]
        need(log, "fix", str(base), *shared, *methods, *repair.split(), "--run", str(folder))
        for trial in json.loads((folder / "trials.json").read_text(encoding="utf-8"))["trials"]:
            name = call.methods[trial["method"]]
            if trial["status"] != "done":
                refused[name] = f"{trial['status']}: {trial['reason']}"
                continue
            fix = folder / trial["method"]
            if "control" not in rows:
                arms = fix / "control.safetensors", fix / "control"
                rows["control"] = measured(*arms, data, out / "sweep-control", 10, log)
            sweep = out / f"sweep-{call.name}-{trial['method']}"
            rows[name] = measured(fix / "fixed.safetensors", fix / "fixed", data, sweep, 10, log)
    code = spuraudit(
        log, "fix", str(base), *shared, *PUBLISHED.split(), *repair.split(), "--run", str(out / "published")
    )
    seen = seen_by_grad_cam(base, *same_images(data))
    return {"seed": seed, "rows": rows, "refused": refused, "published_exit_code": code, "grad_cam": seen._asdict()}


def same_images(data: Path) -> tuple[list[Path], list[int]]:
    """Test images with their own squares, and their classes."""
    with (data / "images.csv").open(newline="", encoding="utf-8") as lines:
        chosen = [row for row in csv.DictReader(lines) if (row["split"], row["group"]) == ("test", "same")]
    return [data / "images" / row["image"] for row in chosen], [NAMES.index(row["class"]) for row in chosen]


def table(results: list[dict[str, Any]]) -> str:
    """A row per model, in each cell the seeds in order, their mean and the worst of them, as Markdown."""
    heads = ("", *VARIANTS, "change", "change, log-odds", "lowest is decoy")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    names = list(dict.fromkeys(name for result in results for name in result["rows"]))
    for name in names:
        rows = [result["rows"][name] for result in results if name in result["rows"]]
        lines.append(f"| {name} | {' | '.join(cell([row[key] for row in rows], key) for key in COLUMNS)} |")
    for result in results:
        for name, reason in result["refused"].items():
            lines.append(f"\nSeed {result['seed']}, {name}: {reason}")
    return "\n".join(lines) + "\n"


def cell(values: list[float], column: str) -> str:
    """`.748 .762 .764 (.758, .748)`: seeds, then mean and worst: the lowest accuracy, the largest change."""
    shown: Callable[[float], str] = (lambda v: f"{v:.1f}") if column == "log_odds" else short
    if len(values) == 1:
        return shown(values[0])
    mean, worst = sum(values) / len(values), min(values) if column in VARIANTS else max(values)
    return f"{' '.join(map(shown, values))} ({shown(mean)}, {shown(worst)})"


def short(value: float) -> str:
    """Three digits, without the 0 in front of the point."""
    return f"{value:.3f}".replace("0.", ".", 1)


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Repair a network that reads decoys, with every method of spuraudit fix.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    needed: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS, "type": Path}
    parser.add_argument("--data", metavar="DIR", help="what make_fix_data.py wrote", **needed)
    parser.add_argument("--out", metavar="DIR", help="folder for all runs", **needed)
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", default=[0, 1, 2], help="a network each")
    names = [call.name for call in CALLS]
    parser.add_argument("--calls", nargs="+", choices=names, default=names, help="of spuraudit fix")
    parser.add_argument("--limit-train", type=positive, metavar="N", default=TRAINED_ON, help="images of a repair")
    return parser.parse_args()


def main() -> None:
    """All seeds; what is known so far is written after each."""
    args = parse_arguments()
    if not (args.data / "images.csv").is_file():
        print(f"error: {args.data} holds no images.csv: write it with make_fix_data.py", file=sys.stderr)
        raise SystemExit(2)
    epoch = -(-args.limit_train // BATCH)
    repair = f"--limit-train {args.limit_train} {REPAIR} --set schedule_args.step_size={epoch}"
    calls = [call for call in CALLS if call.name in args.calls]
    results: list[dict[str, Any]] = []
    for seed in args.seeds:
        results.append(one_seed(args.data, args.out / f"seed{seed}", seed, repair, calls))
        (args.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        (args.out / "table.md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
