"""What cannot be right is refused: exit code 2, one message that names the thing, nothing written."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import toys
import yaml

from spuraudit.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOY = toys.Toy(test=4, train=2)
SCAN = ["scan", "model.pt", "--data", "data"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset and a checkpoint that fit each other."""
    folder = tmp_path_factory.mktemp("original")
    toys.draw(folder / "data", TOY)
    toys.save_cnn(folder / "model.pt", {"object": 1.0})
    return folder


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both as the working directory."""
    folder = tmp_path / "here"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    return folder


def listing(folder: Path) -> set[str]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


class Refused:
    """Runs a command that must be refused; `error` is the message without its hint, `text` all of stderr."""

    def __init__(self, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        before = listing(here)
        capsys.readouterr()
        code = main(arguments)
        streams = capsys.readouterr()
        self.text = streams.err
        lines = self.text.splitlines()
        assert code == 2, self.text
        assert streams.out == ""
        assert "Traceback" not in self.text
        assert "bug in spuraudit" not in self.text
        errors = [line for line in lines if line.startswith("Error: ")]
        assert len(errors) == 1, self.text
        self.error = errors[0]
        assert len(lines) > lines.index(self.error) + 1 or "must be one of" in self.error, "no way out"
        assert listing(here) == before


def edit_yaml(here: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change dataset.yaml."""
    content = toys.description(TOY)
    change(content)
    toys.write_yaml(here / "data", content)


def checkpoint(here: Path) -> Any:
    """The content of model.pt."""
    return torch.load(here / "model.pt", weights_only=True)


def test_the_untouched_command_passes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SCAN, "--trials", "1", "--swap-trials", "1", "-q"]) == 0


# The model


def test_missing_model_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Refused(here, capsys, ["scan", "nothing.pt", "--data", "data"])
    assert "nothing.pt does not exist" in refused.error


def test_unknown_architecture_with_the_nearest_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = checkpoint(here)
    torch.save({**content, "arch": "paper_cn"}, here / "model.pt")
    refused = Refused(here, capsys, SCAN)
    assert "model.pt" in refused.error
    assert "Unknown architecture 'paper_cn'" in refused.error
    assert "Did you mean 'paper_cnn'" in refused.text
    given = Refused(here, capsys, [*SCAN, "--arch", "resnet51"])
    assert "Unknown architecture 'resnet51'" in given.error
    assert "'resnet50'" in given.text


class Code:
    """Something that only pickle can bring back, by running code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran-the-code"),))


def test_a_pickle_that_needs_code_is_not_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": checkpoint(here)["state_dict"], "extra": Code()}, here / "model.pt")
    refused = Refused(here, capsys, [*SCAN, "--arch", "paper_cnn"])
    assert "model.pt holds pickled code" in refused.error
    assert "weights_only=False" in refused.text  # the way out


def test_weights_that_are_not_finite(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = checkpoint(here)
    content["state_dict"]["classifier.bias"][1] = float("nan")
    torch.save(content, here / "model.pt")
    refused = Refused(here, capsys, SCAN)
    assert "model.pt holds weights that are NaN or infinite: classifier.bias" in refused.error


def test_a_file_that_is_no_checkpoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (here / "model.pt").read_bytes()
    (here / "model.pt").write_bytes(content[: len(content) // 2])
    assert "model.pt cannot be read as a checkpoint" in Refused(here, capsys, SCAN).error
    (here / "model.onnx").write_bytes(content)
    assert "model.onnx: unknown kind" in Refused(here, capsys, ["scan", "model.onnx", "--data", "data"]).error


def test_wrong_class_count(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_yaml(here, lambda content: content.update(classes=["red", "green", "blue"]))
    toys.save_cnn(here / "model.pt", {"object": 1.0}, classes=4)
    refused = Refused(here, capsys, SCAN)
    assert "Wrong class count: the dataset has 3 classes, the model has 4 outputs" in refused.error
    assert "outputs:" in refused.text


def test_an_output_that_the_model_does_not_have(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_yaml(here, lambda content: content["classes"][2].update(outputs=[17]))
    assert "'blue' names the model output 17" in Refused(here, capsys, SCAN).error


def test_a_model_near_chance(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_yaml(here, lambda content: [entry.update(outputs=[(k + 1) % 3]) for k, entry in enumerate(content["classes"])])
    refused = Refused(here, capsys, SCAN)
    assert "Clean accuracy is near chance: 0.0% on 12 images" in refused.error
    assert "--allow-chance" in refused.text


# The data


def test_no_such_dataset(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Refused(here, capsys, ["scan", "model.pt", "--data", "waterbird"])
    assert "waterbird: neither a folder or file that exists nor a registered dataset" in refused.error
    assert "'waterbirds'" in refused.error


def test_missing_mask(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data/masks/object/green/test-002.png").unlink()
    refused = Refused(here, capsys, SCAN)
    assert "masks/object/green/test-002.png" in refused.text
    assert "'object'" in refused.error


def test_mask_of_another_size(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.save(here / "data/masks/object/green/test-002.png", np.zeros((28, 30), dtype=np.uint8))
    refused = Refused(here, capsys, SCAN)
    assert "green/test-002.png: the mask has 30 x 28 pixels, its photo has 28 x 28" in refused.error


def test_truncated_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = here / "data/images/blue/test-003.png"
    file.write_bytes(file.read_bytes()[:-40])
    refused = Refused(here, capsys, SCAN)
    assert "images/blue/test-003.png: the image is damaged or cut off" in refused.error


def test_a_donor_that_is_damaged_stops_the_scan_and_names_the_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Donors are not read before the scan: whole parts stay for the next call, and no record is written."""
    for file in (here / "data/images").glob("*/train-*.png"):
        file.write_bytes(file.read_bytes()[:-40])
    assert main([*SCAN, "-o", "run"]) == 2
    text = capsys.readouterr().err
    (error,) = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert "/train-00" in error
    assert "the image is damaged or cut off" in error
    assert {path.name for path in (here / "run").rglob("*") if path.is_file()} <= {"plan.json", "part-00000.parquet"}


