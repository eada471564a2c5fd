"""Every family of timm: grid, Grad-CAM and MC dropout of its smallest member, as docs/families.md says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import timm
import torch
from torch import Tensor, nn

from spuraudit.models.dropout_plan import find_dropout
from spuraudit.models.feature_grid import activations, feature_grid
from spuraudit.models.mc_dropout import draw_masks, mc_logits

ROOT = Path(__file__).resolve().parents[2]
#: Families without a row to test, and why.
TOWER = "image tower of language models: no member has a classifier (num_classes = 0)"
EXCEPTIONS = {"deepseek_vit": TOWER, "gemma4_vit": TOWER, "qwen3_vit": TOWER}


class Row(NamedTuple):
    member: str
    size: tuple[int, int]
    layer: str
    grid: str
    channels: int
    layout: str
    prefix: int


def table() -> tuple[str, dict[str, Row]]:
    """The version of timm that the table names, and its rows by family."""
    text = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 12 and re.fullmatch(r"\d+x\d+", cells[3]):
            height, width = map(int, cells[3].split("x"))
            rows[cells[0]] = Row(cells[1], (height, width), cells[4], cells[5], int(cells[6]), cells[7], int(cells[8]))
    version = re.search(r"timm (\d[\w.]*\w)", text)
    assert version is not None
    return version[1], rows


VERSION, ROWS = table()
#: In every run: each layout, and what needs care (class tokens added late, a class-attention head, dropout in blocks).
ALWAYS = [
    "beit",
    "cait",
    "convnext",
    "densenet",
    "efficientnet",
    "hiera",
    "levit",
    "mambaout",
    "mlp_mixer",
    "mobilenetv3",
    "naflexvit",
    "nest",
    "regnet",
    "resnet",
    "swin_transformer",
    "tnt",
    "vgg",
    "vision_transformer",
    "xcit",
]
of_the_tables_timm = pytest.mark.skipif(timm.__version__ != VERSION, reason=f"docs/families.md is about timm {VERSION}")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("family_table", ROOT / "scripts" / "family_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


def state_of(network: nn.Module) -> tuple[dict[str, Tensor], list[object]]:
    tensors = {name: tensor.clone() for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    rest: list[object] = [
        (name, module.training, *(tuple(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks")))
        for name, module in network.named_modules()
    ]
    rest += [(name, p.requires_grad, p.grad is None) for name, p in network.named_parameters()]
    return tensors, rest


@of_the_tables_timm
def test_every_family_has_a_row_or_a_reason() -> None:
    assert set(ROWS) | set(EXCEPTIONS) == set(timm.list_modules())
    assert not set(ROWS) & set(EXCEPTIONS)
    assert set(ALWAYS) <= set(ROWS)


@of_the_tables_timm
@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=() if family in ALWAYS else pytest.mark.sweep) for family in ROWS]
)
def test_family(family: str, script: ModuleType) -> None:
    row = ROWS[family]
    model = script.build(row.member, row.size)
    pixels = script.images(2, row.size)
    logits = model.logits(pixels)
    assert bool(logits.isfinite().all())
    tensors, rest = state_of(model.network)  # ConViT's first pass of all fills a table of positions

    grid = feature_grid(model)
    assert (grid.layer, f"{grid.rows}x{grid.columns}") == (row.layer, row.grid)
    assert (grid.channels, grid.layout, grid.prefix) == (row.channels, row.layout, row.prefix)
    assert grid.rows * grid.columns >= 4
    assert grid.channels >= 4
    assert abs(grid.rows / row.size[0] - grid.columns / row.size[1]) < 1 / max(row.size)
    assert bool(activations(model, grid, pixels).isfinite().all())

    # A ReLU may leave nothing of one class in a random network: the first class that it leaves something of.
    _, heat = script.first_map(model, grid, pixels[:1])
    assert heat.shape == (1, *row.size)
    assert bool(heat.isfinite().all())
    assert float(heat.max()) > 0

    plan = find_dropout(model, pixels, rate=0.5)
    passes = mc_logits(model, plan, pixels, draw_masks(plan, 7, 2))
    assert float(passes.softmax(dim=2).var(dim=0).max()) > 0

    after, rest_after = state_of(model.network)
    assert rest_after == rest
    assert after.keys() == tensors.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in tensors.items())
    assert torch.allclose(model.logits(pixels), logits, rtol=1e-4, atol=1e-5)
