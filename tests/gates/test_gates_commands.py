"""`spuraudit gate` and `spuraudit schema` as commands: streams, exit codes, files, and no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import outputs_verdicts
import pytest
import typer
from gate_records import measured, record
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from spuraudit.cli.gate import gate, print_verdict
from spuraudit.cli.schema import schema
from spuraudit.errors import ConfigError, RunError, UsageError
from spuraudit.record.folder import read_verdict, to_json
from spuraudit.record.scan import ScanRecord

RECORD = record(
    measured("rcs", 0.262, ci=(0.241, 0.283), scope={"sigma": 0.25}),
    measured("core_accuracy", 0.845, ci=(0.801, 0.88)),
    measured("core_accuracy", 0.7, ci=(0.6, 0.8), n=30, scope={"class": "[red]admiral[/red]"}),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run inside an empty working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "r1"
    folder.mkdir(parents=True)
    (folder / "scan.json").write_bytes(to_json(RECORD))
    return folder


class Ran:
    """Exit code and streams of one command; errors of the tool's own are raised."""

    def __init__(self, command: object, *arguments: object) -> None:
        app = typer.Typer()
        app.command()(command)  # type: ignore[type-var]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("rules", "code", "last"),
    [
        (["rcs >= 0.2"], 0, "PASSED: the gate holds."),
        (["rcs >= 0.2", "core_accuracy >= 0.8"], 0, "PASSED: 2 of 2 gates hold."),
        (["rcs >= 0.3"], 1, "FAILED: the gate failed."),
        (["rcs >= 0.3", "core_accuracy >= 0.8"], 1, "FAILED: 1 of 2 gates failed."),
        (["zzz >= 0.3"], 2, "NOT EVALUATED: the gate could not be evaluated."),
        (
            ["rcs >= 0.3", "zzz >= 0.3"],
            2,
            "NOT EVALUATED: 1 of 2 gates failed, 1 of 2 gates could not be evaluated.",
        ),
    ],
)
def test_exit_code_last_line_and_verdict_file(run: Path, rules: list[str], code: int, last: str) -> None:
    ran = Ran(gate, run, *(part for rule in rules for part in ("--rule", rule)))
    assert ran.code == code
    assert ran.err.splitlines()[-1] == f"{last} {run / 'verdict.json'}"
    verdict = read_verdict(run)
    assert verdict is not None
    assert verdict.run_id == RECORD.run.id
    assert [result.rule.id for result in verdict.gates] == rules
    assert verdict.outcome == {0: "pass", 1: "fail", 2: "not evaluated"}[code]


def test_the_table_shows_numbers_and_why_a_gate_did_not_pass(run: Path) -> None:
    rules = ["--rule", "core_accuracy[class=*] >= 0.8", "--rule", "rcs >= 0.2"]
    out = Ran(gate, run, *rules, "--min-n", 10).out
    assert "core_accuracy[class=*] >= 0.8" in out
    assert "70.0 %" in out
    assert "60.0 to 80.0 %" in out
    assert "0.241 to 0.283" in out
    quoted = 'core_accuracy[class="[red]admiral[/red]"]'  # markup of rich in a name is text, and ] needs quotes
    assert f"{quoted} is 70.0 % (95 % interval 60.0 to 80.0 %, n = 30), below" in out
    assert "rcs[sigma=0.25] is" not in out
    assert max(map(len, out.splitlines())) < 200


def test_quiet_prints_the_verdict_alone(run: Path) -> None:
    ran = Ran(gate, run, "--rule", "rcs >= 0.2", "--quiet")
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1


def test_a_run_is_its_folder_a_pointer_to_it_or_its_record(run: Path) -> None:
    link, pointer = run.parent / "last", run.parent / "pointer"
    link.symlink_to("r1", target_is_directory=True)
    pointer.write_text("r1\n")
    for given in (run, link, pointer, run / "scan.json"):
        assert Ran(gate, given, "--rule", "rcs >= 0.2").code == 0
        assert (run / "verdict.json").exists()
        (run / "verdict.json").unlink()


def test_judging_twice_writes_the_same_bytes(run: Path) -> None:
    written = []
    for _ in range(2):
        Ran(gate, run, "--rule", "core_accuracy[class=*] >= 0.8", "--rule", "rcs >= 0.2")
        written.append((run / "verdict.json").read_bytes())
    assert written[0] == written[1]


def test_gates_come_from_the_config_and_the_command_line(run: Path) -> None:
    Path(".spuraudit.yaml").write_text("gates:\n  - {id: floor, metric: rcs, min: 0.2}\n  - core_accuracy >= 0.8\n")
    ran = Ran(gate, run, "--rule", "rcs >= 0.3", "--rule", "core_accuracy >= 0.8")
    verdict = read_verdict(run)
    assert verdict is not None
    assert [result.rule.id for result in verdict.gates] == ["floor", "core_accuracy >= 0.8", "rcs >= 0.3"]
    assert ran.code == 1


