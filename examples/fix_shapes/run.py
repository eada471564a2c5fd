"""Every method of `spuraudit fix` on drawn shapes, over several seeds, beside its control.

    python run.py --out runs --seeds 4 5 6

For each seed: draw the data, train a network from scratch (ERM), repair it with every method by fine-tuning, and train
it from scratch again with JTT. A finished seed is not run again. Prints one table: worst-group accuracy on the held-out
images, and what each method gained over the control of its seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NET = f"{HERE / 'net.py'}:build"
#: As the ERM network is trained: the same for controls and methods.
TRAINING = (
    "--train-batch=64",
    "--set=optimizer=Adam",
    "--set=weight_decay=0",
    "--set=schedule=none",
    "--set=flip=false",
    "--set=batch_norm=train",
)
SCRATCH = ("--start=scratch", "--epochs=12", "--lr=1e-3")
FINE = ("--epochs=5", "--lr=5e-4")
FINE_TUNED = ("swap", "dfr", "scgs", "crayon-attention", "crayon-pruning", "crayon", "rrr", "gradcam-rrr", "corm")
OPTIONS = (
    "--option=scgs.early_start=scratch",
    "--option=scgs.early_epochs=2",
    "--option=scgs.cam_threshold=0.5",
    # chosen while looking at seeds 1 and 4
    "--option=crayon-attention.beta=0.2",
    "--option=crayon.beta=0.2",
)
ERRORS = ("--option=upweight=50", "--option=early_epochs=2")
WORST = "worst_group_accuracy"


def fix(folder: Path, data: Path, seed: int, *arguments: str) -> None:
    """One call of the command line, unless its folder is finished. A method that stops is in the record."""
    if any((folder / name).is_file() for name in ("fix.json", "trials.json")):
        return
    command = [sys.executable, "-m", "spuraudit", "fix", NET, "--trust-code", "--data", str(data), "--seed", str(seed)]
    command += ["--audits", "region_swap", "--run", str(folder), "--quiet", *TRAINING, *arguments]
    print(" ".join(command), flush=True)
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(finished.stderr)


def one_seed(out: Path, seed: int) -> dict[str, tuple[float, float] | str]:
    """Per method (worst group, that of its control), or why there is none."""
    folder, data = out / f"seed{seed}", out / f"data{seed}"
    if not data.exists():
        subprocess.run([sys.executable, HERE / "draw.py", "--out", data, "--seed", str(seed)], check=True)
    fresh = f"--model-kwargs=seed={seed}"
    fix(folder / "erm", data, seed, fresh, *SCRATCH, "--method=erm")
    trained = f"--model-kwargs=weights={(folder / 'erm' / 'fixed.safetensors').absolute()}"
    fix(folder / "fine", data, seed, trained, *FINE, f"--method={','.join(FINE_TUNED)}", *OPTIONS)
    fix(folder / "jtt", data, seed, fresh, *SCRATCH, "--method=jtt", *ERRORS)
    fix(folder / "jtt-selected", data, seed, fresh, *SCRATCH, "--method=jtt", *ERRORS, "--select=worst_group")
    found: dict[str, tuple[float, float] | str] = {}
    for name in ("erm", "jtt", "jtt-selected"):
        credit = json.loads((folder / name / "fix.json").read_bytes())["comparisons"]["credit"]
        (change,) = [one for one in credit["changes"] if one["metric"] == WORST]
        found[name] = change["after"], change["before"]
    for trial in json.loads((folder / "fine" / "trials.json").read_bytes())["trials"]:
        worst = [one for one in trial["standings"] if one["metric"] == WORST]
        found[trial["method"]] = (worst[0]["fixed"], worst[0]["control"]) if worst else trial["reason"]
    return found


def table(seeds: dict[int, dict[str, tuple[float, float] | str]]) -> None:
    """A row per method: each seed as 'worst group (gain over its control)', then mean, minimum, smallest gain."""
    print(f"| method | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | min | smallest gain |")
    print("|---|" + "---|" * (len(seeds) + 3))
    controls = [float(of["swap"][1]) for of in seeds.values()]
    print(f"| control | {' | '.join(f'{one:.3f}' for one in controls)} | {_mean(controls)} | |")
    for method in next(iter(seeds.values())):
        cells, values, gains = [], [], []
        for of in seeds.values():
            value = of[method]
            if isinstance(value, str):
                cells.append("stopped")
                continue
            values.append(value[0])
            gains.append(value[0] - value[1])
            cells.append(f"{value[0]:.3f} ({gains[-1]:+.3f})")
        rest = f"{_mean(values)} | {min(gains):+.3f}" if len(values) == len(seeds) else "- | - | -"
        print(f"| {method} | {' | '.join(cells)} | {rest} |")


def _mean(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} | {min(values):.3f}"


def main() -> None:
    """Run what is not there yet, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[4, 5, 6])
    given = parser.parse_args()
    table({seed: one_seed(given.out, seed) for seed in given.seeds})


if __name__ == "__main__":
    main()
