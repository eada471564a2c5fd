"""Networks built by a function of the user's own."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
import torch

from spuraudit.errors import ModelError, UsageError
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.from_code import looks_like_code

SOURCE = """
import torch
from torch import nn

CFG = dict(mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5), input_size=(3, 32, 48), crop_pct=0.9, interpolation="bilinear")

class Net(nn.Module):
    def __init__(self, outputs=4, fill=0.01):
        super().__init__()
        self.head = nn.Linear(3, outputs)
        nn.init.constant_(self.head.weight, fill)
        self.head.bias.data = torch.arange(outputs).float()

    def forward(self, x):
        return self.head(x.mean(dim=(2, 3)))

def build(outputs=4, fill=0.01):
    return Net(outputs, fill), CFG

def bare(**kwargs):
    return Net(**kwargs)

def with_cfg():
    network = Net()
    network.pretrained_cfg = {**CFG, "crop_pct": None}
    return network

def grows(x):
    values = []
    return values[x]

def fails():
    return helper()

def helper():
    raise RuntimeError("no weights on this machine\\nand a second line")

def sized(img_size=32):
    return Net(), {**CFG, "input_size": (3, img_size, img_size)}

def nothing(): pass
def text(): return "a network"
def pair(): return Net(), 3
def broken(): return Net(fill=float("nan"))
def leaves(): raise SystemExit(3)
NUMBER = 3
"""
GREY = PreprocessOverrides(mean=(0.5,), std=(0.25,))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the file nets.py and the package my_pkg."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(SOURCE)
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "__init__.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    (tmp_path / "my_pkg" / "nets.py").write_text(SOURCE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("nets", "my_pkg", "other", "script", "spuraudit_model_nets"):
            del sys.modules[name]


def load_code(spec: str, **options: object) -> object:
    return load(spec, device="cpu", trust_code=True, **options)


@pytest.mark.parametrize("spec", ["my_pkg.nets:build", "nets:build", "nets.py:build", "my_pkg/nets.py:build"])
def test_a_function_and_the_record(spec: str, folder: Path) -> None:
    path = list(sys.path)
    model = load_code(spec, kwargs={"outputs": 5})
    record = model.record
    label = "nets.py:build" if ".py:" in spec else spec
    assert (record.source, record.name, record.arch, record.arch_origin) == ("code", label, label, "name")
    assert (record.num_classes, record.kwargs, record.file) == (5, {"outputs": 5}, None)
    assert record.preprocess.mean == (0.1, 0.2, 0.3)
    geometry = record.preprocess.geometry
    assert (geometry.height, geometry.width, geometry.crop_pct, geometry.interpolation) == (32, 48, 0.9, "bilinear")
    assert record.preprocess.origin["mean"] == "build()"
    source = hashlib.sha256((folder / "nets.py").read_bytes()).hexdigest()
    assert record.notes == [f"Built by build in nets.py, sha256 {source}."]
    assert model.logits(torch.ones(1, 3, 32, 48)).argmax() == 4
    assert sys.path == path
    assert str(folder) not in record.model_dump_json()
    # identity is that of the weights
    assert load_code(spec, kwargs={"outputs": 5}).record.sha256 == record.sha256
    assert load_code(spec, kwargs={"outputs": 5, "fill": 0.02}).record.sha256 != record.sha256


@pytest.mark.parametrize("spec", ["my_pkg.nets:build", "nets.py:build"])
def test_nothing_is_run_without_trust(spec: str, folder: Path) -> None:
    with pytest.raises(ModelError, match="runs the code of") as caught:
        load(spec, device="cpu")
    assert "--trust-code" in caught.value.hint
    assert not (folder / "imported").exists()
    assert not {"my_pkg", "nets"} & set(sys.modules)
    load_code("my_pkg.nets:build")
    assert (folder / "imported").exists()


@pytest.mark.usefixtures("folder")
def test_what_counts_as_code() -> None:
    yes = ["my_pkg.nets:build", "nets:build", "path/to/file.py:build", "not.there:build", "json:loads"]
    no = [
        "not_there:build",
        "file.pt",
        "nets:",
        "nets:1",
        "nets:a.b",
        "a b.c:d",
        "C:/models/net.pt",
        "open_clip:ViT-B-32,x",
    ]
    assert [looks_like_code(spec) for spec in yes] == [True] * len(yes)
    assert [looks_like_code(spec) for spec in no] == [False] * len(no)
    assert "my_pkg" not in sys.modules


@pytest.mark.usefixtures("folder")
def test_words_of_known_sources_and_files_come_first(folder: Path) -> None:
    (folder / "timm.py").write_text(SOURCE)
    with pytest.raises(ModelError, match="Unknown architecture 'build'"):
        load("timm:build", device="cpu")
    (folder / "nets:build").touch()  # a file with a colon in its name
    with pytest.raises(ModelError, match="unknown kind of checkpoint"):
        load("nets:build", device="cpu")


@pytest.mark.usefixtures("folder")
def test_a_network_that_says_nothing_of_its_pixels() -> None:
    with pytest.raises(UsageError, match="mean and std are not known") as caught:
        load_code("nets:bare")
    assert "Give --mean and --std" in caught.value.hint
    with pytest.raises(UsageError, match="std is not known"):
        load_code("nets:bare", overrides=PreprocessOverrides(mean=(0.5,)))
    record = load_code("nets:bare", overrides=GREY).record
    assert record.preprocess.mean == (0.5, 0.5, 0.5)
    assert record.preprocess.geometry.height == 224
    usual = (
        "Stated nowhere, so the usual values hold: input size 224 (--img-size), interpolation bicubic, crop_pct 0.875."
    )
    assert usual in record.notes
    all_given = PreprocessOverrides((0.5,), (0.5,), "bilinear", 1.0, "center", 64)
    assert len(load_code("nets:bare", overrides=all_given).record.notes) == 1


@pytest.mark.usefixtures("folder")
def test_a_network_with_a_cfg_of_its_own() -> None:
    record = load_code("nets:with_cfg").record
    assert record.preprocess.origin["std"] == "pretrained_cfg of Net"
    assert record.preprocess.geometry.crop_pct == 0.875
    assert record.notes[-1] == "Stated nowhere, so the usual values hold: crop_pct 0.875."


@pytest.mark.usefixtures("folder")
def test_the_input_size_can_be_an_argument() -> None:
    record = load_code("nets:sized", kwargs={"img_size": 64}).record
    assert (record.preprocess.geometry.height, record.preprocess.geometry.width) == (64, 64)
    wider = load_code("nets:sized", overrides=PreprocessOverrides(img_size=(40, 60))).record
    assert (wider.preprocess.geometry.height, wider.preprocess.geometry.width) == (40, 60)


RAISES = SOURCE.splitlines().index('    raise RuntimeError("no weights on this machine\\nand a second line")') + 1
INDEXES = SOURCE.splitlines().index("    return values[x]") + 1
FAILING = {
    "nets:fails": (rf"nets:fails failed: RuntimeError: no weights on this machine \(nets\.py:{RAISES}\)$", "itself"),
    "nets:grows": (r"TypeError: grows\(\) missing 1 required positional argument: 'x'$", "--model-kwargs"),
    "nets:leaves": (r"nets:leaves failed: SystemExit: 3 \(nets\.py:\d+\)$", "itself"),
    "nets:nothing": ("nets:nothing returned nothing, not a network", "torch.nn.Module"),
    "nets:text": ("nets:text returned a str, not a network", "torch.nn.Module"),
    "nets:pair": ("returned a network and an int, not a dict", "mean="),
    "nets:broken": (r"NaN or infinite: head\.weight", None),
    "nets:biuld": ("nets has no 'biuld'", "'build'"),
    "nets:NUMBER": ("nets has a 'NUMBER' that cannot be called", "function"),
    "none.there:build": ("There is no module 'none'", "path/to/file.py:function"),
    "my_pkg.none:build": (r"my_pkg\.none failed: ModuleNotFoundError: No module named 'my_pkg\.none'", None),
    "none.py:build": (r"There is no file none\.py", "path/to/file.py:function"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("spec", FAILING)
def test_code_that_gives_no_network(spec: str) -> None:
    message, hint = FAILING[spec]
    path = list(sys.path)
    with pytest.raises(ModelError, match=message) as caught:
        load_code(spec, overrides=GREY)
    assert hint is None or hint in caught.value.hint
    assert sys.path == path


@pytest.mark.usefixtures("folder")
def test_the_line_inside_the_function() -> None:
    with pytest.raises(ModelError, match=rf"IndexError: list index out of range \(nets\.py:{INDEXES}\)$"):
        load_code("nets:grows", kwargs={"x": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\nimport not_installed_at_all\n",
            r"Error: No module named 'not_installed_at_all' \(other\.py:2\)",
        ),
        ("def f(:\n", r"SyntaxError: invalid syntax.* \(other\.py:1\)"),
        ("import sys\n\nsys.exit('usage: other')\n", r"SystemExit: usage: other \(other\.py:3\)"),
    ],
)
@pytest.mark.parametrize("spec", ["other.py:build", "other:build"])
def test_files_that_cannot_be_imported(text: str, message: str, spec: str, folder: Path) -> None:
    (folder / "other.py").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_code(spec)


def test_a_file_imports_what_lies_beside_it(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "project").mkdir()
    (folder / "project" / "nets_beside.py").write_text(SOURCE)
    (folder / "project" / "script.py").write_text("from nets_beside import build\n")
    record = load_code("project/script.py:build").record
    assert record.name == "script.py:build"
    del sys.modules["nets_beside"]


@pytest.mark.usefixtures("folder")
def test_options_without_meaning() -> None:
    with pytest.raises(UsageError, match="--arch resnet18 has no meaning"):
        load_code("nets:build", arch="resnet18")
    with pytest.raises(UsageError, match="--templates had no effect"):
        load_code("nets:build", templates="openai")
