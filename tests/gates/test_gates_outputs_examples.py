"""The action, the hook and examples/ci: what they call exists, and what they run does what they say."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from gate_records import measured, record
from junitparser import JUnitXml

from spuraudit.cli.app import app
from spuraudit.cli.gate import gate
from spuraudit.cli.init_ci import FILES, System, rendered
from spuraudit.cli.yaml_text import EDIT
from spuraudit.gates import load_config
from spuraudit.gates.outputs.markdown import MARKER
from spuraudit.record.folder import read_verdict, to_json

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from ci_examples import DEMO as FILLING

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "examples" / "ci"
#: The numbers of `spuraudit demo` that the example's gates look at.
DEMO = record(
    measured("clean_accuracy", 0.989, ci=(0.978, 0.995), n=599),
    measured("rcs", 0.234, ci=(0.064, 0.455), n=599, scope={"sigma": 0.25}),
    measured("swap_gap", 0.414, ci=(0.359, 0.465), n=235, scope={"feature": "decoy"}),
    measured("core_accuracy", 0.923, ci=(0.838, 0.965), n=69, scope={"class": "six", "sigma": 0.25}),
    measured("core_accuracy", 0.88, ci=(0.78, 0.94), n=66, scope={"class": "one", "sigma": 0.25}),
)

wired = pytest.mark.skipif(
    "junit" not in inspect.signature(gate).parameters, reason="`spuraudit gate` does not take --junit yet"
)


def loaded(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def scripts(content: Any) -> list[str]:
    """Every shell line of a workflow, an action or a GitLab file."""
    if isinstance(content, dict):
        lines = [line for key in ("run", "script", "after_script") for line in _lines(content.get(key))]
        return lines + [line for value in content.values() for line in scripts(value)]
    return [line for value in content for line in scripts(value)] if isinstance(content, list) else []


def _lines(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return [line for text in texts for line in str(text).splitlines()]


def documented(file: Path) -> list[str]:
    """The indented lines of a Markdown file."""
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]


def hook() -> dict[str, Any]:
    (one,) = loaded(ROOT / ".pre-commit-hooks.yaml")
    return one


def commands() -> list[str]:
    lines = scripts(loaded(CI / "github.yml")) + scripts(loaded(CI / "gitlab.yml"))
    for file in (CI / "README.md", ROOT / "docs" / "ci.md"):
        lines += documented(file)
    lines.append(shlex.join([*hook()["entry"].split(), *hook()["args"]]))
    return sorted({line.partition(" || ")[0] for line in lines if line.startswith("spuraudit ")})


def test_commands_are_found_in_every_file() -> None:
    assert len(commands()) >= 8
    assert {line.split()[1] for line in commands()} == {"init", "scan", "demo", "gate", "report"}


@pytest.mark.parametrize("system", System)
def test_the_examples_are_what_init_writes_filled_in_for_the_demo(system: System) -> None:
    example = (CI / FILES[system]).read_text(encoding="utf-8")
    assert example == rendered(system, FILLING), "run scripts/ci_examples.py"
    yours = {line.strip() for line in example.splitlines() if re.search(r"\bOWNER\b|\bREF\b", line) and line[0] != "#"}
    assert yours == {line.strip() for line in example.splitlines() if line.endswith(f"# {EDIT}")}
    assert yours


@wired
@pytest.mark.parametrize("line", commands())
def test_every_command_line_is_one_that_spuraudit_accepts(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("spuraudit", words.copy())
    name, chosen, rest = command.resolve_command(context, words)
    chosen.make_context(name, rest, parent=context)  # a usage error here is a wrong example


def test_an_unknown_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        test_every_command_line_is_one_that_spuraudit_accepts("spuraudit gate runs/last --junitt x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with the demo's numbers as a stored run and the example's config."""
    (tmp_path / "runs" / "last").mkdir(parents=True)
    (tmp_path / "runs" / "last" / "scan.json").write_bytes(to_json(DEMO))
    shutil.copy(CI / ".spuraudit.yaml", tmp_path)
    return tmp_path


REMOVE, JUDGE = "Remove what an earlier use has left", "Judge the run"


def judged(folder: Path, environment: dict[str, str], step: str = JUDGE) -> subprocess.CompletedProcess[str]:
    """A step of the action as the runner starts it, with this interpreter's `spuraudit`."""
    steps = {one["name"]: one for one in loaded(ROOT / "action.yml")["runs"]["steps"]}
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    tool = bin_folder / "spuraudit"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m spuraudit "$@"\n')
    tool.chmod(0o755)
    inputs = dict.fromkeys(steps[step].get("env", {}), "")
    base = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "GITHUB_ACTIONS": "true", **inputs}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[step]["run"]]
    return subprocess.run(command, cwd=folder, env={**base, **environment}, capture_output=True, text=True, check=False)


