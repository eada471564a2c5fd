"""`spuraudit zoo --data DATA`: many models on one dataset, in as few passes over the images as memory allows."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from spuraudit.cli import options
from spuraudit.cli.zoo_options import absolute, executor_of, items_of, share_of
from spuraudit.errors import EXIT_NOT_EVALUATED, UsageError

_ZOO, _MACHINES = "Models", "Machines"


def zoo(
    zoo_file: Annotated[
        Path | None,
        typer.Option("--zoo", metavar="FILE", help="Default: the 42 models of the CoRM paper.", rich_help_panel=_ZOO),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Models of this group. Repeatable.", rich_help_panel=_ZOO)
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            "-m",
            metavar="ID|MODEL",
            help="An entry, or anything `spuraudit scan` takes, such as a file. Repeatable.",
            rich_help_panel=_ZOO,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="own|si-authors",
            help="own: each model's preprocessing; si-authors: that of the Salient ImageNet code for all timm models.",
            rich_help_panel=_ZOO,
        ),
    ] = None,
    zoo_files: Annotated[
        Path | None,
        typer.Option(
            "--zoo-files",
            metavar="DIR",
            help="Weight files that the zoo file names. Default: SPURAUDIT_ZOO_FILES, then beside the zoo file.",
            rich_help_panel=_ZOO,
        ),
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Print the models and where they come from, and stop.", rich_help_panel=_ZOO)
    ] = False,
    trust_code: options.TrustCode = False,
    allow_download: options.AllowDownload = False,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    split: options.Split = None,
    limit: options.Limit = None,
    answers: options.Answers = None,
    allow_chance: options.AllowChance = False,
    audits: options.Audits = None,
    sigma: options.Sigma = None,
    trials: options.Trials = None,
    spurious_region: options.SpuriousRegion = None,
    clamp: options.Clamp = None,
    swap_trials: options.SwapTrials = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch_size: options.BatchSize = "64",
    workers: options.Workers = None,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory",
            min=0.001,
            metavar="GB",
            help="For the weights of models that share a pass. Default: half of what is free.",
            rich_help_panel=options.COMPUTE,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            "--executor", metavar="here|ray", help="ray: a cluster (pip install ray).", rich_help_panel=_MACHINES
        ),
    ] = "here",
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            help="Of a running cluster; without it one is started on this machine.",
            rich_help_panel=_MACHINES,
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option("--ray-workers", min=1, help="Processes of a cluster started here.", rich_help_panel=_MACHINES),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker", help="May be a fraction. Default: 1 if there are any.", rich_help_panel=_MACHINES
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Where machines that share no folder leave their parts: any fsspec URL, such as s3://bucket/run.",
            rich_help_panel=_MACHINES,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Answer one of N shares and stop, under any scheduler.",
            rich_help_panel=_MACHINES,
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Conclude from the shares' parts.", rich_help_panel=_MACHINES),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Default: under runs/.", rich_help_panel=options.OUTPUT),
    ] = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
) -> None:
    """Audit many models on one dataset: a run folder for each, one report for all.

    Example: spuraudit zoo --models a.pt --models timm:resnet50.a1_in1k --data my_dataset -o runs/zoo

    The same command again resumes. Models that fail are reported and stop nobody; exit code 2 if none was evaluated.
    Parameters of the patch swap come from the configuration file.
    """
    from spuraudit.cli.zoo_outcome import conclude, print_zoo
    from spuraudit.record.zoo_file import FILES_VARIABLE, load_zoo

    if zoo_files is not None:  # for whoever loads an entry, in other processes too
        os.environ[FILES_VARIABLE] = str(zoo_files.absolute())
    found = load_zoo(zoo_file, preset=preset)
    if listing:
        print_zoo(found)
        raise typer.Exit

    from spuraudit.cli.gating import say_unjudged
    from spuraudit.cli.pages import pages_of
    from spuraudit.cli.progress import progress_for
    from spuraudit.cli.scan_options import audit_names, batch_images, configuration, given_or, refuse_idle, settings
    from spuraudit.runs.allocator import keep_large_blocks
    from spuraudit.runs.prepare import Machine
    from spuraudit.runs.storage import Storage
    from spuraudit.runs.zoo import ZooRun, run_zoo
    from spuraudit.runs.zoo_job import Loading, ZooJob

    keep_large_blocks()
    file = configuration(config)
    pages = pages_of(file)
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
        "seed": seed,
    }
    chosen = settings(file, **given)
    if chosen.audits is not None:
        refuse_idle(given, chosen.audits)
    images = batch_images(batch_size)
    if images is None:
        raise UsageError("--batch-size auto fits one model, not many.", "Give a number, such as 64.")
    data_spec = given_or(data, file.data if file else None, "--data DATA", "--data my_dataset")
    place = data_dir or (file.data_dir if file else None)
    job = ZooJob(
        items=items_of(found, group or [], models or [], preset),
        data=absolute(data_spec),
        folder=(output or Path("runs") / f"zoo-{re.sub(r'[^A-Za-z0-9._-]+', '_', Path(data_spec).name)}").absolute(),
        data_dir=place.absolute() if place else None,
        locations=tuple((name, str(Path(where).expanduser().absolute())) for name, where in file.locations.items())
        if file
        else (),
        settings=chosen,
        machine=Machine(images, workers),
        loading=Loading(device, precision, allow_download, trust_code),
        memory=int(memory * 1e9) if memory else None,
    )
    progress = progress_for(quiet)
    shared = Storage(storage) if storage is not None else None
    share = share_of(shard, merge)
    with executor_of(executor, ray_address, ray_workers, gpus, shared, share) as work:
        run = ZooRun(job, work, progress, shared, conclude_all=shard is None)
        record = run_zoo(run, zoo=found.file.name, source=found.source, argv=sys.argv[1:])
    if record is None:
        for id_, reason in run.failed.items():
            print(f"{id_}: not evaluated. {reason}", file=sys.stderr)
        if run.failed:  # a scheduler must see it
            raise typer.Exit(EXIT_NOT_EVALUATED)
        print(f"Share {shard} is answered. When all are: the same command with --merge.", file=sys.stderr)
        return
    say_unjudged(file, job.folder)
    conclude(record, job.folder, pages, quiet=quiet)
