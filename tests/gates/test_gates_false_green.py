"""A false green is impossible: whatever could not be judged ends with exit code 2, whatever excuses it was given."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gate_records import measured, record

from spuraudit.cli.main import main
from spuraudit.record.folder import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = record(
    measured("rcs", 0.262, ci=(0.241, 0.283)),
    measured("core_accuracy", 0.845, ci=(0.801, 0.88)),
    measured("core_accuracy", 0.9, scope={"class": "monarch"}),
)
#: Everything that makes failures pass.
EXCUSES = """
ignores:
  - {metric: rcs, reason: x}
  - {metric: core_accuracy, class: "*", reason: x}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that passes `rcs >= 0.2`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/scan.json").write_bytes(to_json(RECORD))
    return Path("run")


def configure(*gates: str, **keys: str) -> None:
    lines = [f"  - {gate}\n" for gate in gates]
    text = f"gates:\n{''.join(lines)}" + EXCUSES + "".join(f"{key}: {value}\n" for key, value in keys.items())
    Path(".spuraudit.yaml").write_text(text)


def rewrite(change: Callable[[dict[str, Any]], object]) -> None:
    """Change the stored record as a broken tool might."""
    content = json.loads(Path("run/scan.json").read_bytes())
    change(content)
    Path("run/scan.json").write_text(json.dumps(content))