def test_a_named_config_replaces_the_one_found(run: Path) -> None:
    Path(".spuraudit.yaml").write_text("gates: [rcs >= 0.9]\n")
    Path("ci.yaml").write_text("gates: [rcs >= 0.1]\n")
    assert Ran(gate, run).code == 1
    assert Ran(gate, run, "--config", "ci.yaml").code == 0
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        Ran(gate, run, "--config", "none.yaml")


def test_min_n_of_the_command_line_holds_for_every_gate(run: Path) -> None:
    Path(".spuraudit.yaml").write_text("gates: [{metric: core_accuracy, class: '*', min: 0.6, min_n: 40}]\n")
    assert Ran(gate, run).code == 2
    assert Ran(gate, run, "--min-n", 30).code == 0
    assert Ran(gate, run, "--rule", "rcs >= 0.2", "--min-n", 2000).code == 2


def test_without_any_gate_nothing_passes_and_nothing_is_written(run: Path) -> None:
    with pytest.raises(UsageError, match="There are no gates to judge") as caught:
        Ran(gate, run)
    assert "--rule 'rcs >= 0.2'" in (caught.value.hint or "")
    Path(".spuraudit.yaml").write_text("seed: 1\n")
    with pytest.raises(UsageError, match="There are no gates to judge"):
        Ran(gate, run)
    assert not (run / "verdict.json").exists()


@pytest.mark.parametrize("rule", ["rcs > 0.2", "rcs >= 20", "ci_high(rcs) >= 0.1"])
def test_a_wrong_rule_writes_nothing(run: Path, rule: str) -> None:
    with pytest.raises(ConfigError):
        Ran(gate, run, "--rule", "rcs >= 0.2", "--rule", rule)
    assert not (run / "verdict.json").exists()


def test_a_gate_and_a_rule_of_one_id_but_another_meaning_are_refused(run: Path) -> None:
    Path(".spuraudit.yaml").write_text("gates: [{rule: rcs >= 0.2, min_n: 10}]\n")
    with pytest.raises(ConfigError, match="Two gates have the id"):
        Ran(gate, run, "--rule", "rcs >= 0.2")
    assert Ran(gate, run, "--rule", "rcs >= 0.2", "--min-n", 20).code == 0


def test_an_unfinished_run_is_not_judged(run: Path) -> None:
    (run / "scan.json").rename(run / "plan.json")
    with pytest.raises(RunError, match="unfinished"):
        Ran(gate, run, "--rule", "rcs >= 0.2")


