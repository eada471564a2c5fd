"""The verdicts that scan and fix store: of the record that they judged, and none where judging ends with an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_records import measured, record

from spuraudit.cli import fix_outcome, outcome
from spuraudit.cli.gating import Asked
from spuraudit.cli.pages import Pages
from spuraudit.errors import RunError
from spuraudit.gates import parse_rule
from spuraudit.record.fix_trials import FixTrials, Trial
from spuraudit.record.folder import sha256_of, to_json

RECORD = record(measured("rcs", 0.262, ci=(0.241, 0.283)))
PASSES = Asked([parse_rule("rcs >= -0.99")])
#: A drop is judged against a run that is not there.
IMPOSSIBLE = Asked([parse_rule("drop(rcs) <= 0.5")], run=Path("nowhere"))


def hash_in(verdict: Path) -> str:
    digest: str = json.loads(verdict.read_bytes())["record_sha256"]
    return digest


def test_a_scan_leaves_no_verdict_and_no_passed_page_where_judging_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, copy = Path("run"), Path("copy.md")
    run.mkdir()
    (run / "scan.json").write_bytes(to_json(RECORD))
    assert outcome.conclude(RECORD, run, PASSES, [copy]) == 0
    assert hash_in(run / "verdict.json") == sha256_of(run / "scan.json")
    for file in (run / "report.html", copy):
        assert "passes the only gate" in file.read_text()
    with pytest.raises(RunError, match="there is no baseline run"):
        outcome.conclude(RECORD, run, IMPOSSIBLE, [copy])
    assert not (run / "verdict.json").exists()
    for file in (run / "report.html", copy):
        assert "passes the only gate" not in file.read_text()
        assert "No gates were set" in file.read_text()


@pytest.mark.slow
def test_a_fix_leaves_no_verdict_where_judging_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import toy_fix  # torch: the other test here does without

    monkeypatch.chdir(tmp_path)
    trials, folder = Path("trials"), Path("trials/swap")
    made = toy_fix.write_fix(folder, toy_fix.draw(Path("data"), test=4))
    several = FixTrials(
        tool=made.tool,
        argv=made.argv,
        started=made.started,
        model=made.model,
        data=made.data.name,
        seed=0,
        trials=[Trial(method="swap", title="Swap", status="done")],
        recommended="swap",
        reason="It gains.",
    )
    verdict = folder / "verdict.json"
    verdict.write_text("{}")
    with pytest.raises(RunError, match="there is no baseline run"):
        fix_outcome.conclude(made, folder, None, IMPOSSIBLE, Pages())
    assert not verdict.exists()
    verdict.write_text("{}")
    with pytest.raises(RunError, match="there is no baseline run"):
        fix_outcome.conclude_several(several, trials, None, IMPOSSIBLE, Pages())
    assert not verdict.exists()
    fix_outcome.conclude(made, folder, None, PASSES, Pages())
    assert hash_in(verdict) == sha256_of(folder / "fixed" / "scan.json")
