"""Limits on drops: against a baseline run that was really scanned, and at every side of every bound."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gate_runs
import pytest
import toys
from gate_records import measured, record

from spuraudit.cli.main import main
from spuraudit.compare import compare_runs
from spuraudit.errors import ConfigError, RunError, UsageError
from spuraudit.gates import accept, judge, parse_rule
from spuraudit.record.comparison import Change, ComparedRun, Comparison
from spuraudit.record.folder import read_record, read_verdict, to_json
from spuraudit.record.scan import Measurement, ScanRecord
from spuraudit.record.verdict import GateResult, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = ["--min-n", "10"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`old` reads the object, `new` the frame."""
    folder = tmp_path_factory.mktemp("drops")
    data = toys.draw(folder / "data", toys.Toy(test=12, train=4, odd_every=3))
    gate_runs.scan(folder, "old", 0.2, data)
    gate_runs.scan(folder, "new", 1.1, data)
    return folder


@pytest.fixture(autouse=True)
def _inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


def gated(after: str, before: str | None, *rules: str) -> tuple[int, list[GateResult]]:
    """Exit code and results of a judgement through the command line."""
    options = [part for rule in rules for part in ("--rule", rule)]
    options += [] if before is None else ["--baseline", before]
    code = main(["gate", after, *options, *QUICK, "--quiet"])
    verdict = read_verdict(Path(after))
    return code, [] if verdict is None else verdict.gates


def test_worse_fails_and_swapped_it_passes() -> None:
    rules = ("drop(clean_accuracy) <= 0.02", "drop(swap_gap[feature=background]) <= 0.02")
    code, (accuracy, gap) = gated("new", "old", *rules)
    assert code == 1
    assert [accuracy.outcome, gap.outcome] == ["fail", "fail"]
    for result in (accuracy, gap):
        assert result.value is not None
        assert result.value > 0.3
    assert accuracy.value == pytest.approx((accuracy.baseline or 0) - (accuracy.current or 0))
    assert gap.value == pytest.approx((gap.current or 0) - (gap.baseline or 0))
    code, swapped = gated("old", "new", *rules)
    assert code == 0
    assert [one.value for one in swapped] == pytest.approx([-(accuracy.value or 0), -(gap.value or 0)])
    assert [one.current for one in swapped] == [accuracy.baseline, gap.baseline]


def test_the_numbers_are_the_comparisons(root: Path) -> None:
    _, (result,) = gated("new", "old", "drop(core_accuracy[class=*]) <= 0.5")
    change = compare_runs(root / "old", root / "new").of("core_accuracy", result.scope)
    assert change is not None
    assert change.ci is not None
    assert (result.p, result.n, result.baseline, result.current) == (change.p, change.n, change.before, change.after)
    assert result.ci == (-change.ci[1], -change.ci[0])
    assert result.matched == 3


def test_the_verdict_names_the_baseline(root: Path) -> None:
    gated("new", "old", "drop(clean_accuracy) <= 0.02")
    verdict = read_verdict(root / "new")
    assert verdict is not None
    assert verdict.baseline == read_record(root / "old").run.id
    assert verdict.notes == []


def test_accepted_drops_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    rule = ["--rule", "drop(clean_accuracy) <= 0.02", "--baseline", "old", *QUICK]
    assert main(["gate", "new", *rule, "--write-baseline", "accepted.json"]) == 0
    assert main(["gate", "new", *rule, "--baseline", "accepted.json"]) == 0
    assert main(["gate", "new", *rule]) == 1
    assert "its failure is known" in capsys.readouterr().err


def test_the_config_may_name_run_and_findings(root: Path) -> None:
    text = "gates: [{metric: clean_accuracy, max_drop: 0.02, min_n: 10}]\nbaseline: [old, kept.json]\n"
    Path(".spuraudit.yaml").write_text(text)
    try:
        assert main(["gate", "new", "--write-baseline", "kept.json"]) == 0
        assert main(["gate", "new"]) == 0
        assert main(["gate", "old", "--baseline", "new"]) == 0  # in place of the config's run, not of its findings
        verdict = read_verdict(root / "old")
        assert verdict is not None
        assert [one.state for one in verdict.accepted] == ["fixed"]
    finally:
        Path(".spuraudit.yaml").unlink()


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("new", "is its own baseline"),
        ("copy", "is its own baseline"),
        ("nowhere", "Make it with the data and options of this run: spuraudit scan OLD_MODEL"),
        ("unfinished", "this scan is unfinished"),
        ("other-data", "their data differs"),
        ("other-split", "their split differs"),
        ("other-settings", "their trials of noise differs"),
        ("other-definitions", "their definition differs"),
        ("other-rows", "not the part that the record was made of"),
    ],
)
def test_a_baseline_that_says_nothing_about_the_run(
    root: Path, capsys: pytest.CaptureFixture[str], before: str, said: str
) -> None:
    make(root, before)
    code, results = gated("new", before, "drop(clean_accuracy) <= 0.99")
    assert (code, results) == (2, [])
    assert said in capsys.readouterr().err.replace("\n", " ")


