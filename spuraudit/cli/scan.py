"""`spuraudit scan MODEL --data DATA`: the main job."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from spuraudit.cli import options
from spuraudit.cli.model_options import ModelOptions
from spuraudit.cli.scan_options import (
    audit_names,
    batch_images,
    class_pairs,
    configuration,
    given_or,
    key_values,
    open_data,
    outputs,
    overrides,
    refuse_idle,
    settings,
    zoo_folder,
)

if TYPE_CHECKING:
    from spuraudit.models.model import Model
    from spuraudit.runs.prepare import Scan


def scan(
    model: options.Model = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    split: options.Split = None,
    limit: options.Limit = None,
    arch: options.Arch = None,
    model_kwargs: options.ModelKwargs = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolation = None,
    crop_pct: options.CropPct = None,
    crop_mode: options.CropMode = None,
    img_size: options.ImgSize = None,
    head: options.Head = None,
    class_map: options.ClassMap = None,
    classnames: options.ClassNames = None,
    templates: options.Templates = None,
    answers: options.Answers = None,
    trust_code: options.TrustCode = False,
    allow_download: options.AllowDownload = False,
    allow_chance: options.AllowChance = False,
    audits: options.Audits = None,
    sigma: options.Sigma = None,
    trials: options.Trials = None,
    spurious_region: options.SpuriousRegion = None,
    clamp: options.Clamp = None,
    swap_trials: options.SwapTrials = None,
    patch: options.Patch = None,
    sources: options.Sources = None,
    targets: options.Targets = None,
    passes: options.Passes = None,
    dropout_rate: options.DropoutRate = None,
    source_class: options.SourceClass = None,
    pair: options.Pair = None,
    target_classes: options.TargetClasses = None,
    limit_sources: options.LimitSources = None,
    search: options.Search = None,
    budget: options.Budget = None,
    drop_path: options.DropPath = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch_size: options.BatchSize = "64",
    workers: options.Workers = None,
    output: options.Output = None,
    redact_images: options.RedactImages = False,
    rule: options.Rule = None,
    against: options.Against = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
) -> None:
    """Audit a classifier on a masked dataset: observations, record, report, verdict.

    Example: spuraudit scan model.pt --data my_dataset --rule 'rcs >= 0.2'

    The same command again resumes an interrupted scan. Results go to a run folder under runs/; runs/last leads to it.
    """
    from spuraudit.cli.gating import before_a_scan
    from spuraudit.cli.outcome import conclude
    from spuraudit.cli.pages import pages_of
    from spuraudit.cli.progress import progress_for

    file = configuration(config)
    gates = before_a_scan(rule or [], config)
    pages = pages_of(file, redact_images=redact_images)
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
    model_spec = given_or(model, file.model if file else None, "MODEL", "model.pt")
    preprocess = overrides(mean, std, interpolation, crop_pct, crop_mode, img_size)
    images = batch_images(batch_size)
    others = zoo_folder(against)
    progress = progress_for(quiet)

    from spuraudit.runs.allocator import keep_large_blocks
    from spuraudit.runs.batching import fitting_batch_size
    from spuraudit.runs.execute import execute
    from spuraudit.runs.prepare import Machine, prepare_scan

    keep_large_blocks()  # of this process: a library would leave that to its caller
    dataset = open_data(data, data_dir, file)
    machine = Machine(images or 64, workers)
    asked = ModelOptions(
        arch=arch,
        kwargs=key_values(model_kwargs or []),
        overrides=preprocess,
        head=head,
        classnames=classnames,
        templates=templates,
        trust_code=trust_code,
        allow_download=allow_download,
        device=device,
        precision=precision,
    )

    loaded, dataset = asked.load_for(model_spec, dataset, class_map, chosen, machine, progress)
    if not quiet:
        _introduce(loaded)
    if images is None:
        fitting = fitting_batch_size(loaded)
        progress.say(fitting.reason)
        machine = Machine(fitting.size, workers)
    prepared = prepare_scan(loaded, dataset, chosen, machine, progress)
    refuse_idle(given, prepared.audits)
    run = folder or _default_folder(prepared)
    record = execute(prepared, run, argv=sys.argv[1:], progress=progress)
    raise typer.Exit(conclude(record, run, gates, files, against=others, pages=pages))


def _default_folder(scan: Scan) -> Path:
    name = f"{scan.model.record.name}-{scan.dataset.name}-{scan.plan.as_asked.sha256[:8]}"
    return Path("runs") / re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def _introduce(model: Model) -> None:
    """Say what was understood before the long run: wrong preprocessing is the most frequent error."""
    from spuraudit.cli.outcome import describe_model

    for line in describe_model(model.record):
        typer.echo(line, err=True)
