"""Gates that somebody wrote are never passed over in silence: files of another name, dead links, lists of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_records import measured, record

from spuraudit.cli.gating import before_a_scan, say_unjudged
from spuraudit.cli.main import main
from spuraudit.errors import ConfigError
from spuraudit.gates import find_config, load_config
from spuraudit.record.folder import read_verdict, to_json

GATES = "gates: [rcs >= 0.2]\n"
RULE = ["--rule", "rcs >= 0.1"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that passes, seen from a folder inside a repository."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "ci").mkdir()
    monkeypatch.chdir(tmp_path / "ci")
    Path("run").mkdir()
    Path("run/scan.json").write_bytes(to_json(record(measured("rcs", 0.262))))
    return Path("run")


@pytest.mark.parametrize("place", [".", ".."])
def test_a_file_whose_name_is_not_read(run: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    assert main(["gate", str(run), *RULE]) == 0
    wrong = Path(place) / ".spuraudit.yml"
    wrong.write_text("gates: [rcs >= 0.9]\n")
    assert main(["gate", str(run), *RULE, "--exit-zero"]) == 2
    assert ".spuraudit.yml: this name is not read." in capsys.readouterr().err.replace("\n", "")
    with pytest.raises(ConfigError, match=r"\.spuraudit\.yml"):
        before_a_scan(RULE[1:], None)
    (Path(place) / ".spuraudit.yaml").write_text(GATES)  # beside the one that is read: which is meant?
    assert main(["gate", str(run)]) == 2
    wrong.unlink()
    assert main(["gate", str(run)]) == 0


def test_one_above_the_file_that_is_used_is_not_looked_at(run: Path) -> None:
    Path("../.spuraudit.yml").write_text("gates: [rcs >= 0.9]\n")
    Path(".spuraudit.yaml").write_text(GATES)
    assert main(["gate", str(run)]) == 0


def test_a_link_to_nothing_and_a_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".spuraudit.yaml").symlink_to("gone.yaml")
    assert main(["gate", str(run), *RULE, "--exit-zero"]) == 2
    assert "a link to a file that is not there" in capsys.readouterr().err.replace("\n", " ")
    Path(".spuraudit.yaml").unlink()
    Path(".spuraudit.yaml").mkdir()
    assert main(["gate", str(run), *RULE, "--exit-zero"]) == 2
    assert "this is no file" in capsys.readouterr().err.replace("\n", " ")


def test_gate_says_which_config_it_read_and_which_table_it_did_not(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("../.spuraudit.yaml").write_text(GATES)
    assert main(["gate", str(run)]) == 0
    assert f"Config: {Path('..').resolve() / '.spuraudit.yaml'}" in capsys.readouterr().err.splitlines()
    Path("pyproject.toml").write_text("[tool.spuraudit]\ngates = ['rcs >= 0.9']\n")
    assert main(["gate", str(run)]) == 0
    said = capsys.readouterr()
    note = "pyproject.toml: its [tool.spuraudit] is not read, .spuraudit.yaml is."
    assert note in said.out
    verdict = read_verdict(run)
    assert verdict is not None
    assert verdict.notes == [note]
    Path("pyproject.toml").write_text("[tool.spuraudit\n")  # broken, and not asked for
    assert main(["gate", str(run)]) == 0
    Path(".spuraudit.yaml").write_text(GATES)
    Path("../pyproject.toml").write_text("[tool.spuraudit]\ngates = ['rcs >= 0.9']\n")
    assert main(["gate", str(run)]) == 0
    said = capsys.readouterr()
    assert "is not read" not in said.out
    assert "Config: .spuraudit.yaml" in said.err.splitlines()
    assert main(["gate", str(run), "--config", ".spuraudit.yaml"]) == 0
    assert "Config:" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["version: 1\ngates: []\n", "version: 1\ngates:\n"])
def test_a_scan_with_a_list_of_no_gates(run: Path, text: str) -> None:
    file = Path(".spuraudit.yaml")
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"line 2: gates: there is none, so nothing would be judged"):
        before_a_scan([], None)
    assert len(before_a_scan(RULE[1:], None).rules) == 1
    file.write_text("seed: 3\n")
    assert before_a_scan([], None).rules == []


def test_a_zoo_says_that_its_gates_were_not_judged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".spuraudit.yaml").write_text(GATES)
    found = find_config(Path.cwd())
    assert found is not None
    say_unjudged(load_config(found), Path("runs/zoo"))
    assert capsys.readouterr().err.splitlines() == [
        "The gate of .spuraudit.yaml did not judge these models. Each one:",
        "  spuraudit gate runs/zoo/models/MODEL --config .spuraudit.yaml",
    ]
    say_unjudged(None, Path("runs/zoo"))
    assert capsys.readouterr().err == ""


def test_a_zoo_s_folder_is_no_run(run: Path) -> None:
    Path("zoo/models/a").mkdir(parents=True)
    Path("zoo/zoo.json").write_text("{}")
    (run / "scan.json").rename("zoo/models/a/scan.json")
    assert main(["gate", "zoo", *RULE, "--exit-zero"]) == 2
    assert main(["gate", "zoo/models/a", *RULE]) == 0