def make(root: Path, name: str) -> None:
    """A folder that is no baseline of `new`."""
    if name in ("new", "nowhere"):
        return
    shutil.copytree(root / ("new" if name == "copy" else "old"), root / name)
    file = root / name / "scan.json"
    if name == "unfinished":
        file.unlink()
    elif name == "other-rows":
        next((root / name / "observations").iterdir()).write_bytes(b"")
    elif name in OTHER:
        content = json.loads(file.read_bytes())
        OTHER[name](content)
        file.write_text(json.dumps(content))


#: What a scan with other data or options would have written.
OTHER: dict[str, Callable[[dict[str, Any]], object]] = {
    "other-data": lambda content: content["data"].update(fingerprint="f" * 64),
    "other-split": lambda content: content["data"].update(split="val"),
    "other-settings": lambda content: content["audits"][0]["params"].update(trials=9),
    "other-definitions": lambda content: content["definitions"].update({"clean;another": "of another kind"}),
}


def test_observations_of_the_run_that_are_not_the_records(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "new", root / "tampered")
    next((root / "tampered" / "observations").iterdir()).write_bytes(b"")
    assert gated("tampered", "old", "drop(clean_accuracy) <= 0.99") == (2, [])
    assert "not the part that the record was made of" in capsys.readouterr().err.replace("\n", " ")