def test_the_run_itself_passes(run: Path) -> None:
    configure("{metric: rcs, min: 0.2, severity: warn}")
    assert main(["gate", "run"]) == 0


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "an empty dataset": lambda content: content["data"].update(images=0),
    "no measurements": lambda content: content.update(measurements=[]),
    "the metric is missing": lambda content: content["measurements"].pop(0),
    "null": lambda content: content["measurements"][0].update(value=None, ci=None, reason="0/0"),
    "NaN": lambda content: content["measurements"][0].update(value=float("nan")),
    "infinity": lambda content: content["measurements"][0].update(value=float("inf")),
    "NaN in the interval": lambda content: content["measurements"][0].update(ci=[0.2, float("nan")]),
    "text for a number": lambda content: content["measurements"][0].update(value="high"),
    "too few images": lambda content: content["measurements"][0].update(n=3),
    "saturated": lambda content: content["measurements"][0].update(value=1.0, ci=[-1, 1], flags=["saturated"]),
    "a status that is not known": lambda content: content.update(status="interrupted"),
    "another schema": lambda content: content.update(schema="spuraudit/plan"),
    "a newer version": lambda content: content.update(schema_version="2.0"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_that_say_nothing(run: Path, what: str) -> None:
    configure("{metric: rcs, min: 0.2, severity: warn}")
    assert main(["gate", "run"]) == 0
    rewrite(RECORDS[what])
    assert main(["gate", "run", "--exit-zero"]) == 2
    verdict = Path("run/verdict.json")
    assert not verdict.exists() or json.loads(verdict.read_bytes())["outcome"] == "not evaluated"


@pytest.mark.parametrize(
    "gate",
    [
        "{metric: rsc, min: 0.2, severity: warn}",
        "{metric: rcs, class: '*', min: 0.2, severity: warn, allow_fraction: 0.9}",
        "{metric: core_accuracy, class: admiral, min: 0.2, severity: warn}",
        "{metric: core_accuracy, class: '*', feature: '*', min: 0.2, severity: warn, allow_fraction: 0.9}",
        "{metric: rcs, sigma: 0.5, min: 0.2, severity: warn}",
        "{metric: core_accuracy, class: '*', min: 0.2, bound: ci_low, severity: warn, allow_fraction: 0.9}",
        "{metric: rcs, max_drop: 0.9, severity: warn}",
    ],
)
def test_rules_that_match_nothing_or_lack_evidence(run: Path, gate: str) -> None:
    configure("rcs >= 0.2", gate)
    assert main(["gate", "run", "--exit-zero"]) == 2
    assert json.loads(Path("run/verdict.json").read_bytes())["outcome"] == "not evaluated"


def test_partial_and_missing_runs(run: Path) -> None:
    configure("rcs >= 0.2")
    content = Path("run/scan.json").read_bytes()
    Path("run/scan.json").write_bytes(content[: len(content) // 2])
    assert main(["gate", "run", "--exit-zero"]) == 2
    Path("run/scan.json").rename("run/plan.json")
    assert main(["gate", "run", "--exit-zero"]) == 2
    assert main(["gate", "nowhere", "--exit-zero"]) == 2
    assert not list(Path().rglob("verdict.json"))


@pytest.mark.parametrize("text", ["", "gates: []\n", "gates: [rcs > 0.2]\n", "gate: [rcs >= 0.2]\n", "gates: ["])
def test_configs_without_a_gate_that_can_be_judged(run: Path, text: str) -> None:
    Path(".spuraudit.yaml").write_text(text)
    assert main(["gate", "run", "--exit-zero"]) == 2
    assert not Path("run/verdict.json").exists()


def of_model(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    rewrite(lambda content: content["model"].update(sha256=digest))


def test_a_run_of_another_model_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.pt").write_bytes(b"old")
    Path("new.pt").write_bytes(b"new")
    of_model(Path("old.pt"))
    rule = ["gate", "run", "--rule", "rcs >= 0.2"]
    assert main(rule) == 0
    assert main([*rule, "--model", "old.pt"]) == 0
    for stale in ("new.pt", "none.pt", "."):
        assert main([*rule, "--model", stale, "--exit-zero"]) == 2
        assert not Path("run/verdict.json").exists()
    said = capsys.readouterr().err.replace("\n", " ")
    assert "This run is not of new.pt: it audited m with sha256" in said
    assert "none.pt: there is no such model file" in said


def test_a_run_of_another_model_file_than_the_configs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.pt").write_bytes(b"old")
    Path("new.pt").write_bytes(b"new")
    configure("rcs >= 0.2", model="new.pt")
    assert main(["gate", "run"]) == 0  # this record names no sha256
    of_model(Path("old.pt"))
    assert main(["gate", "run", "--exit-zero"]) == 2
    assert main(["gate", "run", "--write-baseline", "b.json"]) == 2
    assert "and the file that the config names has" in capsys.readouterr().err.replace("\n", " ")
    assert main(["gate", "run", "--model", "old.pt"]) == 0


def test_a_model_cannot_be_vouched_for_where_the_record_names_no_sha256(run: Path) -> None:
    Path("old.pt").write_bytes(b"old")
    assert main(["gate", "run", "--rule", "rcs >= 0.2", "--model", "old.pt", "--exit-zero"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["data"].update(fingerprint="f" * 64),
        lambda content: content["data"].update(split="val"),
        lambda content: [one.update(definition="core_accuracy/2") for one in content["measurements"]],
    ],
    ids=["another dataset", "another split", "another definition"],
)
def test_accepted_findings_of_other_numbers(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rule = ["gate", "run", "--rule", "core_accuracy >= 0.9", "--baseline", "b.json"]
    assert main([*rule[:-2], "--write-baseline", "b.json"]) == 0
    assert main(rule) == 0
    rewrite(change)
    assert main([*rule, "--exit-zero"]) == 2
    assert not Path("run/verdict.json").exists()


def test_a_missing_baseline(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure("{metric: rcs, max_drop: 0.1}", baseline="runs/released")
    assert main(["gate", "run", "--exit-zero"]) == 2
    assert "spuraudit scan OLD_MODEL --data DATA -o" in capsys.readouterr().err
    configure("rcs >= 0.2", baseline="accepted.json")
    assert main(["gate", "run", "--exit-zero"]) == 2
    assert "spuraudit gate RUN --write-baseline" in capsys.readouterr().err


def test_an_expired_ignore_covers_nothing(run: Path) -> None:
    text = "gates: [rcs >= 0.9]\nignores: [{{metric: rcs, reason: x, expires: {}}}]\n"
    Path(".spuraudit.yaml").write_text(text.format("2999-12-31"))
    assert main(["gate", "run"]) == 0
    Path(".spuraudit.yaml").write_text(text.format("2020-01-01"))
    assert main(["gate", "run"]) == 1
