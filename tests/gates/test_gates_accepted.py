"""Accepted findings: what failed when the gates came, and only that, does not fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gate_records import measured, record

from spuraudit.cli.main import main
from spuraudit.errors import NotEvaluatedError, RunError
from spuraudit.gates import accept, judge, parse_rule
from spuraudit.gates.baseline import describe
from spuraudit.record.folder import read_json, read_verdict, to_json
from spuraudit.record.schema import SCHEMAS
from spuraudit.record.verdict import AcceptedFindings, Ignore, Verdict

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord

RULE = parse_rule("core_accuracy[class=*] >= 0.5", id="floor")
GATE = ["--rule", "core_accuracy[class=*] >= 0.5"]


def classes(**values: float | None) -> ScanRecord:
    return record(*[measured("core_accuracy", value, scope={"class": name}) for name, value in values.items()])


OLD = classes(a=0.2, b=0.4, c=0.9)


def judged(now: ScanRecord, accepted: AcceptedFindings, strict: bool = False) -> Verdict:
    return judge(now, [RULE], accepted=accepted, strict=strict)


def states(verdict: Verdict) -> dict[str, str]:
    return {str(one.accepted.scope["class"]): one.state for one in verdict.accepted}


def test_what_fails_now_is_accepted_and_nothing_else() -> None:
    accepted = accept(OLD, [RULE, parse_rule("core_accuracy[class=c] >= 0.5")])
    assert [(one.gate, one.scope, one.value) for one in accepted.findings] == [
        ("floor", {"class": "a"}, 0.2),
        ("floor", {"class": "b"}, 0.4),
    ]
    verdict = judged(OLD, accepted)
    assert (verdict.outcome, verdict.gates[0].known, verdict.gates[0].failed) == ("pass", 2, 0)
    assert verdict.gates[0].text.startswith(
        "1 of 3 hold, 2 are known; the nearest to the limit: core_accuracy[class=c]"
    )
    assert judge(OLD, [RULE]).outcome == "fail"


def test_ignored_failures_are_not_accepted_and_a_gate_that_passes_accepts_nothing() -> None:
    ignored = accept(OLD, [RULE], ignores=[Ignore(scope={"class": "a"}, reason="x")])
    assert [one.scope for one in ignored.findings] == [{"class": "b"}]
    lenient = RULE.model_copy(update={"allow_fraction": 0.7})
    assert accept(OLD, [lenient]).findings == []


def test_a_new_failure_does_not_hide_behind_a_repaired_one() -> None:
    now = classes(a=0.2, b=0.9, c=0.4)  # as many failures as before
    verdict = judged(now, accept(OLD, [RULE]))
    assert verdict.outcome == "fail"
    assert verdict.gates[0].scope == {"class": "c"}
    assert verdict.gates[0].text.startswith("1 of 3 fail, 1 is known; the worst: core_accuracy[class=c]")
    assert states(verdict) == {"a": "known", "b": "fixed"}
    assert [one.value for one in verdict.accepted] == [0.2, 0.9]


def test_fixed_and_stale_ones_are_named_and_fail_where_that_is_asked() -> None:
    accepted = accept(OLD, [RULE])
    fixed, stale = classes(a=0.2, b=0.6, c=0.9), classes(a=0.2, c=0.9)
    for now, state in ((fixed, "fixed"), (stale, "stale")):
        assert states(judged(now, accepted)) == {"a": "known", "b": state}
        assert judged(now, accepted).outcome == "pass"
        strict = judged(now, accepted, strict=True)
        assert strict.outcome == "fail"
        assert strict.notes == ["1 accepted finding is fixed or stale, which fails a strict baseline: write it again."]
    assert judged(OLD, accepted, strict=True).outcome == "pass"
    renamed = judge(OLD, [RULE.model_copy(update={"id": "other"})], accepted=accepted)
    assert (renamed.outcome, states(renamed)) == ("fail", {"a": "stale", "b": "stale"})


def test_known_failures_use_up_the_allowed_share() -> None:
    lenient = RULE.model_copy(update={"allow_fraction": 0.7})
    accepted = accept(OLD, [RULE])
    assert judge(classes(a=0.2, b=0.4, c=0.4), [lenient], accepted=accepted).outcome == "fail"
    assert judge(classes(a=0.2, b=0.9, c=0.4), [lenient], accepted=accepted).outcome == "pass"


def test_an_accepted_finding_does_not_excuse_missing_evidence() -> None:
    verdict = judged(classes(a=None, b=0.4, c=0.9), accept(OLD, [RULE]))
    assert (verdict.outcome, states(verdict)) == ("not evaluated", {"a": "known", "b": "known"})


def test_nothing_is_accepted_where_a_gate_cannot_be_evaluated() -> None:
    with pytest.raises(NotEvaluatedError, match="'zzz >= 0' could not be evaluated"):
        accept(OLD, [RULE, parse_rule("zzz >= 0")])


def of_class(value: float, ci: tuple[float, float] | None = None) -> ScanRecord:
    return record(measured("core_accuracy", value, ci=ci, scope={"class": "a"}))


def test_a_finding_that_got_worse_is_a_new_failure() -> None:
    accepted = accept(of_class(0.4, (0.3, 0.5)), [RULE])
    within = judged(of_class(0.35, (0.25, 0.45)), accepted)
    assert (within.outcome, within.gates[0].known) == ("pass", 1)
    worse = judged(of_class(0.2, (0.1, 0.3)), accepted)
    assert (worse.outcome, worse.gates[0].known, worse.gates[0].failed) == ("fail", 0, 1)
    assert worse.gates[0].text.endswith("below the limit of 50 %; it is worse than accepted: 40.0 % then, 20.0 % now.")
    assert [(one.state, one.reason) for one in worse.accepted] == [
        ("known", "it is worse than accepted: 40.0 % then, 20.0 % now")
    ]
    assert judged(of_class(0.39), accepted).outcome == "fail"  # no interval: any worse number is worse
    assert judged(of_class(0.4), accepted).outcome == "pass"
    assert judged(of_class(0.41), accepted).outcome == "pass"


def test_worse_of_a_number_that_should_be_low_is_higher() -> None:
    rule = parse_rule("swap_gap <= 0.1", id="gap")
    accepted = accept(record(measured("swap_gap", 0.2)), [rule])
    assert judge(record(measured("swap_gap", 0.19)), [rule], accepted=accepted).outcome == "pass"
    assert judge(record(measured("swap_gap", 0.21)), [rule], accepted=accepted).outcome == "fail"
    assert judge(record(measured("swap_gap", 0.3, ci=(0.15, 0.4))), [rule], accepted=accepted).outcome == "pass"
    assert judge(record(measured("swap_gap", 0.3, ci=(0.25, 0.4))), [rule], accepted=accepted).outcome == "fail"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("core_accuracy[class=*] >= 0.3", "core_accuracy >= 0.5 then, core_accuracy >= 0.3 now"),
        ("core_accuracy[class=*] >= 0.9", "core_accuracy >= 0.5 then, core_accuracy >= 0.9 now"),
        ("ci_low(core_accuracy[class=*]) >= 0.5", "core_accuracy >= 0.5 then, ci_low(core_accuracy) >= 0.5 now"),
        ("core_accuracy[class=*] <= 0.1", "core_accuracy >= 0.5 then, core_accuracy <= 0.1 now"),
    ],
)
def test_a_finding_that_was_accepted_under_another_limit_excuses_nothing(text: str, said: str) -> None:
    now = of_class(0.2, (0.1, 0.3))
    accepted = accept(now, [RULE])
    verdict = judge(now, [parse_rule(text, id="floor")], accepted=accepted)
    assert (verdict.outcome, verdict.gates[0].known) == ("fail", 0)
    assert [(one.state, one.reason) for one in verdict.accepted] == [
        ("stale", f"it was accepted under another limit: {said}")
    ]
    assert describe(verdict.accepted)[1] == (
        f"The accepted finding floor: core_accuracy[class=a]: it was accepted under another limit: {said}; "
        "write the baseline again."
    )


def test_files_without_limits_are_read_and_said_to_be_old() -> None:
    content = json.loads(to_json(accept(of_class(0.4), [RULE])))
    content["schema_version"] = "1.0"
    for key in ("op", "limit", "of", "bound"):
        del content["findings"][0][key]
    old = AcceptedFindings.model_validate(content)
    verdict = judged(of_class(0.4), old)
    assert (verdict.outcome, verdict.gates[0].known) == ("pass", 1)
    assert "do not say their limits" in describe(verdict.accepted)[-1]
    assert judged(of_class(0.2), old).outcome == "fail"


def test_written_again_and_again_the_accepted_number_does_not_creep() -> None:
    accepted = accept(of_class(0.4, (0.3, 0.5)), [RULE])
    for value in (0.36, 0.33, 0.31):  # each within the interval of the one before
        now = of_class(value, (value - 0.1, value + 0.1))
        accepted = accept(now, [RULE], before=accepted)
        assert [one.value for one in accepted.findings] == [0.4]
    assert judged(of_class(0.25, (0.15, 0.35)), accepted).outcome == "fail"
    better = accept(of_class(0.45, (0.35, 0.55)), [RULE], before=accepted)
    assert [one.value for one in better.findings] == [0.45]
    worse = accept(of_class(0.2, (0.1, 0.3)), [RULE], before=better)  # asked for, and said in the file's diff
    assert [one.value for one in worse.findings] == [0.2]
    other = changed(of_class(0.36, (0.26, 0.46)), fingerprint="f" * 64)
    assert [one.value for one in accept(other, [RULE], before=accepted).findings] == [0.36]


def changed(now: ScanRecord, **data: Any) -> ScanRecord:
    return now.model_copy(update={"data": now.data.model_copy(update=data)})


def test_other_images_or_definitions_are_refused() -> None:
    accepted = accept(OLD, [RULE])
    for now, said in (
        (changed(OLD, fingerprint="f" * 64), "this run's data: 000000000000 then, ffffffffffff now"),
        (changed(OLD, split="val"), "this run's split: None then, val now"),
        (changed(OLD, images=500), "this run's number of images: 1000 then, 500 now"),
    ):
        with pytest.raises(RunError, match=said) as caught:
            judged(now, accepted)
        assert "--write-baseline" in (caught.value.hint or "")
    other = [one.model_copy(update={"definition": "core_accuracy/2"}) for one in OLD.measurements]
    with pytest.raises(RunError, match=r"core_accuracy\[class=a\] is another quantity.*core_accuracy/1 then"):
        judged(OLD.model_copy(update={"measurements": other}), accepted)


def test_equal_arguments_give_equal_bytes() -> None:
    first, second = (to_json(accept(OLD, [RULE])) for _ in range(2))
    assert first == second
    accepted = AcceptedFindings.model_validate_json(first)
    assert to_json(judged(OLD, accepted)) == to_json(judged(OLD, accepted))
    assert SCHEMAS["accepted"] is AcceptedFindings


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run in the working directory."""
    monkeypatch.chdir(tmp_path)
    return place(OLD)