def test_a_baseline_needs_no_torch() -> None:
    script = (
        "import sys; sys.modules.update(torch=None, torchvision=None, timm=None, plotly=None, open_clip=None)\n"
        "from spuraudit.cli.main import main\n"
        "sys.exit(main(['gate', 'new', '--rule', 'drop(rcs) <= 1', '--baseline', 'old', '--min-n', '10', '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()[0]) == (0, "PASSED:")


def test_without_a_baseline_a_drop_is_not_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    code, (result,) = gated("new", None, "drop(clean_accuracy) <= 0.99")
    assert (code, result.outcome) == (2, "not evaluated")
    assert "spuraudit scan OLD_MODEL --data data -o runs/baseline" in result.text


# Comparisons by hand: every side of every bound.


def after(*measurements: Measurement) -> ScanRecord:
    return record(*measurements)


def compared(*found: Change, model: tuple[str, str] = ("a", "b")) -> Comparison:
    sides = [
        ComparedRun(run_id=run_id, record_sha256=run_id, model="m", model_sha256=sha)
        for run_id, sha in zip(("old", "0123456789abcdef"), model, strict=True)
    ]
    return Comparison(
        before=sides[0], after=sides[1], data="d", data_fingerprint="f", images=1000, changes=list(found), shortcuts=[]
    )


def change(
    metric: str, before: float, now: float, spread: float, *, scope: dict[str, str] | None = None, **other: Any
) -> Change:
    step = now - before
    return Change.model_validate(
        {
            "metric": metric,
            "scope": scope or {},
            "definition": f"{metric}/1",
            "before": before,
            "after": now,
            "change": step,
            "ci": (step - spread, step + spread),
            "p": 0.03,
            "n": 1000,
            "direction": "unclear",
        }
        | other
    )


def one(text: str, found: Change | None, *, flags: list[str] | None = None, min_n: int = 50) -> GateResult:
    rule = parse_rule(text, min_n=min_n)
    value = 0.5 if found is None else found.after
    metric = rule.metric if found is None else found.metric
    scope = {} if found is None else found.scope
    comparison = compared(*([] if found is None else [found]))
    return judge(after(measured(metric, value, scope=scope, flags=flags or [])), [rule], comparison=comparison).gates[0]


@pytest.mark.parametrize(
    ("metric", "before", "now", "spread", "point", "surely_within", "surely_beyond"),
    [
        # A drop of 5 points against a limit of 2.
        ("core_accuracy", 0.80, 0.75, 0.02, "fail", "fail", "fail"),
        ("core_accuracy", 0.80, 0.75, 0.04, "fail", "fail", "pass"),
        # A drop of 1 point.
        ("core_accuracy", 0.80, 0.79, 0.04, "pass", "fail", "pass"),
        ("core_accuracy", 0.80, 0.79, 0.005, "pass", "pass", "pass"),
        # Risen: no drop, and not surely none where the interval is wide.
        ("core_accuracy", 0.75, 0.80, 0.01, "pass", "pass", "pass"),
        ("core_accuracy", 0.75, 0.80, 0.09, "pass", "fail", "pass"),
        # Less is better: a rise of 5 points is the drop.
        ("swap_gap", 0.10, 0.15, 0.02, "fail", "fail", "fail"),
        ("swap_gap", 0.15, 0.10, 0.02, "pass", "pass", "pass"),
        ("feature_drop", 0.10, 0.11, 0.04, "pass", "fail", "pass"),
        # At the limit, in binary fractions.
        ("core_accuracy", 0.82, 0.80, 0.0, "pass", "pass", "pass"),
        ("rcs", -0.10, -0.12, 0.0, "pass", "pass", "pass"),
    ],
)
def test_bounds(
    metric: str, before: float, now: float, spread: float, point: str, surely_within: str, surely_beyond: str
) -> None:
    found = change(metric, before, now, spread)
    said = [one(text.format(f"drop({metric}) "), found).outcome for text in ("{}<= 0.02", "ci_high({})<= 0.02")]
    said.append(one(f"ci_low(drop({metric})) <= 0.02", found).outcome)
    assert said == [point, surely_within, surely_beyond]


def test_a_drop_in_one_sentence() -> None:
    found = change("core_accuracy", 0.80, 0.75, 0.04)
    assert one("drop(core_accuracy) <= 0.02", found).text == (
        "core_accuracy fell by 5.0 points since the baseline run from 80.0 % to 75.0 % (95 % interval of the drop 1.0 "
        "to 9.0 points, p = 0.03, n = 1,000), beyond the limit of 2 points; the interval contains the limit."
    )
    assert one("ci_low(drop(core_accuracy)) <= 0.02", found).text.endswith(
        "and the lower end of the interval is within the limit of 2 points as asked; inconclusive: the interval "
        "contains the limit."
    )
    risen = change("swap_gap", 0.10, 0.15, 0.02, p=None)
    assert one("ci_high(drop(swap_gap)) <= 0.02", risen).text == (
        "swap_gap rose by 5.0 points since the baseline run from 10.0 points to 15.0 points (95 % interval of the rise "
        "3.0 to 7.0 points, n = 1,000), and the upper end of the interval is beyond the limit of 2 points."
    )
    same = change("rcs", 0.2, 0.2, 0.0)
    assert one("drop(rcs) <= 0.02", same).text.startswith("rcs did not change since the baseline run (95 %")


@pytest.mark.parametrize(
    ("text", "found", "flags", "reason"),
    [
        ("drop(patch_drop) <= 0.1", None, [], "patch_drop is not compared between runs, so it has no drop; compared"),
        (
            "drop(rcs) <= 0.1",
            change("rcs", 0.2, 0.2, 0, change=None, ci=None, direction=None, reason="before: 0/0"),
            [],
            "The change of rcs is undefined (before: 0/0).",
        ),
        ("drop(rcs) <= 0.1", change("rcs", 0.2, 0.2, 0, n=49), [], "n = 49 images; at least 50"),
        ("ci_low(drop(rcs)) <= 0.1", change("rcs", 0.2, 0.2, 0, ci=None), [], "no interval, so ci_low cannot"),
        ("ci_high(drop(rcs)) <= 0.1", change("rcs", 0.2, 0.2, 0, ci=None), [], "no interval, so ci_high cannot"),
        ("drop(rcs) <= 0.1", change("rcs", 0.5, 1.0, 0.8), ["saturated"], "1 or -1 by arithmetic only"),
        ("drop(rcs) <= 0.1", change("rcs", -1.0, -0.9, 0.8), [], "1 or -1 by arithmetic only"),
        (
            "drop(feature_drop) <= 0.1",
            change("feature_drop", 0.1, 0.1, 0, direction=None),
            [],
            "All that feature_drop matches are core features",
        ),
    ],
)
def test_no_evidence_for_a_drop(text: str, found: Change | None, flags: list[str], reason: str) -> None:
    result = one(text, found, flags=flags)
    assert result.outcome == "not evaluated"
    assert reason in result.text


def test_core_features_have_no_drop_and_are_left_out() -> None:
    scopes = [{"class": "a", "feature": name} for name in ("sky", "wing")]
    found = [
        change("feature_drop", 0.1, 0.15, 0.01, scope=scopes[0]),
        change("feature_drop", 0.1, 0.9, 0.01, scope=scopes[1], direction=None),
    ]
    measurements = [measured("feature_drop", one.after, scope=one.scope) for one in found]
    rule = parse_rule("drop(feature_drop[class=*,feature=*]) <= 0.1")
    result = judge(after(*measurements), [rule], comparison=compared(*found)).gates[0]
    assert (result.outcome, result.matched, result.scope) == ("pass", 1, scopes[0])
    assert result.text.endswith(
        "One measurement of a core feature is left out: neither more nor less dependence on them is better."
    )


def test_a_measurement_that_the_baseline_lacks_is_not_evaluated() -> None:
    found = change("clean_accuracy", 0.9, 0.9, 0.01, scope={"class": "a"})
    measurements = [measured("clean_accuracy", 0.9, scope={"class": name}) for name in "ab"]
    rule = parse_rule("drop(clean_accuracy[class=*]) <= 0.1")
    result = judge(after(*measurements), [rule], comparison=compared(found)).gates[0]
    assert result.outcome == "not evaluated"
    assert "The baseline run has no clean_accuracy[class=b]" in result.text


def test_a_comparison_of_another_run_is_refused() -> None:
    found = change("rcs", 0.2, 0.2, 0)
    comparison = compared(found)
    foreign = comparison.model_copy(update={"after": comparison.before})
    rules = [parse_rule("drop(rcs) <= 0.1")]
    with pytest.raises(UsageError, match="The comparison is of run old"):
        judge(after(measured("rcs", 0.2)), rules, comparison=foreign)
    itself = comparison.model_copy(update={"before": comparison.after})
    for refused in (judge, accept):
        with pytest.raises(RunError, match="is its own baseline"):
            refused(after(measured("rcs", 0.2)), rules, comparison=itself)


def test_the_same_model_twice_is_said() -> None:
    comparison = compared(change("rcs", 0.2, 0.2, 0), model=("a", "a")).model_copy(update={"same_model": True})
    verdict = judge(after(measured("rcs", 0.2)), [parse_rule("drop(rcs) <= 0.1")], comparison=comparison)
    assert verdict.notes == [
        "The baseline run is of the same model (sha256 a), so nothing can have dropped: gates on drops say nothing "
        "here."
    ]
    assert to_json(verdict) == to_json(
        judge(after(measured("rcs", 0.2)), [parse_rule("drop(rcs) <= 0.1")], comparison=comparison)
    )


def test_the_same_model_again_has_not_dropped_and_that_is_said(root: Path) -> None:
    """A job whose model did not change is not red."""
    rescanned(root, "again", seconds=1.5)
    code, (result,) = gated("new", "again", "drop(clean_accuracy) <= 0.02")
    assert (code, result.outcome) == (0, "pass")
    verdict = read_verdict(root / "new")
    assert verdict is not None
    assert verdict.notes[0].startswith("The baseline run is of the same model (sha256 ")


def test_the_same_model_shown_in_another_way_is_no_baseline(root: Path) -> None:
    rescanned(root, "reshown", seconds=1.5, mean=[0.9, 0.9, 0.9])
    code, (result,) = gated("new", "reshown", "drop(clean_accuracy) <= 0.02")
    assert (code, result.outcome) == (2, "not evaluated")
    assert "with other preprocessing (mean" in result.text


def rescanned(root: Path, name: str, *, seconds: float, mean: list[float] | None = None) -> None:
    """A record of the run `new` in other bytes."""
    shutil.copytree(root / "new", root / name)
    content = json.loads((root / name / "scan.json").read_bytes())
    content["run"].update(seconds=seconds)
    if mean is not None:
        content["model"]["preprocess"].update(mean=mean)
    (root / name / "scan.json").write_text(json.dumps(content))


def test_another_preprocessing_of_another_model_is_a_note(root: Path) -> None:
    shutil.copytree(root / "old", root / "old-reshown")
    content = json.loads((root / "old-reshown" / "scan.json").read_bytes())
    content["model"]["preprocess"].update(mean=[0.9, 0.9, 0.9])
    (root / "old-reshown" / "scan.json").write_text(json.dumps(content))
    code, (result,) = gated("new", "old-reshown", "drop(clean_accuracy) <= 0.9")
    assert (code, result.outcome) == (0, "pass")
    verdict = read_verdict(root / "new")
    assert verdict is not None
    assert [note.split(" (")[0] for note in verdict.notes] == ["The models were given another preprocessing each"]


def test_numbers_of_another_definition_are_no_baseline(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "old", root / "redefined")
    content = json.loads((root / "redefined" / "scan.json").read_bytes())
    one = next(m for m in content["measurements"] if m["metric"] == "clean_accuracy" and not m["scope"])
    one["definition"] = next(name for name in content["definitions"] if name != one["definition"])
    (root / "redefined" / "scan.json").write_text(json.dumps(content))
    assert gated("new", "redefined", "drop(clean_accuracy) <= 0.9") == (2, [])
    assert "their definition of clean_accuracy (all images) differs" in " ".join(capsys.readouterr().err.split())


def test_a_drop_rule_made_without_text_is_checked() -> None:
    rule = Rule(id="a", metric="control_drop", op="<=", limit=0.1, of="drop")
    with pytest.raises(ConfigError, match="neither high nor low"):
        judge(after(measured("control_drop", 0.2)), [rule])
