"""`spuraudit fix MODEL --data DATA --method M -o fixed.safetensors`: fine-tune, scan again, compare."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli import options
from spuraudit.cli.model_options import ModelOptions
from spuraudit.cli.scan_options import (
    audit_names,
    batch_images,
    configuration,
    given_or,
    key_values,
    open_data,
    overrides,
    refuse_idle,
    settings,
)
from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from spuraudit.fix.methods.base import Method
    from spuraudit.fix.prepare import Fix

_METHOD, _TRAINING = "Method", "Training"


def fix(
    model: options.Model = None,
    data: options.Data = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAMES",
            help="One, several separated by commas, or auto: all that the data allow, beside one control, and which to "
            "take. See --explain list.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-O",
            metavar="KEY=VALUE",
            help="Of the method, such as weight=10; of one of several, corm.weight=10. Repeatable.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    from_run: Annotated[
        Path | None,
        typer.Option(
            "--from-run",
            metavar="RUN",
            help="A scan whose suspected features and cells are the region to unlearn, where there are no masks.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            metavar="FOLDER",
            help="Yes/no answers to heatmaps, for crayon: see `spuraudit annotate`.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="TIME", help="For several methods, such as 30m or 2h.", rich_help_panel=_METHOD
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="NAME",
            help="Print what a method needs, does and takes, and exit: a method, list, or training.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            metavar="model|new-head|scratch",
            help="From the model as it is, with a new last layer for the data's classes, or from random weights.",
            rich_help_panel=_TRAINING,
        ),
    ] = "model",
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="Over the training images. Default: 3.", rich_help_panel=_TRAINING)
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Learning rate. Default: 1e-4.", rich_help_panel=_TRAINING)
    ] = None,
    train_batch: Annotated[
        int | None,
        typer.Option("--train-batch", min=1, help="Images per step. Default: 32.", rich_help_panel=_TRAINING),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            "--select",
            metavar="MEASURE",
            help="Keep the epoch that is best on validation images by accuracy, worst_group, core_accuracy or rcs. "
            "Default: the last one.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other setting of the loop, such as optimizer=SGD or optimizer_args.momentum=0.9. Repeatable; "
            "all: --explain training.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    train_split: Annotated[
        str | None, typer.Option("--train-split", help="To learn from. Default: train.", rich_help_panel=options.DATA)
    ] = None,
    val_split: Annotated[
        str | None,
        typer.Option(
            "--val-split", help="To choose by. Default: val, where there is one.", rich_help_panel=options.DATA
        ),
    ] = None,
    limit_train: Annotated[
        int | None,
        typer.Option(
            "--limit-train",
            min=2,
            help="At most so many training images, evenly over classes.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
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
    answers: options.Answers = None,
    trust_code: options.TrustCode = False,
    allow_download: options.AllowDownload = False,
    allow_chance: options.AllowChance = False,
    audits: options.Audits = None,
    sigma: options.Sigma = None,
    trials: options.Trials = None,
    swap_trials: options.SwapTrials = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="That share every batch.", rich_help_panel=options.COMPUTE)
    ] = 1,
    batch_size: options.BatchSize = "64",
    workers: options.Workers = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The fixed checkpoint, .safetensors or .pt. Default: in the folder of the fix.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="DIR", help="Folder of the fix. Default: under runs/.", rich_help_panel=options.OUTPUT
        ),
    ] = None,
    rule: options.Rule = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune a model so that it stops relying on what surrounds the object, and prove it on held-out images.

    Example: spuraudit fix model.pt --data my_dataset --method swap -o fixed.safetensors

    A control is trained beside it (plain cross-entropy, same start, steps, seed and data): the method is credited with
    what exceeds it. Both are scanned as `spuraudit scan` does. The same command again resumes. MODEL is not touched.
    """
    from spuraudit.cli.fix_options import explain as explained
    from spuraudit.cli.fix_options import method_names, method_options, refuse_unread, start_of, training_settings

    if explain is not None:
        typer.echo(explained(explain))
        raise typer.Exit
    from spuraudit.cli.fix_outcome import conclude, conclude_several
    from spuraudit.cli.fix_output import check_places, prepared_fixes, refuse_another
    from spuraudit.cli.gating import before_a_scan
    from spuraudit.cli.pages import pages_of
    from spuraudit.cli.progress import progress_for
    from spuraudit.fix.catalogue import make_method
    from spuraudit.fix.execute import carry_out
    from spuraudit.fix.prepare import Wanted, prepare_fix
    from spuraudit.fix.several import try_methods
    from spuraudit.runs.allocator import keep_large_blocks
    from spuraudit.runs.prepare import Machine

    file = configuration(config)
    gates = before_a_scan(rule or [], config)
    pages = pages_of(file)
    names = method_names(method)
    chosen_options = method_options(names, option or [])
    refuse_unread(names, {"from_run": from_run, "annotations": annotations})
    if budget is not None and len(names) == 1:
        raise UsageError("--budget is for several methods.", "Leave it out, or use --method auto.")
    training = training_settings(setting or [], epochs=epochs, lr=lr, batch_size=train_batch, select=select)
    given = {
        "split": split,
        "limit": limit,
        "answers": answers,
        "allow_chance": allow_chance or None,
        "audits": audit_names(audits),
        "sigmas": tuple(sigma) if sigma else None,
        "trials": trials,
        "swap_trials": swap_trials,
        "seed": seed,
    }
    scan = settings(file, **given)
    if scan.audits is not None:
        refuse_idle(given, scan.audits)
    images = batch_images(batch_size)
    if images is None:
        raise UsageError("--batch-size auto is for scans.", "Give a number, such as 64.")
    model_spec = given_or(model, file.model if file else None, "MODEL", "model.pt")
    check_places(output, run, model_spec, key_values(model_kwargs or []))
    progress = progress_for(quiet)
    keep_large_blocks()
    dataset = open_data(data, data_dir, file)
    machine = Machine(images, workers)
    asked = ModelOptions(
        arch=arch,
        kwargs=key_values(model_kwargs or []),
        overrides=overrides(mean, std, interpolation, crop_pct, crop_mode, img_size),
        head=head,
        trust_code=trust_code,
        allow_download=allow_download,
        device=device,
    )

    loaded, dataset = asked.load_for(model_spec, dataset, class_map, scan, machine, progress)
    wanted = Wanted(
        training,
        scan,
        start_of(start),
        train_split,
        val_split,
        limit_train,
        from_run,
        annotations,
        devices,
        allow_download,
    )

    def prepare(one: Method) -> Fix:
        return prepare_fix(loaded, dataset, one, wanted, machine, progress)

    if len(names) > 1:
        # An option that a method would not read is refused before another method is trained.
        fixes = list(prepared_fixes(prepare, names, chosen_options))
        if output is not None and fixes:
            refuse_another(output, fixes)
        folder = run or _default_folder(prepare(make_method("erm")), "methods")
        tried = try_methods(prepare, names, chosen_options, folder, progress, budget=budget, argv=sys.argv[1:])
        raise typer.Exit(conclude_several(tried, folder, output, gates, pages))
    prepared = prepare(make_method(names[0], chosen_options[names[0]]))
    if output is not None:
        refuse_another(output, [prepared])
    folder = run or _default_folder(prepared, prepared.method.name)
    record = carry_out(prepared, folder, argv=sys.argv[1:])
    raise typer.Exit(conclude(record, folder, output, gates, pages))


def _default_folder(fix: Fix, what: str) -> Path:
    record = fix.job.model.record
    name = f"fix-{record.name}-{fix.job.dataset.name}-{what}-{fix.plan.sha256[:8]}"
    return Path("runs") / _file_name(name)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)
