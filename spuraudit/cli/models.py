"""`spuraudit models`: what would be used of a model, without auditing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spuraudit.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spuraudit.models.model import Model

app = typer.Typer(no_args_is_help=True, help="Models: what would be used of one.")


@app.callback()
def _root() -> None:
    """Keeps `models` a group with one command."""


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=options.MODEL_HELP)],
    arch: options.Arch = None,
    model_kwargs: options.ModelKwargs = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolation = None,
    crop_pct: options.CropPct = None,
    crop_mode: options.CropMode = None,
    img_size: options.ImgSize = None,
    head: options.Head = None,
    classnames: options.ClassNames = None,
    templates: options.Templates = None,
    trust_code: options.TrustCode = False,
    allow_download: options.AllowDownload = False,
    device: options.Device = "auto",
) -> None:
    """What a scan would use of MODEL: architecture, classes, preprocessing, dropout, feature grid. No data is needed.

    Weights that are not here are listed with their size, and fetched only with --allow-download.

    Example: spuraudit models info model.pt
    """
    from spuraudit.cli.model_options import ModelOptions
    from spuraudit.cli.outcome import describe_model
    from spuraudit.cli.scan_options import key_values, overrides
    from spuraudit.errors import NotEvaluatedError
    from spuraudit.models.hub import way_out, would_fetch

    if not allow_download:
        missing = would_fetch(model)
        if missing:
            for fetch in missing:
                licence = f", licence {fetch.licence}" if fetch.licence else ""
                typer.echo(f"Fetch  {fetch.what} from {fetch.where} ({fetch.size}{licence})")
            raise NotEvaluatedError(f"The weights of {model} are not here.", way_out("give a checkpoint file"))
    loaded = ModelOptions(
        arch=arch,
        kwargs=key_values(model_kwargs or []),
        overrides=overrides(mean, std, interpolation, crop_pct, crop_mode, img_size),
        head=head,
        classnames=classnames,
        templates=templates,
        trust_code=trust_code,
        allow_download=allow_download,
        device=device,
    ).load(model, say=lambda text: typer.echo(text, err=True))
    for line in (*describe_model(loaded.record), *_inside(loaded)):
        typer.echo(line)


def _inside(model: Model) -> Iterator[str]:
    """Where it drops, and where its features lie."""
    import torch

    from spuraudit.errors import SpurauditError
    from spuraudit.models.feature_grid import feature_grid
    from spuraudit.models.mc_dropout import prepare

    record, geometry = model.record, model.record.preprocess.geometry
    shape = (2, 3, geometry.height, geometry.width)
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    if record.head == "softmax":  # another one is described with the model
        yield f"Head   softmax, {record.num_classes} outputs"
    try:
        yield f"Drop   {prepare(model, pixels).describe()}"
    except SpurauditError as error:
        yield f"Drop   {error.message}"
    try:
        yield f"Grid   {feature_grid(model).describe()}"
    except SpurauditError as error:
        yield f"Grid   {error.message}"
    except RuntimeError as error:  # of torch: a layer that overwrites what its gradient needs
        yield f"Grid   Not found, since the network cannot be differentiated: {str(error).partition(': ')[0]}."
