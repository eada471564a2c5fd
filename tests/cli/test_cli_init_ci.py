"""`spuraudit init --ci`: files that are whole, name what is there, and whose commands run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toys
import typer
import yaml

from spuraudit.cli.app import app
from spuraudit.cli.init_ci import FILES, Filling, System, rendered
from spuraudit.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
GITHUB, GITLAB = Path(".github/workflows/spuraudit.yml"), Path(".gitlab/spuraudit.yml")
EVERY = ["--ci", "github", "--ci", "gitlab", "--ci", "pre-commit"]
ODD = 'it\'s ${{ github.token }} $(touch hacked): # "x"'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, and the working directory."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def github_commands(file: Path) -> list[str]:
    """The commands of a workflow, with its action as the command that the action runs."""
    lines = []
    for step in loaded(file)["jobs"]["gate"]["steps"]:
        if "spuraudit@" in step.get("uses", ""):
            lines.append(f"spuraudit gate {step['with']['run']} --config {shlex.quote(step['with']['config'])}")
        lines.append(step.get("run", ""))
    return [line for line in lines if line.startswith("spuraudit ")]


def accepted(line: str) -> None:
    """Raises click's error where spuraudit would refuse the options."""
    words = shlex.split(line.partition(" || ")[0])[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("spuraudit", words.copy())
    name, chosen, rest = command.resolve_command(context, words)
    chosen.make_context(name, rest, parent=context)


def shown_hook(err: str) -> dict[str, Any]:
    """The block for pre-commit that was printed."""
    lines = err.split("below its `repos:`\n\n")[1].split("\n\n")[0]
    (item,) = yaml.safe_load(f"repos:\n{lines}")["repos"]
    return dict(item)


def test_files_lie_where_ci_looks_for_them_and_their_commands_are_accepted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sub").mkdir()
    os.chdir(folder / "sub")
    assert main(["init", *EVERY, "--ci", "github"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [".spuraudit.yaml", f"../{GITHUB}", f"../{GITLAB}"]
    scan = "spuraudit scan --config sub/.spuraudit.yaml -o runs/candidate"
    lines = github_commands(folder / GITHUB)
    job = loaded(folder / GITLAB)["spuraudit"]
    assert lines[:2] == [scan, "spuraudit gate runs/candidate --config sub/.spuraudit.yaml"]
    assert job["script"][1].startswith(f"{scan} || ")
    for line in [*lines, *job["script"][1:], *job["after_script"]]:
        accepted(line)
    hook = shown_hook(err)
    assert hook["hooks"] == [{"id": "spuraudit-gate", "args": ["runs/candidate", "--config", "sub/.spuraudit.yaml"]}]
    accepted(shlex.join(["spuraudit", "gate", *hook["hooks"][0]["args"]]))
    assert "include: [{local: .gitlab/spuraudit.yml}]" in err
    assert "for OWNER, write whose copy of spuraudit on GitHub is used; for REF, a tag or commit of it." in err
    assert not (folder / ".pre-commit-config.yaml").exists()


@pytest.mark.parametrize("there", [Path(".spuraudit.yaml"), GITHUB, GITLAB])
def test_a_file_that_is_there_is_refused_before_anything_is_written(
    there: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text("mine\n")
    before = sorted(folder.rglob("*"))
    assert main(["init", *EVERY]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{there} exists; nothing was written." in said
    assert "--force" in said
    assert sorted(folder.rglob("*")) == before
    assert there.read_text() == "mine\n"
    assert main(["init", *EVERY, "--force"]) == 0
    assert "mine" not in there.read_text()


def test_a_file_in_the_place_of_a_folder_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".github").write_text("mine\n")
    assert main(["init", "--ci", "github", "--force"]) == 2
    assert ".github is no folder; nothing was written." in capsys.readouterr().err
    assert sorted(one.name for one in folder.iterdir()) == [".git", ".github"]


def test_keep_leaves_the_config_and_speaks_of_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "model: timm:resnet18.a1_in1k\ndata: photos/birds\ngates: ['rcs >= 0.2']\n"
    Path(".spuraudit.yaml").write_text(text)
    assert main(["init", "--ci", "gitlab"]) == 2
    assert "--keep" in capsys.readouterr().err
    assert main(["init", "--ci", "gitlab", "--keep"]) == 0
    assert Path(".spuraudit.yaml").read_text() == text
    assert capsys.readouterr().out == f"{GITLAB}\n"
    written = GITLAB.read_text()
    assert "The scan reads timm:resnet18.a1_in1k and photos/birds, as .spuraudit.yaml says" in written
    assert "-o runs/candidate --allow-download ||" in written  # no weights lie on a fresh machine
    Path(".spuraudit.yaml").unlink()
    Path("pyproject.toml").write_text('[tool.spuraudit]\nmodel = "m.pt"\ndata = "d"\n')
    assert main(["init", "--ci", "github", "--keep"]) == 0
    assert github_commands(GITHUB)[0] == "spuraudit scan --config pyproject.toml -o runs/candidate"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep"], "nothing else was asked"),
        (["--keep", "--ci", "github"], "there is no .spuraudit.yaml"),
        (["--ci", "jenkins"], "'github', 'gitlab', 'pre-commit'"),
    ],
)
def test_what_makes_no_sense_is_exit_2_and_writes_nothing(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert [one.name for one in folder.iterdir()] == [".git"]


@pytest.mark.parametrize("system", System)
def test_odd_names_stay_words_of_one_command(system: System, folder: Path) -> None:
    about = dict.fromkeys(System, f"first\nsecond: {ODD}\u2028third")
    words = ["python", "-c", "import sys; print(sys.argv[1:])", ODD]
    text = rendered(system, Filling(shlex.join(words), "runs/candidate", ODD, True, ODD, about))
    content = yaml.safe_load(text)
    if system is System.PRE_COMMIT:
        assert content["repos"][0]["hooks"][0]["args"] == [ODD, "--config", ODD]
        return
    if system is System.GITHUB:
        steps = {step.get("name"): step for step in content["jobs"]["gate"]["steps"]}
        evaluated = [steps["Scan"]["run"], steps["Gate"]["with"]["config"]]
        assert all(one.count("${{") == 2 * one.count("${{ '${{' }}") for one in evaluated)
        command, config = (one.replace("${{ '${{' }}", "${{") for one in evaluated)
        assert config == ODD
    else:
        command = content["spuraudit"]["script"][1]
        assert shlex.split(content["spuraudit"]["script"][2])[4] == ODD
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[ODD]!r}\n"
    assert not (folder / "hacked").exists()


def test_every_system_has_a_template_and_no_template_is_left_over() -> None:
    assert {file.name for file in (ROOT / "templates" / "ci").iterdir()} == set(FILES.values())


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (130, 130)])
def test_the_gitlab_job_ends_with_the_code_of_scan_or_gate(code: int, ends: int, folder: Path) -> None:
    """A stand-in for spuraudit, which GitLab runs by its name, ends each command with a code."""
    assert main(["init", "--ci", "gitlab"]) == 0
    tool = folder / "bin" / "spuraudit"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$1" >> said\nexit {code}\n')
    tool.chmod(0o755)
    script = "\n".join(loaded(GITLAB)["spuraudit"]["script"][1:])
    environment = {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, check=False)
    assert done.returncode == ends
    assert Path("said").read_text().split() == (["scan", "gate"] if code < 2 else ["scan"])