@wired
def test_the_action_writes_its_files_and_keeps_the_exit_code(folder: Path) -> None:
    summary = folder / "summary.md"
    done = judged(folder, {"INPUT_RUN": "runs/last", "GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 1, done.stderr
    out = folder / "spuraudit-gate"
    suite = next(iter(JUnitXml.fromfile(str(out / "junit.xml"))))
    assert (suite.tests, suite.failures, suite.errors) == (4, 1, 0)
    assert json.loads((out / "gate.sarif").read_bytes())["version"] == "2.1.0"
    assert (out / "comment.md").read_text(encoding="utf-8").startswith(MARKER)
    assert "spuraudit: FAILED" in summary.read_text(encoding="utf-8")
    annotated = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert annotated[0].startswith("::error file=.spuraudit.yaml,line=6,title=spuraudit decoy-swap::")
    assert annotated[1].startswith("::warning file=.spuraudit.yaml,line=7,title=spuraudit every-class::")
    assert len(annotated) == 2
    assert done.stderr.splitlines()[-1].startswith("FAILED: 1 of 4 gates failed")


@wired
def test_the_action_hands_on_config_and_quoted_options(folder: Path) -> None:
    (folder / "other gates.yaml").write_text("gates: [clean_accuracy >= 0.5]\n")
    given = {
        "INPUT_RUN": "runs/last",
        "INPUT_CONFIG": "other gates.yaml",
        "INPUT_ARGS": "--rule 'rcs >= 0.2'\n --rule \"swap_gap[feature=decoy] <= 0.5\" --min-n 10",
    }
    done = judged(folder, given)
    assert done.returncode == 0, done.stderr
    verdict = read_verdict(folder / "runs" / "last")
    assert verdict is not None
    written = [one.rule.id for one in verdict.gates]
    assert written == ["clean_accuracy >= 0.5", "rcs >= 0.2", "swap_gap[feature=decoy] <= 0.5"]


@wired
@pytest.mark.parametrize(
    "arguments", ["--rule 'rcs >= 0.2", "--no-such-option", "--rule 'zzz >= 0.1'", "; touch hacked", "$(touch hacked)"]
)
def test_the_action_is_never_green_on_options_that_are_not_understood(folder: Path, arguments: str) -> None:
    (folder / ".spuraudit.yaml").write_text("gates: [clean_accuracy >= 0.5]\n")
    assert judged(folder, {"INPUT_RUN": "runs/last", "INPUT_ARGS": arguments}).returncode == 2
    assert not (folder / "hacked").exists()


@wired
@pytest.mark.parametrize("arguments", ["--help", "-h", "--junit elsewhere.xml"])
def test_the_action_is_never_green_without_its_files(folder: Path, arguments: str) -> None:
    (folder / ".spuraudit.yaml").write_text("gates: [clean_accuracy >= 0.5]\n")
    done = judged(folder, {"INPUT_RUN": "runs/last", "INPUT_ARGS": arguments})
    assert done.returncode == 2
    assert "::error title=spuraudit not evaluated::args: nothing was judged" in done.stdout


@wired
def test_what_an_earlier_use_has_left_goes_away_first(folder: Path) -> None:
    steps = [one["name"] for one in loaded(ROOT / "action.yml")["runs"]["steps"]]
    assert steps[0] == REMOVE
    out = folder / "gates a"
    out.mkdir()
    for name in ("junit.xml", "gate.sarif", "comment.md", "report.html", "mine.txt"):
        (out / name).write_text("PASSED")
    given = {"INPUT_FOLDER": "gates a"}
    assert judged(folder, given, REMOVE).returncode == 0
    assert [file.name for file in out.iterdir()] == ["mine.txt"]
    assert judged(folder, {**given, "INPUT_RUN": "runs/last", "INPUT_ARGS": "--rule 'rcs"}).returncode == 2
    assert [file.name for file in out.iterdir()] == ["mine.txt"]


@wired
def test_two_uses_in_a_job_have_folders_of_their_own(folder: Path) -> None:
    for name, limit in (("a", 0.5), ("b", 0.999)):
        (folder / ".spuraudit.yaml").write_text(f"gates: [clean_accuracy >= {limit}]\n")
        judged(folder, {"INPUT_RUN": "runs/last", "INPUT_FOLDER": name})
    failures = [JUnitXml.fromfile(str(folder / name / "junit.xml")).failures for name in ("a", "b")]
    assert failures == [0, 1]
    assert not (folder / "spuraudit-gate").exists()


@wired
def test_blank_options_are_no_options(folder: Path) -> None:
    (folder / ".spuraudit.yaml").write_text("gates: [clean_accuracy >= 0.5]\n")
    assert judged(folder, {"INPUT_RUN": "runs/last", "INPUT_ARGS": " \n"}).returncode == 0


def test_a_run_that_is_not_there_is_exit_code_2(folder: Path) -> None:
    assert judged(folder, {"INPUT_RUN": "runs/none"}).returncode == 2


def test_the_action_never_pastes_an_input_into_a_script() -> None:
    action = loaded(ROOT / "action.yml")
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
    given = next(step["env"] for step in action["runs"]["steps"] if step["name"] == JUDGE)
    assert given == {f"INPUT_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in action["inputs"]}


def test_what_is_there_is_not_installed_again(folder: Path) -> None:
    done = judged(folder, {"RUNNER_TEMP": str(folder / "temp")}, "Install spuraudit without torch, unless it is there")
    assert (done.returncode, done.stdout, (folder / "temp").exists()) == (0, "", False)


@wired
def test_the_packages_that_the_action_installs_are_enough(folder: Path) -> None:
    """Every other dependency is blocked; then everything that a gate may need is imported, and a run is judged."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {re.split(r"[><=]", one)[0] for one in project["dependencies"]}
    install = loaded(ROOT / "action.yml")["runs"]["steps"][1]["run"]
    listed = set(re.findall(r"--quiet (numpy .*)", install)[0].split())
    assert listed <= required
    modules = {
        "grad-cam": "pytorch_grad_cam",
        "lightning-fabric": "lightning_fabric",
        "open_clip_torch": "open_clip",
        "pillow": "PIL",
        "scikit-learn": "sklearn",
    }
    blocked = [modules.get(name, name) for name in sorted(required - listed)]
    script = (
        f"import importlib, pkgutil, sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import spuraudit.gates, spuraudit.compare, spuraudit.record\n"
        "for room in (spuraudit.gates, spuraudit.compare, spuraudit.record):\n"
        "    for module in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "from spuraudit.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "gate", "runs/last", "--junit", "junit.xml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert (folder / "junit.xml").is_file()


def test_the_example_gates_judge_the_demos_numbers(folder: Path) -> None:
    rules = load_config(CI / ".spuraudit.yaml").gates
    assert [rule.id for rule in rules] == ["accuracy", "rcs-floor", "decoy-swap", "every-class"]


def test_the_workflow_uses_the_files_that_the_action_writes() -> None:
    action = loaded(ROOT / "action.yml")
    workflow = (CI / "github.yml").read_text(encoding="utf-8")
    for file in ("gate.sarif", "comment.md"):
        assert f"$folder/{file}" in action["runs"]["steps"][2]["run"]
        assert f"{action['inputs']['folder']['default']}/{file}" in workflow
    assert MARKER in workflow
    steps = {step.get("name"): step for step in loaded(CI / "github.yml")["jobs"]["gate"]["steps"]}
    assert set(steps["Gate"]["with"]) <= set(action["inputs"])


def test_the_hook_runs_before_every_commit_and_passes_no_file_names() -> None:
    (used,) = loaded(CI / "pre-commit-config.yaml")["repos"]
    assert [one["id"] for one in used["hooks"]] == [hook()["id"]]
    assert (hook()["language"], hook()["pass_filenames"], hook()["always_run"]) == ("system", False, True)
    assert "files" not in hook()  # a new model, another config or accepted findings may lie anywhere


@wired
@pytest.mark.slow
def test_the_readme_works_on_the_demo_as_it_stands(tmp_path: Path) -> None:
    shutil.copytree(CI, tmp_path / "examples" / "ci")
    codes = []
    for line in documented(CI / "README.md"):
        words = shlex.split(line)
        command = [sys.executable, "-m", *words] if words[0] == "spuraudit" else words
        codes.append(subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode)
    assert codes == [0, 0, 1, 0]
    verdict = read_verdict(tmp_path / "runs" / "last")
    assert verdict is not None
    assert {one.rule.id: one.outcome for one in verdict.gates} == {
        "accuracy": "pass",
        "rcs-floor": "pass",
        "decoy-swap": "fail",
        "every-class": "pass",
    }
    for name in ("junit.xml", "gate.sarif", "comment.md", "report.html"):
        assert (tmp_path / name).stat().st_size > 500
