"""`spuraudit annotate MODEL --data DATA`: pages that ask people whether a model looks at the right place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from spuraudit.cli import options
from spuraudit.cli.model_options import ModelOptions
from spuraudit.cli.scan_options import batch_images, configuration, given_or, key_values, open_data, overrides
from spuraudit.errors import UsageError, did_you_mean

Explains = Literal["label", "prediction"]
EXPLAINS: tuple[Explains, ...] = get_args(Explains)
_ASKING, _ANSWERS = "What is asked", "Answers that exist already"

Images = Annotated[
    int | None,
    typer.Option("--images", "-n", min=1, help="At most so many, evenly over classes.", rich_help_panel=_ASKING),
]
Explain = Annotated[
    str,
    typer.Option(
        "--explain",
        metavar="label|prediction",
        help="Whose map: the true class's, or the model's own answer's.",
        rich_help_panel=_ASKING,
    ),
]
LookedFor = Annotated[
    str | None,
    typer.Option(
        "--object",
        metavar="TEXT",
        help="What the highlight should be on, such as 'the bird'. Default: the name of the image's class.",
        rich_help_panel=_ASKING,
    ),
]
Neurons = Annotated[
    bool, typer.Option("--neurons", help="Also ask about patches of every neuron.", rich_help_panel=_ASKING)
]
Patches = Annotated[
    int | None,
    typer.Option("--patches", min=1, help="Per neuron, with --neurons. Default: 3.", rich_help_panel=_ASKING),
]
FromMasks = Annotated[
    bool,
    typer.Option(
        "--from-masks",
        help="Answer by how much of each map's highlight lies on the core mask instead of asking; the record says so.",
        rich_help_panel=_ANSWERS,
    ),
]
YesFrom = Annotated[
    float | None,
    typer.Option(
        "--yes-from", help="With --from-masks: yes from this share on. Default: 0.5.", rich_help_panel=_ANSWERS
    ),
]
NoUpTo = Annotated[
    float | None,
    typer.Option("--no-up-to", help="With --from-masks: no up to this share. Default: 0.3.", rich_help_panel=_ANSWERS),
]
ImportCrayon = Annotated[
    list[Path] | None,
    typer.Option(
        "--import-crayon",
        metavar="LIST.json",
        help="Lists of the CRAYON authors (answers, neurons, maps), for the images of the split. Repeatable; no MODEL.",
        rich_help_panel=_ANSWERS,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Default: under runs/.", rich_help_panel=options.OUTPUT),
]
Split = Annotated[str | None, typer.Option("--split", help="Default: train.", rich_help_panel=options.DATA)]


def annotate(
    model: options.Model = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    split: Split = None,
    images: Images = None,
    explains: Explain = "label",
    looked_for: LookedFor = None,
    neurons: Neurons = False,
    patches: Patches = None,
    from_masks: FromMasks = False,
    yes_from: YesFrom = None,
    no_up_to: NoUpTo = None,
    import_crayon: ImportCrayon = None,
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
    trust_code: options.TrustCode = False,
    allow_download: options.AllowDownload = False,
    device: options.Device = "auto",
    batch_size: options.BatchSize = "64",
    workers: options.Workers = None,
    output: Folder = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
) -> None:
    """Ask people whether a model looks at the right place: yes, no or maybe, on a page that works without a network.

    Example: spuraudit annotate model.pt --data my_dataset --images 500 --object 'the bird' -o answers

    Writes heat maps of training images and annotate.html. Open it, answer with Y, N and M, export, and put the file
    into the folder. The same command again keeps the answers.
    """
    from spuraudit.cli.annotate_outcome import derived_answers, import_crayon_lists, write
    from spuraudit.cli.outcome import describe_model
    from spuraudit.cli.progress import progress_for
    from spuraudit.runs.annotating import Asked, explain
    from spuraudit.runs.prepare import Machine

    file = configuration(config)
    dataset = open_data(data, data_dir, file)
    if import_crayon:
        asks = {
            "MODEL": model,
            "--images": images,
            "--explain": explains != "label",
            "--object": looked_for,
            "--neurons": neurons,
            "--patches": patches,
            "--from-masks": from_masks,
        }
        for name, value in asks.items():
            if value:
                raise UsageError(f"{name} has no effect with --import-crayon, which asks no model.", "Leave it out.")
        for line in import_crayon_lists(
            dataset, split, import_crayon, output or default_folder("crayon", dataset.name)
        ):
            typer.echo(line)
        return
    idle_without(neurons, "--neurons", {"--patches": patches})
    idle_without(from_masks, "--from-masks", {"--yes-from": yes_from, "--no-up-to": no_up_to})
    asked = Asked(split, images, explained(explains), (patches or 3) if neurons else 0, looked_for)
    machine, progress = Machine(batch_images(batch_size) or 64, workers), progress_for(quiet)
    typed = ModelOptions(
        arch=arch,
        kwargs=key_values(model_kwargs or []),
        overrides=overrides(mean, std, interpolation, crop_pct, crop_mode, img_size),
        head=head,
        classnames=classnames,
        templates=templates,
        trust_code=trust_code,
        allow_download=allow_download,
        device=device,
    )

    spec = given_or(model, file.model if file else None, "MODEL", "model.pt")
    loaded, dataset = typed.load_for(spec, dataset, class_map, asked.settings(dataset), machine, progress)
    if not quiet:
        for line in describe_model(loaded.record):
            typer.echo(line, err=True)
    made = explain(loaded, dataset, asked, machine, progress)
    folder = output or default_folder(loaded.record.name, dataset.name)
    answers = derived_answers(made, yes_from, no_up_to) if from_masks else None
    for line in write(made, folder, answers):
        typer.echo(line)


def explained(text: str) -> Explains:
    """`--explain`. Raises UsageError for anything but label and prediction."""
    for known in EXPLAINS:
        if text == known:
            return known
    raise UsageError(
        f"--explain {text!r}: expected {' or '.join(EXPLAINS)}.", did_you_mean(text, EXPLAINS) or "Default: label."
    )


def idle_without(given: bool, flag: str, options_of_it: dict[str, object]) -> None:
    """Raise UsageError for an option that only means something beside `flag`, where that is not given."""
    for name, value in options_of_it.items():
        if value is not None and not given:
            raise UsageError(f"{name} has no effect without {flag}.", f"Add {flag}, or leave {name} out.")


def default_folder(*names: str) -> Path:
    """runs/annotate-MODEL-DATA."""
    return Path("runs") / re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(("annotate", *names)))
