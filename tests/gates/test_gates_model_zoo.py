"""`model_zoo.yaml`: the 42 rows of the CoRM paper's Table 2, consistent with the paper's own formula and text."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from spuraudit.resources import model_zoo_file

PAPER = Path(__file__).parents[2].parent / "shared" / "papers" / "corm_salient_imagenet_1m.txt"
# A row of Table 2: name, clean, core, (drop), spurious, (drop), RCS.
ROW = re.compile(r"\| (.+?) +\| ([\d.]+) ?% +\| ([\d.]+) ?% +\| \(.+?\) +\| ([\d.]+) ?% +\| \(.+?\) +\| ([\d.]+) \|")
HALF = Fraction(5, 1000)


@pytest.fixture(scope="module")
def zoo() -> dict[str, Any]:
    """The file, with numbers kept as they are printed."""
    content = yaml.load(model_zoo_file().read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(content, dict)
    return content


def rcs(core: Fraction, spurious: Fraction) -> Fraction:
    """Definition 6.3 of the paper, from percent to 100 x RCS."""
    mean = (core + spurious) / 200
    return (core - spurious) / (2 * min(mean, 1 - mean))


def test_every_model_is_there_once(zoo: dict[str, Any]) -> None:
    models = zoo["models"]
    assert zoo["version"] == "1"
    assert zoo["source"]["title"] == "Core Risk Minimization using Salient ImageNet"
    for key in ("id", "name"):
        assert len({model[key] for model in models}) == len(models) == 42
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", model["id"]) for model in models)


def test_groups_are_the_papers(zoo: dict[str, Any]) -> None:
    assert Counter(model["group"] for model in zoo["models"]) == {
        "ConvNets": 13,
        "ViTs": 14,
        "Robust ResNets": 4,
        "SS ViTs": 4,
        "SS ResNets": 3,
        "CLIP ViTs": 2,
        "CLIP ResNets": 2,
    }


def test_every_model_can_be_had(zoo: dict[str, Any]) -> None:
    kinds = Counter(kind_of(model) for model in zoo["models"])
    assert kinds == {"timm": 27, "open_clip": 4, "file": 4, "dino": 3, "mocov3": 3, "simclr": 1}
    for model in zoo["models"]:
        assert {"id", "name", "group", "licence", "published"} <= set(model)
        assert model["licence"] in {"Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-NC-4.0"}
        if kind_of(model) == "timm":  # a bare timm name means other weights in another timm
            for spec in (model["spec"], *model.get("alternatives", [])):
                assert re.fullmatch(r"timm:[a-z0-9_]+\.[a-z0-9_]+", spec), model["id"]
        else:
            assert model["source"].startswith("https://github.com/")
        if kind_of(model) not in ("timm", "open_clip"):
            assert len(model["get"]) > 40, f"{model['id']}: says how to get it"


def kind_of(model: dict[str, Any]) -> str:
    """The word of its spec, 'file', or the kind of its adapter."""
    if "adapter" in model:
        assert "spec" not in model
        return str(model["adapter"]["kind"])
    word, separator, _ = model["spec"].partition(":")
    return word if separator else "file"


def test_what_the_paper_leaves_open_is_recorded(zoo: dict[str, Any]) -> None:
    others = {model["id"]: model["alternatives"] for model in zoo["models"] if "alternatives" in model}
    assert others == {"resnet50": ["timm:resnet50.a1_in1k"], "resnext50-32x4d": ["timm:resnext50_32x4d.a1h_in1k"]}


def test_the_authors_preprocessing_is_a_preset(zoo: dict[str, Any]) -> None:
    (preset,) = zoo["presets"].values()
    assert list(zoo["presets"]) == ["si-authors"]
    assert preset["specs"] == "timm"
    values = preset["preprocess"]
    assert float(values["img_size"]) / float(values["crop_pct"]) == 256
    assert values["interpolation"] == "bilinear"
    assert values["mean"] == ["0.485", "0.456", "0.406"]
    assert values["std"] == ["0.229", "0.224", "0.225"]


def test_the_specs_are_pretrained_models_of_timm(zoo: dict[str, Any]) -> None:
    timm = pytest.importorskip("timm")
    names = set(timm.list_models(pretrained=True))
    for model in zoo["models"]:
        if kind_of(model) == "timm":
            name = model["spec"].removeprefix("timm:")
            assert name in names
            licence = timm.get_pretrained_cfg(name).license
            assert licence.lower() == model["licence"].lower(), name


def test_rcs_follows_from_the_printed_accuracies(zoo: dict[str, Any]) -> None:
    for model in zoo["models"]:
        published = {key: Fraction(number) for key, number in model["published"].items()}
        assert set(published) == {"clean", "core", "spurious", "rcs"}
        ends = (-HALF, HALF)
        possible = [rcs(published["core"] + a, published["spurious"] + b) for a, b in product(ends, ends)]
        assert min(possible) - HALF <= published["rcs"] <= max(possible) + HALF, model["id"]


@pytest.mark.shared
def test_every_number_is_the_papers(zoo: dict[str, Any]) -> None:
    if not PAPER.is_file():
        pytest.skip("the paper's text is not beside the checkout")
    printed = [found.groups() for found in map(ROW.fullmatch, PAPER.read_text(encoding="utf-8").splitlines()) if found]
    ours = [(m["name"], *(m["published"][key] for key in ("clean", "core", "spurious", "rcs"))) for m in zoo["models"]]
    assert ours == printed
