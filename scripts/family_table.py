"""Write docs/families.md: feature grid, Grad-CAM and MC dropout of the smallest member of every timm family.

    python scripts/family_table.py

Random weights, nothing is fetched. Ten minutes on one core; with names of families, only their rows are printed.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from spuraudit.errors import SpurauditError
from spuraudit.explain.grad_cam import grad_cam
from spuraudit.models.feature_grid import FeatureGrid, feature_grid
from spuraudit.models.mc_dropout import prepare
from spuraudit.models.model import Model
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import ModelRecord

TABLE = Path(__file__).resolve().parent.parent / "docs" / "families.md"
CLASSES = 10
#: Tried in turn, to be quick; the last resort is the architecture's own size.
SMALL_SIZES = ((64, 96), (64, 64), (128, 128))
#: At the smallest their last stage has a single cell or row.
DEEP_FAMILIES = ("efficientvim", "efficientvit_msra", "levit", "shvit")
COLUMNS = (
    "family",
    "smallest member",
    "parameters, M",
    "input",
    "grid layer",
    "grid",
    "channels",
    "layout",
    "prefix tokens",
    "Grad-CAM",
    "MC dropout",
    "notes",
)

Size = tuple[int, int]


@dataclass(frozen=True)
class Member:
    """A classifier of a family: its name, parameters (with its own number of classes) and input size."""

    name: str
    parameters: int
    size: Size


def smallest_member(family: str) -> Member | None:
    """The classifier of RGB images with the fewest parameters; None where no member has a classifier."""
    members = []
    for name in timm.list_models(module=family):
        with torch.device("meta"):
            network = timm.create_model(name)
        channels, *size = network.pretrained_cfg["input_size"]
        if network.num_classes > 0 and channels == 3:
            members.append(Member(name, sum(p.numel() for p in network.parameters()), (size[0], size[1])))
    return min(members, key=lambda member: member.parameters, default=None)


def build(name: str, size: Size) -> Model:
    """The network for this input, with random weights that depend on its name only and behave as trained ones do.

    Fresh ones may answer alike for any image: residual scales near 0 and classifiers of 0 are filled, and batch norm
    takes its statistics from images. Raises whatever timm raises where the network takes no such input.
    """
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = _create(name, size)
        _enliven(network, size)
    geometry = Geometry(height=size[0], width=size[1], crop_pct=1.0)
    preprocess = Preprocess(geometry=geometry, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    record = ModelRecord(
        name=name,
        source="file",
        arch=name,
        arch_origin="--arch",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        num_classes=CLASSES,
        preprocess=preprocess,
    )
    return Model(network.eval().requires_grad_(False), record, torch.device("cpu"))


def _create(name: str, size: Size) -> nn.Module:
    own = tuple(timm.get_pretrained_cfg(name).input_size[1:])
    if size != own:
        try:
            return timm.create_model(name, num_classes=CLASSES, img_size=size)
        except TypeError:
            pass  # fully convolutional, or it refuses other inputs when it meets them
    return timm.create_model(name, num_classes=CLASSES)


def _enliven(network: nn.Module, size: Size) -> None:
    for name, parameter in network.named_parameters():
        vector = parameter.numel() == max(parameter.shape, default=1)
        if vector and not name.endswith("bias") and float(parameter.detach().abs().max()) < 1e-2:
            nn.init.ones_(parameter)
    for head in network.modules():
        if isinstance(head, nn.Linear | nn.Conv2d) and head.weight.shape[0] == CLASSES:
            nn.init.normal_(head.weight, std=0.05)
    norms = [module for module in network.eval().modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    if norms:
        with torch.no_grad():
            network((images(4, size) - 0.5) / 0.5)


def images(count: int, size: Size) -> Tensor:
    """(count, 3, H, W) random smooth pictures with a grain, in [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    smooth = nn.functional.interpolate(torch.rand(count, 3, 5, 5, generator=generator), size=size, mode="bilinear")
    return 0.6 * smooth + 0.4 * torch.rand(count, 3, *size, generator=generator)


def first_map(model: Model, grid: FeatureGrid, pixels: Tensor) -> tuple[int, Tensor]:
    """The first class whose Grad-CAM of one image is not empty, and its map; the last class where all are empty.

    The ReLU of Grad-CAM may rightly leave nothing for a class of a random network.
    """
    for number in range(CLASSES):
        heat = grad_cam(model, grid, pixels, [number])
        if float(heat.max()) > 0:
            break
    return number, heat


def built_small(member: Member, sizes: tuple[Size, ...] = SMALL_SIZES) -> tuple[Model, FeatureGrid]:
    """At the first of `sizes` that the member takes, else at its own size; and its grid there."""
    for size in sizes:
        try:
            model = build(member.name, size)
            return model, feature_grid(model)
        except (AssertionError, RuntimeError, ValueError, SpurauditError):
            continue
    model = build(member.name, member.size)
    return model, feature_grid(model)


def row(family: str) -> tuple[str, ...]:
    """One line of the table."""
    member = smallest_member(family)
    if member is None:
        return (family, *["-"] * (len(COLUMNS) - 2), "no member has a classifier")
    model, grid = built_small(member, ((128, 192),) if family in DEEP_FAMILIES else SMALL_SIZES)
    geometry = model.record.preprocess.geometry
    pixels = images(2, (geometry.height, geometry.width))
    number, heat = first_map(model, grid, pixels[:1])
    plan = prepare(model, pixels)
    note = f"map of class {number}: empty for those before" if number else ""
    return (
        family,
        member.name,
        f"{member.parameters / 1e6:.1f}",
        f"{geometry.height}x{geometry.width}",
        grid.layer,
        f"{grid.rows}x{grid.columns}",
        str(grid.channels),
        grid.layout,
        str(grid.prefix),
        "ok" if float(heat.max()) > 0 else "empty",
        plan.evaluation + (", injected" if plan.injected else ""),
        note,
    )


def main() -> None:
    """All families into the table, or the named ones to the terminal."""
    warnings.simplefilter("ignore")
    families = sys.argv[1:] or timm.list_modules()
    lines = []
    for family in families:
        lines.append(f"| {' | '.join(row(family))} |")
        print(lines[-1], flush=True)
    if sys.argv[1:]:
        return
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    intro = (
        f"Written by `python scripts/family_table.py` with timm {timm.__version__}: random weights, {CLASSES} classes."
    )
    TABLE.write_text("\n".join(["# Families of timm", "", intro, "", *head, *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
