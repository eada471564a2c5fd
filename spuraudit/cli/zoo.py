"""`spuraudit zoo --data DATA`: many models on one dataset, in as few passes over the images as memory allows."""

from __future__ import annotations

import os
import re
import sys
from contextlib import closing, nullcontext
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli import options
from spuraudit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from spuraudit.record.zoo import ZooRecord
    from spuraudit.record.zoo_file import Zoo
    from spuraudit.runs.storage import Storage
    from spuraudit.runs.zoo import Executor, Share
    from spuraudit.runs.zoo_job import ZooItem, ZooJob

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
            metavar="GB",
            help="For the weights of models that share a pass. Default: half of what is free.",
            rich_help_panel=options.COMPUTE,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            "--executor", metavar="here|ray", help="ray: a cluster (spuraudit[ray]).", rich_help_panel=_MACHINES
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
        bool, typer.Option("--merge", help="Ask nothing; conclude from the shares' parts.", rich_help_panel=_MACHINES)
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
    from spuraudit.record.zoo_file import FILES_VARIABLE, load_zoo

    if zoo_files is not None:  # for whoever loads an entry, in other processes too
        os.environ[FILES_VARIABLE] = str(zoo_files.absolute())
    found = load_zoo(zoo_file, preset=preset)
    if listing:
        _print_zoo(found)
        raise typer.Exit

    from spuraudit.cli.progress import progress_for
    from spuraudit.cli.scan_options import audit_names, batch_images, configuration, given_or, settings
    from spuraudit.runs.allocator import keep_large_blocks
    from spuraudit.runs.prepare import Machine
    from spuraudit.runs.zoo import ZooRun, run_zoo
    from spuraudit.runs.zoo_job import Loading, ZooJob

    keep_large_blocks()
    file = configuration(config)
    chosen = settings(
        file,
        split=split,
        limit=limit,
        answers=answers,
        allow_chance=allow_chance or None,
        audits=audit_names(audits),
        sigmas=tuple(sigma) if sigma else None,
        trials=trials,
        spurious_region=spurious_region,
        clamp=clamp,
        swap_trials=swap_trials,
        seed=seed,
    )
    images = batch_images(batch_size)
    if images is None:
        raise UsageError("--batch-size auto fits one model, not many.", "Give a number, such as 64.")
    data_spec = given_or(data, file.data if file else None, "--data DATA", "--data my_dataset")
    place = data_dir or (file.data_dir if file else None)
    job = ZooJob(
        items=_items(found, group or [], models or [], preset),
        data=_absolute(data_spec),
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
    shared = _storage(storage)
    share = _share(shard, merge)
    with _executor(executor, ray_address, ray_workers, gpus, shared, share) as work:
        run = ZooRun(job, work, progress, shared, conclude_all=shard is None)
        record = run_zoo(run, zoo=found.file.name, source=found.source, argv=sys.argv[1:])
    if record is None:
        print(f"Share {shard} is answered. When all are: the same command with --merge.", file=sys.stderr)
        return
    _conclude(record, job, quiet)


def _items(found: Zoo, groups: list[str], models: list[str], preset: str | None) -> tuple[ZooItem, ...]:
    """Entries of the zoo file, in its order, then everything else that was named."""
    from spuraudit.runs.zoo_job import ZooItem

    known = {entry.id for entry in found.entries}
    others = [model for model in models if model not in known]
    for other in others:
        if ":" not in other and not Path(other).exists():
            hint = did_you_mean(other, known) or "See spuraudit zoo --list, or give a file, timm:NAME, ..."
            raise UsageError(f"{found.file.name} has no model {other!r}, and there is no such file.", hint)
    ids = [model for model in models if model in known]
    entries = found.select(groups, ids) if groups or ids or not others else ()
    items = [
        ZooItem(
            entry.id,
            entry.name,
            f"zoo:{found.file.absolute()}#{entry.id}{f'@{preset}' if preset else ''}",
            entry.group,
            entry.class_map,
            entry.licence,
            entry.published,
            entry.shown_spec,
        )
        for entry in entries
    ]
    taken = {item.id for item in items}
    for other in others:
        name = Path(other).name.removesuffix(".tar").rsplit(".", 1)[0] if Path(other).is_file() else other
        own = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
        # Files of one name in several folders are several models.
        numbered = (f"{own}-{number}" for number in count(2))
        free = next(id_ for id_ in chain([own], numbered) if id_ not in taken)
        taken.add(free)
        items.append(ZooItem(free, name if free == own else free, _absolute(other)))
    return tuple(items)


def _absolute(spec: str) -> str:
    """A path from the root on, since other processes work elsewhere; anything else as it is."""
    path = Path(spec).expanduser()
    return str(path.absolute()) if path.exists() else spec


def _share(shard: str | None, merge: bool) -> Share | None:
    from spuraudit.runs.zoo import Share

    if merge and shard is not None:
        raise UsageError("--merge concludes, --shard answers a share.", "Give one of them.")
    if merge:
        return Share(0, 1)  # the share of nobody
    if shard is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {shard!r}: expected I/N with I from 1 to N.", "For example --shard 1/16")
    return Share(int(found[1]), int(found[2]))


def _storage(url: str | None) -> Storage | None:
    from spuraudit.runs.storage import Storage

    return Storage(url) if url is not None else None


def _executor(
    name: str,
    address: str | None,
    workers: int | None,
    gpus: float | None,
    storage: Storage | None,
    share: Share | None,
) -> AbstractContextManager[Executor]:
    from spuraudit.runs.zoo import Here

    if name not in ("here", "ray"):
        raise UsageError(f"--executor {name!r}: unknown.", "Use here or ray.")
    if name == "ray":
        if share is not None:
            raise UsageError("Ray hands out the shards itself: --shard and --merge have no effect.", "Leave them out.")
        from spuraudit.runs.zoo_ray import OnRay

        return closing(OnRay(address, workers, gpus, storage=storage))
    idle = {"--ray-address": address, "--ray-workers": workers, "--gpus-per-worker": gpus}
    for flag, value in idle.items():
        if value is not None:
            raise UsageError(f"{flag} has no effect here.", "Add --executor ray, or leave it out.")
    return nullcontext(Here(share))


def _conclude(record: ZooRecord, job: ZooJob, quiet: bool) -> None:
    """Write the report and the table; print the figures."""
    from spuraudit.cli.stdout import printing
    from spuraudit.record.folder import point_last, write_bytes
    from spuraudit.report.output import write
    from spuraudit.report.zoo_csv import features_csv_text, zoo_csv_text
    from spuraudit.report.zoo_evidence import gather_zoo
    from spuraudit.report.zoo_page import render_zoo_evidence

    folder = job.folder
    for model in record.models:  # first, since the page links to them
        if model.run is not None:
            write(folder / model.run, folder / model.run / "report.html", charts=False)
    evidence = gather_zoo(folder)
    write_bytes(folder / "zoo.csv", zoo_csv_text(evidence).encode())
    write_bytes(folder / "features.csv", features_csv_text(evidence).encode())
    write_bytes(folder / "zoo.html", render_zoo_evidence(evidence).encode())
    if folder.parent.name == "runs":
        point_last(folder)
    if not quiet:
        with printing():
            _print_record(record, folder)
    failed = sum(model.status == "failed" for model in record.models)
    said = f"{len(record.models) - failed} of {len(record.models)} models evaluated"
    print(f"{said}{f', {failed} failed (see above)' if failed else ''}. Report: {folder / 'zoo.html'}", file=sys.stderr)


def _print_record(record: ZooRecord, folder: Path) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spuraudit.record.folder import read_record

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("Model", "Group", "Clean", "Core", "Spurious", "RCS", "Published"):
        table.add_column(title, justify="left" if title in ("Model", "Group") else "right")
    for model in record.models:
        if model.run is None:
            continue
        found = {m.metric: m for m in read_record(folder / model.run).measurements if not set(m.scope) - {"sigma"}}
        values = [found[name].value if name in found else None for name in _COLUMNS]
        shown = ["-" if value is None else f"{100 * value:.1f} %" for value in values[:3]]
        rcs = values[3]
        printed = model.published.rcs if model.published is not None else None
        table.add_row(
            Text(model.name),
            Text(model.group or ""),
            *shown,
            "-" if rcs is None else f"{rcs:+.3f}",
            "" if printed is None else f"{printed:+.3f}",
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


_COLUMNS = ("clean_accuracy", "core_accuracy", "spurious_accuracy", "rcs")


def _print_zoo(found: Zoo) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("Id", "Model", "Group", "From", "Licence"):
        table.add_column(title)
    for entry in found.entries:
        origin = entry.shown_spec if entry.adapter is None else ", ".join(entry.adapter.files.values())
        table.add_row(entry.id, Text(entry.name), Text(entry.group or ""), Text(origin), Text(entry.licence or ""))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
