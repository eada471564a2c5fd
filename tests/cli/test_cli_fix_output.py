"""Where `spuraudit fix` writes, what it says at the end, and what other commands say of its folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import toys

from spuraudit.cli.main import main
from spuraudit.record.fix_trials import read_trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMON = ("fix", "cnn.pt", "--data", "data", "--device", "cpu", "--workers", "1", "-q", "--allow-chance")
COMMON += ("--audits", "noise", "--trials", "1", "--train-batch", "8", "--epochs", "0.3", "--lr", "1e-7")
SWAP = (*COMMON, "--method", "swap", "--run", "one")
SEVERAL = (*COMMON, "--method", "crayon-pruning,swap,erm", "--run", "many")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data and a checkpoint, as the working directory."""
    folder = tmp_path_factory.mktemp("output")
    toys.draw(folder / "data", toys.Toy(train=8, test=20))
    toys.save_cnn(folder / "cnn.pt", {"object": 1.0, "frame": 1.5})
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def swapped(folder: Path) -> Path:
    assert main([*SWAP, "-o", "out/swap.safetensors"]) == 0
    return folder / "out" / "swap.safetensors"


@pytest.fixture(scope="module")
def several(folder: Path) -> Path:
    assert main(list(SEVERAL)) == 0
    return folder / "many"


def refusal(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    return " ".join(capsys.readouterr().err.split())


# -- a file that exists ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [("--method", "swap", "--seed", "1"), ("--method", "jtt"), ("--method", "erm"), ("--method", "jtt,erm")]
)
def test_the_file_of_another_fix_is_left_as_it_is(
    swapped: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = swapped.read_bytes()
    said = refusal(capsys, [*COMMON, *more, "--run", "another", "-o", "out/swap.safetensors"])
    assert "-o out/swap.safetensors exists, and is of another fix: swap of cnn on toy, seed 0, spuraudit " in said
    assert "name another file, or delete this one" in said
    assert swapped.read_bytes() == before
    assert not Path("another").exists()


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_that_no_fix_wrote_is_left_as_it_is(
    folder: Path, swapped: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load("cnn.pt", weights_only=True)
    torch.save(weights, "own.pt")
    Path("own.safetensors").write_bytes(b"mine")
    before = Path(f"own.{suffix}").read_bytes()
    said = refusal(capsys, [*SWAP, "-o", f"own.{suffix}"])
    assert f"-o own.{suffix} exists, and is not what a fix of spuraudit wrote." in said
    assert Path(f"own.{suffix}").read_bytes() == before


def test_a_control_is_not_the_output_of_its_fix(swapped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("one/control.safetensors", "control.safetensors")
    said = refusal(capsys, [*SWAP, "-o", "control.safetensors"])
    assert "is of another fix: its control of cnn on toy, seed 0" in said


def test_the_same_fix_may_write_its_file_again(swapped: Path) -> None:
    for name in ("out/swap.safetensors", "out/swap.pt", "out/swap.pt"):
        assert main([*SWAP, "-o", name]) == 0


def test_plain_training_may_write_its_file_again(folder: Path) -> None:
    for _ in range(2):
        assert main([*COMMON, "--method", "erm", "--run", "plain", "-o", "plain.safetensors"]) == 0


def test_the_file_of_one_of_several_methods_is_no_other_fix(several: Path, swapped: Path) -> None:
    before = swapped.read_bytes()
    assert main([*SEVERAL, "-o", "out/swap.safetensors"]) == 2  # none is recommended
    assert swapped.read_bytes() == before


# -- places that cannot be written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--run", "fresh", "-o", "/proc/x.safetensors"), "-o /proc/x.safetensors cannot be written ("),
        (("--run", "fresh", "-o", "cnn.pt/x.safetensors"), "-o cnn.pt/x.safetensors cannot be written ("),
        (("--run", "/proc/x", "-o", "fresh/x.safetensors"), "--run /proc/x cannot be written ("),
        (("--run", "cnn.pt/x"), "--run cnn.pt/x cannot be written ("),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_anything_else(
    folder: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    assert said in refusal(capsys, [*COMMON, "--method", "swap", *more])
    assert sorted(Path().iterdir()) == before


# -- what is said at the end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "code"), [("clean_accuracy <= 0.5", 1), ("swap_gap <= 0.9", 2)])
def test_quiet_prints_why_a_gate_did_not_pass(
    swapped: Path, rule: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([*SWAP, "--rule", rule]) == code
    out = capsys.readouterr().out
    assert "Outcome" in out
    assert f"{rule}: " in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-o", "none.pt"), "No method is recommended, so -o none.pt was not written (exit code 2)."),
        (("--rule", "rcs >= -0.9"), "No method is recommended, so no gate was judged (exit code 2)."),
        (("-o", "none.pt", "--rule", "rcs >= -0.9"), "so -o none.pt was not written and no gate was judged (exit code"),
    ],
)
def test_without_a_recommendation_it_is_said_what_was_not_done(
    several: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_trials(several).recommended is None
    assert said in refusal(capsys, [*SEVERAL, *more])
    assert not Path("none.pt").exists()


def test_the_last_line_names_the_pages_that_exist(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(list(SEVERAL)) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert "exit code" not in last
    named = last.partition(" Reports: ")[2].split(", ")
    assert named == ["many/swap/report.html", "many/erm/report.html"]
    assert all(Path(page).is_file() for page in named)


# -- other commands and a folder of a fix ------------------------------------------------------------------------------


def _commands(run: str) -> list[list[str]]:
    return [["gate", run, "--rule", "rcs >= 0.1"], ["compare", run, "one/fixed"], ["card", run]]


def test_a_folder_of_a_fix_is_no_scan(swapped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in _commands("one"):
        said = refusal(capsys, command)
        assert "one: a folder of `spuraudit fix`, not of a scan. Give a scan in it: one/fixed, one/control, " in said


def test_a_folder_of_several_fixes_is_no_scan(several: Path, swapped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in _commands("many"):
        said = refusal(capsys, command)
        assert "many: a folder of several fixes, not of a scan. Give a scan in it: many/erm/fixed, many/swap/" in said
        assert "or 2 more." in said


def test_an_unfinished_fix_is_no_scan(swapped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("began").mkdir()
    shutil.copy("one/plan.json", "began")
    for command in [*_commands("began"), ["report", "began"]]:
        said = refusal(capsys, command)
        assert "began: a folder of `spuraudit fix`, not of a scan. It holds no finished scan. It is unfinished" in said
