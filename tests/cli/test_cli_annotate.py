"""`spuraudit annotate` from end to end: folder, messages, what it refuses to overwrite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toys
import typer

from spuraudit.cli.annotate import annotate
from spuraudit.errors import DataError, ModelError, RunError, SpurauditError, UsageError
from spuraudit.record.annotation_tables import read_patches, write_answers
from spuraudit.record.annotations import read_about, read_annotations, read_maps


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    toys.draw(folder / "data", toys.Toy(test=2, train=4))
    toys.draw(folder / "bare", toys.Toy(test=1, train=2, masks=False))
    toys.save_cnn(folder / "object.pt", {"object": 1.0})
    toys.save_cnn(folder / "frame.pt", {"frame": 1.0})
    return folder


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "bare", "object.pt", "frame.pt"):
        (tmp_path / name).symlink_to(original / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints on stdout; its errors are raised as they are."""
    app = typer.Typer()
    app.command()(annotate)
    capsys.readouterr()
    typer.main.get_command(app).main([*arguments, "-q"], standalone_mode=False)
    return capsys.readouterr().out


def refused(kind: type[SpurauditError], capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(kind) as error:
        run(capsys, *arguments)
    assert error.value.hint
    return error.value.message


def test_writes_maps_a_page_and_what_they_are_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "object.pt", "--data", "data", "--images", "6", "--object", "the square")
    assert out == "Page: runs/annotate-object-toy/annotate.html\n"
    folder = here / "runs" / "annotate-object-toy"
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "annotate.html", "maps.safetensors"]
    about, maps = read_maps(folder)
    assert about.model is not None
    assert (about.model.name, about.model.arch, len(about.model.sha256 or "")) == ("object", "paper_cnn", 64)
    assert about.layer is not None
    assert maps.shape == (6, about.layer.rows, about.layer.columns)
    assert (about.explains, about.looked_for, about.data.split, about.derived) == ("label", "the square", "train", None)
    assert "mainly on the square?" in (folder / "annotate.html").read_text()


def test_the_same_command_again_keeps_the_answers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("object.pt", "--data", "data", "-o", "out")
    run(capsys, *command)
    before = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    write_answers(here / "out" / "annotations.csv", {read_about(here / "out").images[0].id: "no"})
    run(capsys, *command)
    after = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    assert read_annotations(here / "out").images("no") == (read_about(here / "out").images[0].id,)
    assert after.keys() - before.keys() == {"annotations.csv"}
    assert all(after[name] == content for name, content in before.items())
    assert "another model" in refused(RunError, capsys, "frame.pt", "--data", "data", "-o", "out")


COLOURS = """
import torch
from torch import nn

def pooled():
    # Each channel is active where its colour is, whatever the place: grey and the other colours leave it at 0.
    pool = nn.AdaptiveAvgPool2d(1)
    network = nn.Sequential(nn.Conv2d(3, 3, 4, stride=4), nn.ReLU(), pool, nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        own = 1.5 * torch.eye(3) - 0.5
        network[0].weight.copy_(own[:, :, None, None].expand(-1, -1, 4, 4) / 16)
        network[0].bias.fill_(-0.05)
        network[4].weight.copy_(torch.eye(3))
        network[4].bias.zero_()
    return network
"""


def test_masks_answer_for_people_and_the_record_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Every second image has a frame of another colour, so that only its object speaks for the class; in the others
    # 24 cells of the frame speak as loud as 9 of the object.
    toys.draw(here / "odd", toys.Toy(test=1, train=4, odd_every=2))
    (here / "colours_of_annotate.py").write_text(COLOURS)
    size = ("--img-size", "28", "--mean", "0", "--std", "1", "--crop-pct", "1", "--device", "cpu")
    command = ("colours_of_annotate:pooled", "--trust-code", *size, "--data", "odd", "-o", "out", "--from-masks")
    assert "6 yes, 6 no, 0 maybe from masks, not from people" in run(capsys, *command)
    found = read_annotations(here / "out")
    assert found.derived is not None
    assert (found.derived.yes, found.derived.no) == (0.5, 0.3)
    assert found.answers == {
        f"{name}/train-{number:03d}": "yes" if number % 2 else "no" for name in toys.NAMES[:3] for number in range(4)
    }
    # Its own answers it may replace, people's it may not.
    assert "6 yes, 0 no, 6 maybe" in run(capsys, *command, "--no-up-to", "0.2")
    write_answers(here / "out" / "annotations.csv", {read_about(here / "out").images[0].id: "yes"})
    assert "there already" in refused(RunError, capsys, *command)
    assert len(read_annotations(here / "out").answers) == 1


