"""Start-up: help is quick and loads nothing heavy; judging and rendering never load torch."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("torch", "torchvision", "timm", "open_clip", "plotly", "pyarrow", "scipy", "sklearn", "PIL", "numpy")
COMMANDS = (
    ["--help"],
    ["scan", "--help"],
    ["gate", "--help"],
    ["report", "--help"],
    ["demo", "--help"],
    ["schema", "--help"],
    ["data", "--help"],
    ["data", "check", "--help"],
    ["data", "list", "--help"],
    ["zoo", "--help"],
    ["fix", "--help"],
    ["annotate", "--help"],
    ["compare", "--help"],
    ["init", "--help"],
    ["doctor", "--help"],
    ["card", "--help"],
    ["models", "--help"],
    ["models", "info", "--help"],
)


def run_python(code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)


def loaded_by(*commands: list[str]) -> list[str]:
    """Heavy modules that a fresh interpreter holds after these commands."""
    code = (
        "import sys, contextlib, io\n"
        "from spuraudit.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    codes = [main(arguments) for arguments in {list(commands)!r}]\n"
        f"print(codes, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    codes, _, modules = done.stdout.strip().partition("] [")
    assert codes == str([0] * len(commands))[:-1]
    return [name.strip("' ") for name in modules.rstrip("]").split(",") if name]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_help_of_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    streams = capsys.readouterr()
    assert f"Usage: spuraudit {' '.join(arguments[:-1])}".strip() in streams.out
    assert streams.err == ""


@pytest.mark.parametrize("arguments", [["scan"], ["zoo"], ["models", "info"]], ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*arguments, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 80
    assert not [line for line in lines if "\N{HORIZONTAL ELLIPSIS}" in line]
    words = {word for line in lines for word in line.strip("\N{BOX DRAWINGS LIGHT VERTICAL} ").split()}
    # A metavar or a list that is wider than its column is broken inside a word.
    assert not {"der", "d", "eig", "ht|FILE", "noise,feature_drop"} & words
    if arguments == ["models", "info"]:
        assert {"MODE", "NAME|FILE", "imagenet|FILE", "softmax|sigmoid", "center", "simple"} <= words
    else:
        assert {"REGION", "NAMES", "noise,", "feature_drop,", "region_swap,", "patch_swap."} <= words


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for word in ("scan", "gate", "report", "demo", "schema", "data", "0 evaluated and passed", "130 interrupted"):
        assert word in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from spuraudit import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spuraudit {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by(*COMMANDS) == []


def test_schema_loads_nothing_heavy() -> None:
    assert loaded_by(["schema"], ["schema", "verdict"]) == []


def test_gate_and_report_work_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=4, train=2, tag=True))
    run = tmp_path / "run"
    toys.scan(toys.Reader(toys.TAG), data, run, trials=2, swap_trials=2)
    blocked = ("torch", "torchvision", "timm", "open_clip", "pytorch_grad_cam")
    code = (
        "import sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        "from spuraudit.cli.main import main\n"
        f"gate = ['gate', {str(run)!r}, '--min-n', '5', '--rule']\n"
        "print([main([*gate, 'clean_accuracy >= 0.9']), main([*gate, 'core_accuracy >= 0.9']),"
        f" main(['report', {str(run)!r}]), main(['report', {str(run)!r}, '-o', 'a.csv', '-o', 'b.md', '-o', 'c.json']),"
        f" main(['schema', '--check', {str(run / 'scan.json')!r}])])\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'torch' and sys.modules[name]])"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    codes, modules = done.stdout.splitlines()[-2:]
    assert codes == "[0, 1, 0, 0, 0]"
    assert modules == "[]"
    assert (run / "report.html").stat().st_size > 10_000
    assert all((tmp_path / name).is_file() for name in ("a.csv", "b.md", "c.json"))


def test_gate_loads_neither_plotly_nor_pyarrow_nor_numpy(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(test=3, train=2))
    toys.scan(toys.Reader(toys.OBJECT), data, tmp_path / "run", trials=1, swap_trials=1, audits=("noise",))
    assert loaded_by(["gate", str(tmp_path / "run"), "--min-n", "2", "--rule", "clean_accuracy >= 0.9"]) == []


def _seconds(arguments: list[str]) -> float:
    """CPU seconds of a fresh interpreter: on a busy machine, wall time is that of the others."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_help_takes_at_most_three_times_its_unavoidable_imports() -> None:
    """In turn, and the quickest of each: what else the machine does must not decide."""
    turns = [
        (_seconds(["-c", "pass"]), _seconds(["-c", "import typer, rich"]), _seconds(["-m", "spuraudit", "--help"]))
        for _ in range(10)
    ]
    bare, imports, ours = (min(turn[i] for turn in turns) for i in range(3))
    assert ours <= 3 * (bare + imports)


def test_an_unforeseen_error_is_exit_2_never_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Typer would return 1, which means that a gate failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("spuraudit.record.schema.json_schema", lambda _name: 1 / 0)
    monkeypatch.delenv("SPURAUDIT_DEBUG", raising=False)
    assert main(["schema"]) == 2
    err = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in err
    assert "This is a bug in spuraudit" in err
    assert "Traceback" not in err
    monkeypatch.setenv("SPURAUDIT_DEBUG", "1")
    assert main(["schema"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_of_stdout_that_leaves_early_is_no_failure() -> None:
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'spuraudit', 'schema'], stdout=subprocess.PIPE,"
        " stderr=subprocess.PIPE)\n"
        "p.stdout.read(10); p.stdout.close(); err = p.stderr.read()\n"
        "print(p.wait(), b'Traceback' in err)"
    )
    assert run_python(code).stdout.strip() == "0 False"