def place(now: ScanRecord, name: str = "run") -> Path:
    Path(name).mkdir(exist_ok=True)
    (Path(name) / "scan.json").write_bytes(to_json(now))
    return Path(name)


def test_writing_and_using_a_baseline(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "run", *GATE]) == 1
    assert main(["gate", "run", *GATE, "--write-baseline", "accepted.json"]) == 0
    assert "Wrote accepted.json: 2 accepted findings." in capsys.readouterr().err
    assert main(["schema", "--check", "accepted.json"]) == 0
    assert main(["gate", "run", *GATE, "--baseline", "accepted.json"]) == 0
    said = capsys.readouterr()
    assert said.err.endswith(f"PASSED: the gate holds; failures: 2 known. {run / 'verdict.json'}\n")
    assert "2 of 2 accepted findings still fail." in said.out
    place(classes(a=0.2, b=0.9, c=0.4))
    assert main(["gate", "run", *GATE, "--baseline", "accepted.json"]) == 1
    place(classes(a=0.2, b=0.9, c=0.9))
    assert main(["gate", "run", *GATE, "--baseline", "accepted.json"]) == 0
    assert main(["gate", "run", *GATE, "--baseline", "accepted.json", "--strict-baseline"]) == 1
    said = capsys.readouterr()
    assert "core_accuracy[class=b]: it holds now; write the baseline again." in said.out
    assert "accepted findings that are fixed or stale: 1." in said.err
    assert main(["gate", "run", *GATE, "--write-baseline", "accepted.json"]) == 0
    rewritten = "Rewrote accepted.json: 1 accepted finding, 0 new, 1 of the 2 before gone."
    assert rewritten in capsys.readouterr().err


