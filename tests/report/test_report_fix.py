"""The page of a fix: what it says about gain, shortcuts, cost; its form and its safety."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sample_run
import toy_fix
from page_outline import outline

from spuraudit.record.fix import FixRecord, read_fix, verdict_of
from spuraudit.record.folder import to_json
from spuraudit.report.fix_page import render_fix, render_fix_record
from spuraudit.report.views.fix_cost import cost_view
from spuraudit.report.views.fix_headline import fix_headline
from spuraudit.report.views.fix_markdown import fix_markdown
from spuraudit.report.views.fix_numbers import numbers_view
from spuraudit.report.views.fix_shortcuts import shortcuts_view
from spuraudit.report.views.fix_training import training_view

SECTIONS = ["shortcuts", "numbers", "groups", "cost", "training", "method", "provenance", "record"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fix")
    data = toy_fix.draw(folder / "data")
    toy_fix.write_fix(folder / "fix", data)
    new_head = {name: shares for name, shares in toy_fix.SHARES.items() if name != "before"}
    toy_fix.write_fix(folder / "new", data, arms=new_head)
    control = toy_fix.SHARES["control"]
    toy_fix.write_fix(
        folder / "same", data, arms={"before": toy_fix.SHARES["before"], "control": control, "fixed": control}
    )
    cleared = {"object": 1.0, "frame": 0.05}
    toy_fix.write_fix(
        folder / "plain", data, arms={"before": toy_fix.SHARES["before"], "control": cleared, "fixed": cleared}
    )
    return folder


@pytest.fixture(scope="module")
def record(root: Path) -> FixRecord:
    return read_fix(root / "fix")


def text_of(record: FixRecord) -> str:
    return outline(render_fix_record(record)).text


def test_the_verdict_is_the_gain_beyond_the_control(record: FixRecord) -> None:
    text = text_of(record)
    change = record.comparisons.credit.of("worst_group_accuracy", {})
    assert change is not None
    assert change.ci is not None
    assert (
        "Method swap improves worst-group accuracy beyond its control: +100.0 points on 6 held-out images "
        f"(95 % interval {change.ci[0] * 100:.1f} to 100.0; 0.0 % with the control, 100.0 % fixed)."
    ) in text
    assert "Of 3 suspected shortcuts of the delivered model, 3 were repaired, all of them further than plain" in text
    assert text.index("Surely better than the control: clean accuracy") < text.index("Of 3 suspected shortcuts")


def test_a_planted_shortcut_that_got_worse_is_loud(record: FixRecord) -> None:
    page = render_fix_record(record)
    text = outline(page).text
    assert "Verdict: gained, but 3 shortcuts got worse" in text
    box = re.search(r'<div class="got-worse".*?</div>', page, re.DOTALL)
    assert box is not None
    for name in ("red", "green", "blue"):
        assert f"tag of {name} (region swap): the effect is 100.0 instead of 0.0, +100.0" in unescape(box[0])
    rows = shortcuts_view(record).rows
    assert [row.state for row in rows] == ["worse"] * 3 + ["repaired"] * 3
    assert page.index('class="got-worse"') < page.index('id="numbers"')
    assert 'class="verdict unknown"' in page


def test_without_a_worse_shortcut_a_gain_is_a_pass(record: FixRecord) -> None:
    def quiet(comparison: Any) -> Any:
        return comparison.model_copy(
            update={"shortcuts": [one for one in comparison.shortcuts if one.feature != "tag"]}
        )

    sides = record.comparisons
    quieter = sides.model_copy(update={"fixed_before": quiet(sides.fixed_before), "credit": quiet(sides.credit)})
    page = render_fix_record(record.model_copy(update={"comparisons": quieter}))
    assert 'class="verdict pass"' in page
    assert "got-worse" not in page.split("</style>")[1]
    assert "Verdict: gained" in outline(page).text


def test_a_method_that_equals_its_control_shows_no_sure_gain(root: Path) -> None:
    record = read_fix(root / "same")
    assert record.verdict.outcome == "nothing"
    text = text_of(record)
    said = "Method swap shows no sure gain in worst-group accuracy beyond its control: 0.0"
    assert said in text
    assert "Verdict: no sure gain" in text
    short = fix_markdown(record)
    assert "**No sure gain" in short
    assert "gains nothing" not in text + short
    assert "ained nothing" not in text + short


def test_what_plain_training_repaired_too_is_no_credit(root: Path) -> None:
    record = read_fix(root / "plain")
    view = shortcuts_view(record)
    assert {row.state for row in view.rows} == {"repaired"}
    assert view.credited == 0
    text = text_of(record)
    assert "3 were repaired, none of them further than plain training did" in text
    assert text.count("no further than under the control") == 3


def tags(record: FixRecord, state: str) -> FixRecord:
    """As if the tags had been suspected before, and were so since."""
    sides = record.comparisons
    assert sides.fixed_before is not None
    shortcuts = [
        one.model_copy(update={"state": state, "suspected": (True, True)}) if one.feature == "tag" else one
        for one in sides.fixed_before.shortcuts
    ]
    earlier = sides.fixed_before.model_copy(update={"shortcuts": shortcuts})
    return record.model_copy(update={"comparisons": sides.model_copy(update={"fixed_before": earlier})})


def test_worse_than_the_control_is_said_where_the_delivered_model_was_no_better(record: FixRecord) -> None:
    """The delivered model had the shortcut, plain training lost it, the method kept it."""
    changed = tags(record, "unchanged")
    rows = shortcuts_view(changed).rows
    assert [row.label for row in rows[:3]] == ["The control depends on it less"] * 3
    assert [row.tone for row in rows[:3]] == ["unknown"] * 3
    page = render_fix_record(changed)
    text = outline(page).text
    assert "Verdict: gained, but the control depends less on 3 shortcuts" in text
    assert "tag of red (region swap): the effect is 100.0; it was 0.0 in the delivered model and is 0.0 in the" in text
    assert "ot worse" not in text.split("Shortcuts A shortcut is")[0].split("Verdict:")[1].split("Contents")[0]
    assert 'class="verdict unknown"' in page
    short = fix_markdown(changed)
    assert short.count("> **The control depends on it less:** tag of") == 3
    assert "got worse" not in short


def test_a_shortcut_that_fell_less_than_under_the_control_is_better_all_the_same(record: FixRecord) -> None:
    changed = tags(record, "reduced")
    view = shortcuts_view(changed)
    assert [(row.label, row.credit) for row in view.less] == [("Reduced", "surely less than under the control")] * 3
    head = fix_headline(changed, view)
    assert (head.tone, head.label) == ("unknown", "Gained, but the control depends less on 3 shortcuts")
    assert head.shortcuts.endswith("3 were repaired and 6 were reduced, 3 of them further than plain training did.")


def test_a_new_head_is_compared_with_its_control_alone(root: Path) -> None:
    record = read_fix(root / "new")
    assert numbers_view(record).arms == ["control", "fixed"]
    text = text_of(record)
    assert "Changes are against the control" in text
    assert "beginning with the delivered model with a new head" in text
    assert "before/report.html" not in render_fix_record(record)


def test_a_measure_that_is_not_there_says_so(record: FixRecord) -> None:
    verdict = verdict_of(record.comparisons.credit, "rcs", {"sigma": 0.7})
    text = text_of(record.model_copy(update={"verdict": verdict}))
    assert "What swap gains beyond its control cannot be said: The scans did not measure rcs." in text


def test_numbers_of_all_arms_stand_side_by_side(record: FixRecord) -> None:
    view = numbers_view(record)
    rows = {row.name.replace("\u00a0", " "): row for row in view.key}
    assert list(rows)[:3] == ["Clean accuracy", "Mean-group accuracy", "Worst-group accuracy"]
    assert {"Core accuracy (σ 0.25)", "Spurious accuracy (σ 0.25)", "RCS (σ 0.25)", "Swap gap of tag"} <= set(rows)
    earlier = record.comparisons.fixed_before
    assert earlier is not None
    for metric, scope, name in (
        ("clean_accuracy", {}, "Clean accuracy"),
        ("core_accuracy", {"sigma": 0.25}, "Core accuracy (σ 0.25)"),
    ):
        old, new = earlier.of(metric, scope), record.comparisons.credit.of(metric, scope)
        assert old is not None
        assert new is not None
        shown = [float(cell.value.split("\u202f")[0]) / 100 for cell in rows[name].arms]
        assert shown == pytest.approx([old.before, new.before, new.after], abs=6e-4)
        assert all(cell.interval for cell in rows[name].arms)
        assert rows[name].n == "72"
    assert [cell.note for cell in rows["Worst-group accuracy"].arms] == ["group blue/red"] * 3
    assert rows["Spurious accuracy (σ 0.25)"].tone == ""
    assert rows["Swap gap of tag"].tone == "worse"
    assert rows["RCS (σ 0.25)"].word == "fixed: core and spurious accuracy are both 1: RCS is 0/0"
    assert [row.name for row in view.groups][:3] == ["blue/red", "green/blue", "red/green"]


def test_lost_accuracies_are_listed_against_both(record: FixRecord) -> None:
    view = cost_view(record)
    assert {(row.name, row.against) for row in view.lost} >= {
        ("Accuracy with other-class tag", "before"),
        ("Accuracy with other-class tag", "control"),
        ("Accuracy with other-class tag, red", "control"),
    }
    assert all(row.change.startswith("−") for row in view.lost)
    assert view.lower == len({row.name for row in view.lost}) < len(view.lost)
    told = f"Of {view.compared} accuracies compared with the delivered model and the control, {view.lower} are lower"
    assert told in fix_markdown(record)
    assert ("CPU seconds per step", "0.018", "0.021") in view.training
    assert ("Steps done", "60 of 60", "60 of 60") in view.training
    assert view.ratio == "A step of the method costs 1.17 times a step of plain training."


def test_nothing_lost_says_how_much_was_looked_at(root: Path) -> None:
    record = read_fix(root / "plain")
    said = re.search(r"None of (\d+) accuracies that were compared with the delivered model and the", text_of(record))
    assert said is not None
    sides = (record.comparisons.credit, record.comparisons.fixed_before)
    seen = [one for side in sides if side is not None for one in side.changes if one.metric.endswith("accuracy")]
    judged = {(one.metric, tuple(one.scope.items())) for one in seen if one.direction is not None}
    assert int(said[1]) == len(judged) == cost_view(record).compared


def test_curves_have_their_numbers_as_a_table(record: FixRecord) -> None:
    view = training_view(record)
    assert view is not None
    assert [curve.name for curve in view.losses] == ["cross entropy", "swapped"]
    assert [curve.name for curve in view.validation] == ["worst group accuracy"]
    assert [row[0] for row in view.losses[0].rows] == ["10", "20", "30", "40", "50", "60"]
    assert view.losses[1].rows[0][1] == "–"
    first = record.arms.fixed.losses[0].terms["cross_entropy"]
    assert float(view.losses[0].rows[0][2]) == pytest.approx(first, rel=1e-3)
    for curve in (*view.losses, *view.validation):
        assert "kept" in curve.chart
        assert 'role="img"' in curve.chart


def test_training_of_one_step_and_of_equal_values_can_be_drawn(record: FixRecord) -> None:
    losses = [record.arms.fixed.losses[0].model_copy(update={"terms": {"cross_entropy": 0.0}})]
    arm = record.arms.fixed.model_copy(update={"losses": losses, "validation": []})
    arms = record.arms.model_copy(update={"fixed": arm, "control": arm})
    page = render_fix_record(record.model_copy(update={"arms": arms}))
    assert not re.search(r"\b(nan|inf)\b", page.split("</style>")[1].split("<script>")[0])
    assert outline(page).unclosed == []
    silent = arm.model_copy(update={"losses": []})
    none = record.arms.model_copy(update={"fixed": silent, "control": silent})
    assert 'id="training"' not in render_fix_record(record.model_copy(update={"arms": none}))


def test_the_page_is_whole(root: Path) -> None:
    page = outline(render_fix(root / "fix"))
    assert page.unclosed == []
    assert len(page.ids) == len(set(page.ids))
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    links = [value for _, name, value in page.attributes if name in {"src", "href"}]
    assert [link for link in links if not link.startswith(("#", "data:"))] == [
        "before/report.html",
        "control/report.html",
        "fixed/report.html",
    ]
    assert "measured on drawn shapes" in page.text
    assert "Folders are left out, here and in the record" in page.text
    assert "The first value of the loss is 1.0986." in page.text
    assert "The test split; nothing was chosen on it." in page.text


def test_the_record_travels_inside(root: Path) -> None:
    href = re.search(r'href="data:application/json;base64,([^"]+)" download="fix.json"', render_fix(root / "fix"))
    assert href is not None
    assert b64decode(unescape(href[1])) == (root / "fix/fix.json").read_bytes()


def test_hostile_names_stay_text(record: FixRecord) -> None:
    content = json.loads(to_json(record))
    content["method"] = {"name": sample_run.HOSTILE, "options": {sample_run.HOSTILE: sample_run.HOSTILE}}
    content["notes"] = [sample_run.HOSTILE]
    content["arms"]["fixed"]["run"] = 'a"onclick="x'
    content["training"] = {sample_run.HOSTILE: sample_run.HOSTILE}
    for entry in content["arms"]["fixed"]["losses"]:
        entry["terms"] = {sample_run.HOSTILE: 1.0}
    for one in content["comparisons"]["fixed_before"]["shortcuts"]:
        one["feature"] = one["class_name"] = sample_run.HOSTILE
    page = outline(render_fix_record(FixRecord.model_validate(content)))
    assert page.unclosed == []
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert sample_run.HOSTILE in page.text


def test_policy_allows_exactly_its_script(root: Path) -> None:
    page = render_fix(root / "fix")
    said = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]
    running = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = set(re.findall(r"'sha256-([^']+)'", said))
    assert hashes == {b64encode(sha256(body.encode()).digest()).decode() for body in running}
    assert len(running) == 1
    assert "default-src 'none'" in said


def test_same_record_same_bytes_without_torch(root: Path) -> None:
    code = (
        "import sys, hashlib, pathlib\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip'):\n"
        "    sys.modules[name] = None\n"
        "from spuraudit.report.fix_page import render_fix\n"
        "print(hashlib.sha256(render_fix(pathlib.Path(sys.argv[1])).encode()).hexdigest())\n"
    )
    run = [sys.executable, "-c", code, str(root / "fix")]
    made = subprocess.run(run, check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "5", "PATH": "/bin"})
    assert made.stdout.strip() == sha256(render_fix(root / "fix").encode()).hexdigest()


def test_the_short_form(record: FixRecord) -> None:
    text = fix_markdown(record)
    lines = text.splitlines()
    assert lines[0] == "## swap on classifier"
    assert lines[2].startswith(
        "**Gained, but 3 shortcuts got worse.** Method swap improves worst-group accuracy beyond its"
    )
    assert [line for line in lines if line.startswith("> **Worse:** tag of")] == [
        line for line in lines if line.startswith(">")
    ]
    assert text.count("> **Worse:**") == 3
    for line in lines:
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (7, 9)
    assert "| Clean accuracy | 75.0\u202f% (63.7 to 83.7) |" in text
