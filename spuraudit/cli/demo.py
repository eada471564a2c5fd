"""`spuraudit demo`: the main job on a built-in example, without any download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for data, model and run.")] = Path("demo"),
    seed: Annotated[int, typer.Option("--seed", help="Of the training and of every draw.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; results only.")] = False,
) -> None:
    """Make digits with a planted shortcut, train a small CNN on them, scan it and show the report.

    Example: spuraudit demo -o demo, then open demo/run-.../report.html

    Handwritten digits of scikit-learn, enlarged to 28x28; four of the ten classes carry a white 4x4 square in a corner
    of their own (the layout of Hagos et al. 2022). The CNN learns the square; the scan finds it. Under a minute, no
    network.
    """
    import sys

    import torch

    from spuraudit.cli.gating import Asked
    from spuraudit.cli.outcome import conclude, describe_model
    from spuraudit.cli.progress import progress_for
    from spuraudit.runs.demo import SETTINGS, make_digits, train_cnn

    # The network is tiny: two threads would wait for each other longer than they work (measured: 2 to 6 times slower).
    torch.set_num_threads(1)
    progress = progress_for(quiet)
    progress.say(f"Drawing decoyed digits into {output / 'digits'} ...")
    data = make_digits(output / "digits")
    progress.say("Training the CNN ...")
    weights = train_cnn(output / "model.pt", seed, progress)

    from spuraudit.data import open_dataset
    from spuraudit.models import load
    from spuraudit.runs.execute import execute
    from spuraudit.runs.prepare import Machine, prepare_scan

    model = load(str(weights), device="cpu")
    for line in describe_model(model.record):
        progress.say(line)
    scan = prepare_scan(
        model, open_dataset(str(data)), SETTINGS.model_copy(update={"seed": seed}), Machine(batch_size=64), progress
    )
    run = output / f"run-{scan.plan.sha256[:8]}"
    record = execute(scan, run, argv=sys.argv[1:], progress=progress)
    conclude(record, run, Asked([]), [])