def test_the_config_names_the_baseline(run: Path) -> None:
    Path(".spuraudit.yaml").write_text("gates: ['core_accuracy[class=*] >= 0.5']\nbaseline: ci/accepted.json\n")
    assert main(["gate", "run"]) == 2  # the file is not there yet
    assert main(["gate", "run", "--write-baseline", "ci/accepted.json"]) == 0
    assert main(["gate", "run"]) == 0
    verdict = read_verdict(run)
    assert verdict is not None
    assert (verdict.gates[0].known, len(verdict.accepted)) == (2, 2)


def test_a_foreign_file_is_not_overwritten(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.json").write_text('{"mine": 1}')
    assert main(["gate", "run", *GATE, "--write-baseline", "notes.json"]) == 2
    assert json.loads(Path("notes.json").read_text()) == {"mine": 1}
    assert "not a file of accepted findings" in capsys.readouterr().err
    assert main(["gate", "run", *GATE, "--rule", "zzz >= 0", "--write-baseline", "new.json"]) == 2
    assert not Path("new.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strict-baseline"], "--strict-baseline has no effect: there are no accepted findings"),
        (["--write-baseline", "b.json", "--strict-baseline"], "no effect beside --write-baseline"),
        (["--write-baseline", "b.json", "--baseline", "a.json"], "no effect beside --write-baseline"),
        (["--baseline", "a.json", "--baseline", "b.json"], "--baseline names two files of accepted findings"),
        (["--baseline", "missing.json"], "there is no such file of accepted findings"),
        (["--baseline", "run"], "--baseline has no effect: a run is what drops are measured from"),
    ],
)
def test_options_without_effect_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["gate", "run", *GATE, "--write-baseline", "a.json"]) == 0
    capsys.readouterr()
    assert main(["gate", "run", *GATE, *options]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_a_baseline_of_a_newer_spuraudit_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["gate", "run", *GATE, "--write-baseline", "a.json"])
    content = json.loads(Path("a.json").read_text())
    Path("a.json").write_text(json.dumps(content | {"schema_version": "2.0"}))
    with pytest.raises(RunError, match="record version"):
        read_json(Path("a.json"), AcceptedFindings, "x", RunError("y"))
    assert main(["gate", "run", *GATE, "--baseline", "a.json"]) == 2