def isolated(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `script` in a fresh interpreter in which importing torch, timm or plotly is an ImportError."""
    blocked = "import sys; sys.modules.update(torch=None, torchvision=None, timm=None, plotly=None, open_clip=None)\n"
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-c", blocked + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


APP = "import typer; app = typer.Typer(); app.command()({0}); app()"


def test_gate_never_imports_torch(run: Path) -> None:
    script = "from spuraudit.cli.gate import gate\n" + APP.format("gate")
    done = isolated(script, run, "--rule", "rcs >= 0.3")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"FAILED: the gate failed. {run / 'verdict.json'}",
    )
    assert "0.262" in done.stdout


def test_schema_never_imports_torch(run: Path) -> None:
    script = "from spuraudit.cli.schema import schema\n" + APP.format("schema")
    done = isolated(script, "--check", run / "scan.json")
    assert (done.returncode, done.stdout) == (0, f"{run / 'scan.json'}: valid spuraudit/scan {RECORD.schema_version}\n")


def test_printed_schemas_are_valid_and_accept_what_is_written(run: Path) -> None:
    Ran(gate, run, "--rule", "rcs >= 0.2")
    for arguments, file in (((), "scan.json"), (("scan",), "scan.json"), (("verdict",), "verdict.json")):
        printed = json.loads(Ran(schema, *arguments).out)
        Draft202012Validator.check_schema(printed)
        content = json.loads((run / file).read_bytes())
        assert list(Draft202012Validator(printed).iter_errors(content)) == []
        assert list(Draft202012Validator(printed).iter_errors({**content, "surprise": 1})) != []


def test_an_unknown_schema_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        Ran(schema, "verdit")
    assert "Did you mean 'verdict'" in (caught.value.hint or "")


def test_check_accepts_by_the_files_own_name(run: Path) -> None:
    Ran(gate, run, "--rule", "rcs >= 0.2")
    assert Ran(schema, "--check", run / "verdict.json").out.endswith("verdict.json: valid spuraudit/verdict 1.2\n")
    assert Ran(schema, "scan", "--check", run / "scan.json").code == 0
    with pytest.raises(RunError, match=r"its schema is 'spuraudit/scan', not 'spuraudit/verdict'"):
        Ran(schema, "verdict", "--check", run / "scan.json")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": "other"}, "its `schema` is 'other'"),
        ({"schema_version": "2.0"}, "version 2.0; this spuraudit reads 1.x"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"findings": "none"}, "findings: Input should be a valid array"),
        ({"measurements": [{}] * 9}, "and 26 more"),
    ],
)
def test_check_names_what_is_wrong(run: Path, change: dict[str, object], problem: str) -> None:
    content = json.loads((run / "scan.json").read_bytes()) | change
    (run / "scan.json").write_text(json.dumps(content))
    with pytest.raises(RunError) as caught:
        Ran(schema, "--check", run / "scan.json")
    assert problem in caught.value.message
    assert str(run / "scan.json") in caught.value.message


@pytest.mark.parametrize(("text", "problem"), [("{", "not readable as JSON"), ("[]", "a JSON object is expected")])
def test_check_of_a_file_that_is_no_record(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match=problem):
        Ran(schema, "--check", tmp_path / "x.json")
    with pytest.raises(RunError, match="cannot be read"):
        Ran(schema, "--check", tmp_path / "missing.json")


def test_the_record_of_these_tests_is_a_record(run: Path) -> None:
    assert ScanRecord.model_validate_json((run / "scan.json").read_bytes()) == RECORD


def test_a_config_is_checked_and_its_schema_printed(tmp_path: Path) -> None:
    file = tmp_path / ".spuraudit.yaml"
    file.write_text(
        "gates: [rcs >= 0.2, {metric: core_accuracy, max_drop: 0.1}]\nignores: [{metric: rcs, reason: old}]\n"
    )
    assert Ran(schema, "--check", file).out == f"{file}: valid config (2 gates, 1 ignore)\n"
    assert Ran(schema, "config", "--check", file).code == 0
    file.write_text("gates: [rcs >= 0.2]\nseeds: 3\n")
    with pytest.raises(ConfigError, match=r"line 2: seeds: unknown key\. Did you mean 'seed'"):
        Ran(schema, "config", "--check", file)
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.spuraudit]\ngates = ['rcs > 0.2']\n")
    with pytest.raises(ConfigError, match=r"pyproject.toml \[tool.spuraudit\], line 2"):
        Ran(schema, "--check", project)
    printed = json.loads(Ran(schema, "config").out)
    Draft202012Validator.check_schema(printed)
    assert "max_drop" in printed["$defs"]["GateEntry"]["anyOf"][1]["properties"]


def test_exit_zero_spares_a_failure_and_nothing_else(run: Path) -> None:
    failed = Ran(gate, run, "--rule", "rcs >= 0.3", "--exit-zero")
    assert failed.code == 0
    assert failed.err.endswith("verdict.json (exit code 0: --exit-zero)\n")
    assert failed.err.startswith("FAILED: ")
    verdict = read_verdict(run)
    assert verdict is not None
    assert verdict.outcome == "fail"
    assert Ran(gate, run, "--rule", "rcs >= 0.3", "--rule", "zzz >= 0.3", "--exit-zero").code == 2
    assert Ran(gate, run, "--rule", "rcs >= 0.2", "--exit-zero").err.startswith("PASSED")


def test_a_verdict_says_of_what_it_is(run: Path) -> None:
    (run.parents[1] / ".git").mkdir()
    Path(".spuraudit.yaml").write_text("gates:\n\n  - rcs >= 0.2\n")
    Ran(gate, run, "--rule", "core_accuracy >= 0.8")
    verdict = read_verdict(run)
    assert verdict is not None
    assert (verdict.model, verdict.data, verdict.config) == ("m", "birds", ".spuraudit.yaml")
    assert [result.rule.line for result in verdict.gates] == [3, None]


def test_no_verdict_outlives_a_judgement_that_failed(run: Path) -> None:
    assert Ran(gate, run, "--rule", "rcs >= 0.2").code == 0
    with pytest.raises(ConfigError):
        Ran(gate, run, "--rule", "rcs > 0.2")
    assert not (run / "verdict.json").exists()


def test_no_name_begins_a_line_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """`::error::` at the start of a line is a command where GitHub reads the output."""
    print_verdict(outputs_verdicts.hostile())
    out = capsys.readouterr().out
    assert "::error::injected" in out
    assert not [line for line in out.splitlines() if line.lstrip().startswith("::")]
    assert "\x1b" not in out
