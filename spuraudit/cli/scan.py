"""`spuraudit scan MODEL --data DATA`: the main job."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli.scan_options import (
    audit_names,
    batch_images,
    class_pairs,
    key_values,
    outputs,
    overrides,
    refuse_idle,
    settings,
)
from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from spuraudit.gates.config import Config
    from spuraudit.models.model import Model
    from spuraudit.runs.prepare import Scan

_INPUT, _METHOD, _PATCH, _COMPUTE, _OUTPUT = "Input", "Method", "Patch swap", "Compute", "Output and verdict"


def scan(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A .pt/.pth/.ckpt/.safetensors file, or timm:NAME. Default: the config's."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="A folder with dataset.yaml, or a name such as salient1m.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Where the photos and masks lie.", rich_help_panel=_INPUT),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Split to audit. Default: the dataset's, else test, else val.", rich_help_panel=_INPUT
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="At most so many images, evenly over classes.", rich_help_panel=_INPUT),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option("--arch", help="timm architecture, where the weights fit several.", rich_help_panel=_INPUT),
    ] = None,
    model_kwargs: Annotated[
        list[str] | None,
        typer.Option(
            "--model-kwargs",
            metavar="KEY=VALUE",
            help="For the constructor, such as pad_type=same. Repeatable.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="R,G,B", help="Normalisation mean.", rich_help_panel=_INPUT)
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="R,G,B", help="Normalisation std.", rich_help_panel=_INPUT)
    ] = None,
    interpolation: Annotated[
        str | None,
        typer.Option("--interpolation", help="bilinear, bicubic, nearest or lanczos.", rich_help_panel=_INPUT),
    ] = None,
    crop_pct: Annotated[
        float | None, typer.Option("--crop-pct", help="Input size / resized size.", rich_help_panel=_INPUT)
    ] = None,
    img_size: Annotated[
        int | None, typer.Option("--img-size", min=1, help="Input size, pixels.", rich_help_panel=_INPUT)
    ] = None,
    answers: Annotated[
        str | None,
        typer.Option(
            "--answers",
            metavar="all|mapped",
            help="all: any output of the model may win; mapped: only those of the dataset's classes.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    allow_download: Annotated[
        bool,
        typer.Option(
            "--allow-download/--no-allow-download", help="Let timm:NAME fetch weights.", rich_help_panel=_INPUT
        ),
    ] = False,
    allow_chance: Annotated[
        bool,
        typer.Option(
            "--allow-chance/--no-allow-chance",
            help="Go on where clean accuracy is near chance.",
            rich_help_panel=_INPUT,
        ),
    ] = False,
    audits: Annotated[
        str | None,
        typer.Option(
            "--audits",
            metavar="NAMES",
            help="Of noise,feature_drop,region_swap,patch_swap. Default: the first three; without masks patch_swap.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    sigma: Annotated[
        list[float] | None,
        typer.Option(
            "--sigma",
            help="Noise, in [0, 1] pixels. Repeatable; the smallest serves feature_drop. Default: 0.25.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Noise draws per image. Default: 5.", rich_help_panel=_METHOD)
    ] = None,
    spurious_region: Annotated[
        str | None,
        typer.Option(
            "--spurious-region",
            metavar="complement|annotated",
            help="complement: all but the dilated core; annotated: the spurious masks.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    clamp: Annotated[
        bool | None,
        typer.Option(
            "--clamp/--no-clamp",
            help="Noise audit: clamp noised pixels to [0, 1]. Default: yes.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    swap_trials: Annotated[
        int | None,
        typer.Option(
            "--swap-trials", min=1, help="Donors of each kind per image. Default: 3.", rich_help_panel=_METHOD
        ),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            "--patch", min=1, help="Side of a patch, pixels. Default: a seventh of the input.", rich_help_panel=_PATCH
        ),
    ] = None,
    sources: Annotated[
        int | None,
        typer.Option("--sources", min=1, help="Source images per class. Default: 4.", rich_help_panel=_PATCH),
    ] = None,
    targets: Annotated[
        int | None,
        typer.Option(
            "--targets",
            min=1,
            help="Target images that lend cells, per target class. Default: 50.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    passes: Annotated[
        int | None, typer.Option("--passes", min=2, help="MC-dropout passes. Default: 100.", rich_help_panel=_PATCH)
    ] = None,
    dropout_rate: Annotated[
        float | None,
        typer.Option(
            "--dropout-rate", help="Rate where dropout must be injected. Default: 0.5.", rich_help_panel=_PATCH
        ),
    ] = None,
    source_class: Annotated[
        list[str] | None,
        typer.Option("--source-class", help="Sweep this class only. Repeatable.", rich_help_panel=_PATCH),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            metavar="CLASS:CLASS",
            help="Images of the first class get cells of the second. Repeatable. Default: chosen.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    target_classes: Annotated[
        int | None,
        typer.Option(
            "--target-classes",
            min=1,
            help="Classes that lend cells, per class: the most confused, then random ones. Default: 2.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    limit_sources: Annotated[
        int | None,
        typer.Option(
            "--limit-sources",
            min=1,
            help="At most so many source images in all, evenly over classes.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="full|adaptive",
            help="full: every cell under every target; adaptive: find the lowest cell with a quarter of the swaps.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="About so long (90s, 10m, 2h): adaptive search and fewer source images where needed.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    drop_path: Annotated[
        bool | None,
        typer.Option(
            "--drop-path/--no-drop-path",
            help="Let stochastic depth drop too. Default: no.",
            rich_help_panel=_PATCH,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of every draw. Default: 0.", rich_help_panel=_METHOD)
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=_COMPUTE)
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="fp32|bf16|fp16",
            help="bf16 and fp16 are faster and less exact; how far answers agree with fp32 is checked and recorded.",
            rich_help_panel=_COMPUTE,
        ),
    ] = "fp32",
    batch_size: Annotated[
        str,
        typer.Option(
            "--batch-size",
            "-b",
            metavar="N|auto",
            help="Images per forward pass; halved where memory runs out. auto: measured before the scan.",
            rich_help_panel=_COMPUTE,
        ),
    ] = "64",
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads.", rich_help_panel=_COMPUTE)
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="A run folder, or a file: .html .json .csv .md. Repeatable.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", help="A gate, such as 'rcs >= 0.2'. Repeatable.", rich_help_panel=_OUTPUT),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Default: .spuraudit.yaml here or above.", rich_help_panel=_OUTPUT)
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress; results only.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Audit a classifier on a masked dataset: observations, record, report, verdict.

    Example: spuraudit scan model.pt --arch resnet50 --data my_dataset --rule 'rcs >= 0.2'

    The same command again resumes an interrupted scan. Results go to a run folder under runs/; runs/last leads to it.
    """
    from spuraudit.cli.gate import collect_rules
    from spuraudit.cli.outcome import conclude
    from spuraudit.cli.progress import progress_for

    file = _config(config)
    rules = collect_rules(rule or [], config, None)
    given = {
        "split": split,
        "limit": limit,
        "answers": answers,
        "allow_chance": allow_chance or None,
        "audits": audit_names(audits),
        "sigmas": tuple(sigma) if sigma else None,
        "trials": trials,
        "spurious_region": spurious_region,
        "clamp": clamp,
        "swap_trials": swap_trials,
        "patch": patch,
        "patch_sources": sources,
        "patch_targets": targets,
        "passes": passes,
        "dropout_rate": dropout_rate,
        "source_classes": tuple(source_class) if source_class else None,
        "pairs": class_pairs(pair) if pair else None,
        "target_classes": target_classes,
        "limit_sources": limit_sources,
        "search": search,
        "budget": budget,
        "drop_path": drop_path,
        "seed": seed,
    }
    chosen = settings(file, **given)
    folder, files = outputs(output or [])
    model_spec = _given(model, file.model if file else None, "MODEL", "model.pt")
    data_spec = _given(data, file.data if file else None, "--data DATA", "--data my_dataset")
    preprocess = overrides(mean, std, interpolation, crop_pct, img_size)
    images = batch_images(batch_size)
    progress = progress_for(quiet)

    from spuraudit.data import open_dataset
    from spuraudit.models import load
    from spuraudit.runs.allocator import keep_large_blocks
    from spuraudit.runs.batching import fitting_batch_size
    from spuraudit.runs.execute import execute
    from spuraudit.runs.prepare import Machine, prepare_scan

    keep_large_blocks()  # of this process: a library would leave that to its caller
    dataset = open_dataset(
        data_spec,
        data_dir=data_dir or (file.data_dir if file else None),
        locations=file.locations if file else {},
    )
    loaded = load(
        model_spec,
        arch=arch,
        kwargs=key_values(model_kwargs or []),
        overrides=preprocess,
        device=device,
        precision=precision,
        allow_download=allow_download,
    )
    if not quiet:
        _introduce(loaded)
    if images is None:
        fitting = fitting_batch_size(loaded)
        progress.say(fitting.reason)
        images = fitting.size
    prepared = prepare_scan(loaded, dataset, chosen, Machine(images, workers), progress)
    refuse_idle(given, prepared.audits)
    run = folder or _default_folder(prepared)
    record = execute(prepared, run, argv=sys.argv[1:], progress=progress)
    raise typer.Exit(conclude(record, run, rules, files, quiet=quiet))


def _given(value: str | None, fallback: str | None, name: str, example: str) -> str:
    chosen = value or fallback
    if chosen is None:
        raise UsageError(f"Missing {name}.", f"Give it, such as: {example}, or set it in .spuraudit.yaml.")
    return chosen


def _config(path: Path | None) -> Config | None:
    from spuraudit.gates import find_config, load_config

    file = path or find_config(Path.cwd())
    return load_config(file) if file else None


def _default_folder(scan: Scan) -> Path:
    name = f"{scan.model.record.name}-{scan.dataset.name}-{scan.plan.as_asked.sha256[:8]}"
    return Path("runs") / re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def _introduce(model: Model) -> None:
    """Say what was understood before the long run: wrong preprocessing is the most frequent error."""
    from spuraudit.cli.outcome import describe_model

    for line in describe_model(model.record):
        typer.echo(line, err=True)