@pytest.mark.slow
def test_the_commands_of_every_system_run_on_a_run_of_ones_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.draw(folder / "photos", toys.Toy(classes=2, test=40, train=4))
    toys.save_cnn(folder / "models" / "cnn.pt", {"object": 1.0, "frame": 0.9}, 2)
    asked = ["scan", "models/cnn.pt", "--data", "photos", "--std", "1,1,1", "--audits", "noise", "--trials", "1", "-q"]
    monkeypatch.setattr(sys, "argv", ["spuraudit", *asked, "-o", "runs/first"])
    assert main(sys.argv[1:]) == 0
    assert main(["init", "runs/first", *EVERY, "--min-n", "10"]) == 0
    hook = shown_hook(capsys.readouterr().err)
    assert main(["gate", *hook["hooks"][0]["args"]]) == 0
    assert hook["hooks"][0]["args"][0] == "runs/first"
    assert "The scan reads models/cnn.pt and photos, as .spuraudit.yaml says" in GITLAB.read_text()
    for lines in (loaded(GITLAB)["spuraudit"]["script"][1:], github_commands(GITHUB)):
        for line in lines:
            assert main(shlex.split(line.partition(" || ")[0])[1:]) == 0
    for name in ("junit.xml", "comment.md", "spuraudit-gate/report.html", "runs/candidate/verdict.json"):
        assert Path(name).stat().st_size > 500