def test_refusals(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ("object.pt", "--data", "data", "-o", "out")
    assert "label or prediction" in refused(UsageError, capsys, *model, "--explain", "lable")
    assert "--patches has no effect without --neurons" in refused(UsageError, capsys, *model, "--patches", "2")
    assert "without --from-masks" in refused(UsageError, capsys, *model, "--yes-from", "0.6")
    assert "no split 'trian'" in refused(DataError, capsys, *model, "--split", "trian")
    assert "does not read the channels" in refused(ModelError, capsys, *model, "--neurons")
    bare = ("object.pt", "--data", "bare", "-o", "out", "--from-masks")
    assert "none of 6 images has a core mask" in refused(DataError, capsys, *bare)
    disorder = ("--from-masks", "--yes-from", "0.2")
    assert "yes from 0.2 on and no up to 0.3" in refused(UsageError, capsys, *model, *disorder)
    assert not (here / "out").exists()


def test_neurons_get_a_page_and_their_patches(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    torch.save({"arch": "test_resnet", "state_dict": network.state_dict()}, tmp_path / "net.pt")
    out = run(capsys, "net.pt", "--data", "data", "-o", "out", "--neurons", "--img-size", "64", "--allow-download")
    assert out.splitlines() == ["Page: out/annotate.html", "Page: out/neurons.html"]
    about = read_about(here / "out")
    assert about.layer is not None
    assert (about.neurons, about.patches_each) == (about.layer.channels, 3)
    patches = read_patches(here / "out" / "patches.csv")
    assert len(patches) > 3
    assert all(patch.place.row <= about.layer.rows for patch in patches)
    run(capsys, "net.pt", "--data", "data", "-o", "out", "--img-size", "64")  # without: what is there stays described
    assert read_about(here / "out").neurons == about.neurons


def test_crayons_lists_are_imported_by_position(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "yes.json").write_text(json.dumps(["yes"] * 5 + ["no"] * 6 + ["maybe"]))
    (here / "neurons.json").write_text(json.dumps([True, False, True]))
    (here / "maps.json").write_text(json.dumps([[[1, 0], [0.5, k]] for k in range(12)]))
    lists = [part for name in ("yes", "neurons", "maps") for part in ("--import-crayon", f"{name}.json")]
    out = run(capsys, *lists, "--data", "data", "-o", "out")
    assert "5 yes, 6 no, 1 maybe" in out
    assert "3 neurons, 2 of them relevant" in out
    assert "First: red/train-000. Last: blue/train-003." in out
    found, (about, maps) = read_annotations(here / "out"), read_maps(here / "out")
    assert found.answers["blue/train-003"] == "maybe"
    assert (about.origin, about.model, maps[11].tolist()) == ("crayon-lists", None, [[1, 0], [0.5, 11]])
    assert "there already" in refused(RunError, capsys, *lists, "--data", "data", "-o", "out")


def test_a_list_of_another_length_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "yes.json").write_text(json.dumps(["yes"] * 11))
    said = refused(DataError, capsys, "--import-crayon", "yes.json", "--data", "data", "-o", "out")
    assert "11 entries; the split 'train' of toy has 12 images" in said
    asked = refused(UsageError, capsys, "object.pt", "--import-crayon", "yes.json", "--data", "data")
    assert asked.startswith("MODEL has no effect")
    assert not (here / "out").exists()