def test_missing_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data/images/blue/test-003.png").unlink()
    assert "blue/test-003.png" in Refused(here, capsys, SCAN).text


def test_empty_class(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_yaml(here, lambda content: content["classes"].append({"name": "violet", "outputs": [3]}))
    assert "'violet'" in Refused(here, capsys, SCAN).error


def test_malformed_dataset_yaml_with_path_and_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data/dataset.yaml").write_text("name: toy\nclasses:\n  - [red\nimages: {list: images.csv}\n")
    refused = Refused(here, capsys, SCAN)
    assert "data/dataset.yaml, line 4" in refused.error
    edit_yaml(here, lambda content: content.update(feature=content.pop("features")))
    unknown = Refused(here, capsys, SCAN)
    line = (here / "data/dataset.yaml").read_text().splitlines().index("feature:") + 1
    assert f"data/dataset.yaml, line {line}: feature: unknown key. Did you mean 'features'?" in unknown.error


def test_a_row_that_climbs_out_of_the_root(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(here / "data/images/red/test-000.png", here / "outside.png")
    rows = toys.read_list(here / "data")
    rows[5] = ("../../outside.png", *rows[5][1:])
    toys.write_list(here / "data", rows)
    refused = Refused(here, capsys, SCAN)
    assert "images.csv" in refused.error
    assert "../../outside.png" in refused.error


def test_a_link_that_leads_out_of_the_root(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = here / "data/images/red/test-000.png"
    inside.rename(here / "outside.png")
    inside.symlink_to(here / "outside.png")
    assert "red/test-000.png" in Refused(here, capsys, SCAN).text


def test_unknown_split(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Refused(here, capsys, [*SCAN, "--split", "tst"])
    assert "toy has no split 'tst'; it has: test, train" in refused.error
    assert "Did you mean 'test'" in refused.text


def test_no_masks_for_an_audit_that_is_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_yaml(here, lambda content: content.pop("features"))
    refused = Refused(here, capsys, [*SCAN, "--audits", "patch_swap,noise"])
    assert "The noise audit cannot run: It needs core masks" in refused.error


# The command line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--audits", "nois"], "no audit 'nois'"),
        (["--rule", "rcs > 0.2"], "rcs > 0.2"),
        (["--rule", "rcs >= twenty"], "rcs >= twenty"),
        (["--rule", "rcs >= 20"], "did you mean 0.2?"),
        (["--mean", "half"], "--mean 'half': not numbers"),
        (["--mean", "0.5,0.5"], "mean"),
        (["--std", "0"], "std"),
        (["--interpolation", "cubic"], "cubic"),
        (["--crop-pct", "-1"], "crop"),
        (["--sigma", "0"], "sigma"),
        (["--dropout-rate", "1.5"], "dropout-rate"),
        (["--spurious-region", "everything"], "spurious-region"),
        (["--answers", "some"], "answers"),
        (["--model-kwargs", "width"], "--model-kwargs 'width': expected KEY=VALUE"),
        (["--model-kwargs", "widht=3"], "widht"),
        (["--source-class", "purple"], "No class 'purple'"),
        (["--pair", "red"], "--pair 'red': expected CLASS:CLASS"),
        (["--audits", "patch_swap", "--pair", "red:purple"], "No class 'purple'"),
        (["--audits", "patch_swap", "--search", "fast"], "--search"),
        (["--audits", "patch_swap", "--budget", "soon"], "such as 90s, 10m or 2h"),
        (["--audits", "patch_swap", "--budget", "0.01s"], "--budget 0.01s is too small"),
        (["--target-classes", "2"], "--target-classes has no effect"),
        (["--audits", "patch_swap", "--pair", "red:green", "--target-classes", "2"], "--pair names the target classes"),
        (["--audits", "patch_swap", "--drop-path"], "--drop-path has no effect"),
        (["--precision", "fp8"], "The precision 'fp8' is unknown"),
        (["--precision", "fp16", "--device", "cpu"], "Use --precision bf16"),
        (["--batch-size", "many"], "--batch-size 'many': expected a number of images, or auto"),
        (["--batch-size", "0"], "--batch-size '0'"),
        (["--device", "tpu"], "tpu"),
        (["-o", "report.pdf"], "report.pdf: unknown format '.pdf'"),
        (["-o", "one", "-o", "two"], "two run folders: one and two"),
        (["--config", "missing.yaml"], "missing.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_cannot_be_meant(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    refused = Refused(here, capsys, [*SCAN, *options])
    assert said in refused.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scan", "--data", "data"], "Missing MODEL"),
        (["scan", "model.pt"], "Missing --data DATA"),
        (["gate", "nowhere", "--rule", "rcs >= 0.2"], "nowhere: no run here"),
        (["report", "nowhere"], "nowhere: no run here"),
        (["data", "check", "nowhere"], "nowhere: neither a folder"),
        (["schema", "scam"], "There is no schema 'scam'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_without_its_subject(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in Refused(here, capsys, arguments).error


@pytest.mark.parametrize(
    "arguments", [["scan", "model.pt", "--data", "data", "--passes", "1"], ["scna"], ["scan", "--no-such-option"]]
)
def test_usage_errors_of_the_parser_exit_with_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    before = listing(here)
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Usage: spuraudit" in streams.err
    assert arguments[-1] in streams.err or arguments[-2] in streams.err
    assert "Traceback" not in streams.err
    assert listing(here) == before


def test_malformed_config_with_path_and_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".spuraudit.yaml").write_text("seed: 1\nmodel: [model.pt\n")
    assert ".spuraudit.yaml, line 3" in Refused(here, capsys, SCAN).error
    (here / ".spuraudit.yaml").write_text("audits:\n  noize: {sigma: 0.25}\n")
    assert "noize" in Refused(here, capsys, SCAN).error
    (here / ".spuraudit.yaml").write_text(yaml.safe_dump({"audits": {"noise": {"sigmas": [0.25]}}}))
    refused = Refused(here, capsys, SCAN)
    assert "sigmas" in refused.error
    assert "'sigma'" in refused.text


# The disk


def test_a_run_folder_that_cannot_be_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("not a folder")
    refused = Refused(here, capsys, [*SCAN, "-o", "file/run"])
    assert "file/run/plan.json: cannot be written (Not a directory)" in refused.error
    assert "-o" in refused.text


def test_a_folder_that_holds_something_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "thesis").mkdir()
    (here / "thesis/chapter1.tex").write_text("Introduction")
    refused = Refused(here, capsys, [*SCAN, "-o", "thesis"])
    assert "thesis: not empty, and not a run of spuraudit" in refused.error


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As if the disk were full after `size` bytes of each file: writing more fails with EFBIG, also for root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_at_the_first_file_leaves_no_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with largest_file(100):
        code = main([*SCAN, "-o", "run"])
    text = capsys.readouterr().err
    assert code == 2
    assert "Error: run/plan.json: the disk is full (File too large)." in text
    assert "it resumes where it stopped" in text
    assert [path for path in (here / "run").rglob("*") if path.is_file()] == []


def test_a_full_disk_during_the_scan_leaves_whole_files_and_resumes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SCAN, "--trials", "30", "-o", "run"]
    with largest_file(6000):
        code = main(command)
    text = capsys.readouterr().err
    assert code == 2
    assert "run/observations/part-00000.parquet: the disk is full" in text
    assert "Traceback" not in text
    assert not (here / "run").exists()
    assert main(command) == 0
    assert (here / "run/report.html").is_file()
    assert list((here / "run").rglob("*.tmp")) == list((here / "run").rglob(".*")) == []
