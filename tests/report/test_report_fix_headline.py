"""The head of a fix's page: losses stand beside gains, and no ruined model is called repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import toy_fix
from page_outline import outline

from spuraudit.report.fix_page import render_fix_record
from spuraudit.report.views.fix_cost import cost_view
from spuraudit.report.views.fix_headline import fix_headline
from spuraudit.report.views.fix_markdown import fix_markdown
from spuraudit.report.views.fix_shortcuts import shortcuts_view
from spuraudit.report.views.fix_training import training_view

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change
    from spuraudit.record.fix import FixRecord
    from spuraudit.report.views.fix_headline import FixHeadline


@pytest.fixture(scope="module")
def gained(tmp_path_factory: pytest.TempPathFactory) -> FixRecord:
    """A method that gained and repaired, and did no harm."""
    root = tmp_path_factory.mktemp("fix")
    clear = {**toy_fix.SHARES, "fixed": {"object": 1.0, "frame": 0.05}}
    return toy_fix.write_fix(root / "fix", toy_fix.draw(root / "data"), arms=clear)


def edited(record: FixRecord, side: str, metric: str, scope: dict[str, Any], **values: Any) -> FixRecord:
    """With other numbers of one change on one side."""
    sides = record.comparisons
    comparison = getattr(sides, side)

    def one(change: Change) -> Change:
        hit = change.metric == metric and change.scope == scope
        return change.model_copy(update=values) if hit else change

    assert comparison.of(metric, scope) is not None
    changes = comparison.model_copy(update={"changes": [one(change) for change in comparison.changes]})
    return record.model_copy(update={"comparisons": sides.model_copy(update={side: changes})})


def lost(
    record: FixRecord, metric: str, scope: dict[str, Any], side: str = "credit", q: float | None = 0.01
) -> FixRecord:
    return edited(record, side, metric, scope, change=-0.138, ci=(-0.218, -0.051), q=q, direction="worse")


def judged(record: FixRecord, **values: Any) -> FixRecord:
    return record.model_copy(update={"verdict": record.verdict.model_copy(update=values)})


def head_of(record: FixRecord) -> FixHeadline:
    return fix_headline(record, shortcuts_view(record))


def test_a_gain_without_any_loss_is_a_pass(gained: FixRecord) -> None:
    head = head_of(gained)
    assert (head.tone, head.label) == ("pass", "Gained")
    assert "3 were repaired, all of them further than plain training did" in head.shortcuts
    assert {row.tone for row in shortcuts_view(gained).of("repaired")} == {"pass"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: lost(one, "clean_accuracy", {}), "clean accuracy is lower than with the control"),
        (
            lambda one: judged(one, outcome="lost", gain=-0.4, ci=(-0.5, -0.3)),
            "worst-group accuracy is lower than with the control",
        ),
        (
            lambda one: judged(one, outcome="unknown", reason="The clean accuracy of the fixed model is near chance."),
            "the clean accuracy of the fixed model is near chance",
        ),
    ],
)
def test_no_repair_is_credited_to_a_model_that_lost_its_accuracy(gained: FixRecord, change: Any, why: str) -> None:
    record = change(gained)
    head, view = head_of(record), shortcuts_view(record)
    assert head.shortcuts == (
        "Of 3 suspected shortcuts of the delivered model, 3 have a smaller effect. "
        f"No repair is credited: {why}, and effects fall with a model's accuracy."
    )
    assert view.credited == 0
    rows = view.of("repaired")
    assert [(row.label, row.tone) for row in rows] == [("Smaller effect", "open")] * 3
    assert {row.credit for row in rows} == {"no repair: effects fall with accuracy"}
    said = outline(render_fix_record(record)).text + fix_markdown(record)
    assert "further than" not in said
    assert "were repaired" not in said


def test_losses_of_other_measures_stand_before_what_is_good(gained: FixRecord) -> None:
    record = lost(lost(gained, "core_accuracy", {"sigma": 0.25}), "clean_accuracy", {"group": "red/red"})
    record = edited(record, "credit", "rcs", {"sigma": 0.25}, change=-0.159, ci=(-0.279, -0.054), direction="worse")
    head = head_of(record)
    assert (head.tone, head.label) == ("unknown", "Gained, but core accuracy and RCS were lost")
    assert [line.replace("\u00a0", " ").replace("\u202f", " ") for line in head.others[:2]] == [
        "Surely worse than the control: core accuracy (σ 0.25) −13.8 points (95 % interval −21.8 to −5.1) and "
        "RCS (σ 0.25) −0.159 (95 % interval −0.279 to −0.054).",
        "Clean accuracy is surely lower than with the control in 1 of 6 groups, red/red: −13.8 points "
        "(95 % interval −21.8 to −5.1).",
    ]
    assert head.others[2].startswith("Surely better than the control: clean accuracy +25.0")
    text = outline(render_fix_record(record)).text
    assert "Verdict: gained, but core accuracy and RCS were lost" in text
    assert text.index("Surely worse") < text.index("Surely better") < text.index("Of 3 suspected shortcuts")
    short = fix_markdown(record)
    assert short.index("Surely worse") < short.index("Surely better") < short.index("Of 3 suspected shortcuts")


def test_no_gain_beside_a_sure_loss_is_a_fail(gained: FixRecord) -> None:
    nothing = judged(gained, outcome="nothing", gain=0.15, ci=(-0.158, 0.37))
    assert head_of(nothing).tone == "open"
    assert "Surely better than the control: clean accuracy" in head_of(nothing).others[0]
    head = head_of(lost(nothing, "core_accuracy", {"sigma": 0.25}))
    assert (head.tone, head.label) == ("fail", "No sure gain, and core accuracy was lost")


def test_what_only_the_delivered_model_did_better_is_said(gained: FixRecord) -> None:
    head = head_of(lost(gained, "clean_accuracy", {}, side="fixed_before"))
    assert (head.tone, head.label) == ("unknown", "Gained, but clean accuracy is lower than before")
    assert head.others[0].startswith("Surely worse than the delivered model: clean accuracy")


def test_one_group_among_many_clouds_a_gain_only_where_it_is_likely(gained: FixRecord) -> None:
    scope = {"group": "red/red"}
    likely, chance = lost(gained, "clean_accuracy", scope), lost(gained, "clean_accuracy", scope, q=0.3)
    assert (head_of(likely).tone, head_of(likely).label) == ("unknown", "Gained, but accuracy of a group was lost")
    assert (head_of(chance).tone, head_of(chance).label) == ("pass", "Gained")
    assert "1 of 6 groups, red/red" in head_of(chance).others[0]


def test_without_a_verdict_losses_are_named_and_gains_are_not(gained: FixRecord) -> None:
    record = judged(gained, outcome="unknown", reason="The clean accuracy of the fixed model is near chance.")
    assert head_of(record).others == []
    head = head_of(lost(record, "worst_group_accuracy", {}))
    assert head.label == "Nothing can be said, and worst-group accuracy was lost"
    assert head.others[0].startswith("Surely worse than the control: worst-group accuracy")


def test_a_higher_rcs_of_a_model_that_lost_accuracy_is_no_gain(gained: FixRecord) -> None:
    better = edited(gained, "credit", "rcs", {"sigma": 0.25}, change=0.2, ci=(0.1, 0.3), direction="better")
    assert "RCS" in head_of(better).others[0]
    assert not [line for line in head_of(lost(better, "clean_accuracy", {})).others if "RCS" in line]


def test_a_last_layer_that_was_fitted_anew_is_no_training(gained: FixRecord) -> None:
    gone = {"losses": [], "validation": [], "selected_step": 0, "seconds": 0.0, "cpu_seconds_per_step": None}
    arms = gained.arms.model_copy(update={"fixed": gained.arms.fixed.model_copy(update=gone)})
    record = gained.model_copy(update={"arms": arms, "beyond": "the labels and groups of 24 validation images"})
    text = outline(render_fix_record(record)).text
    assert "only the last layer of the delivered model was fitted anew, without a step of training" in text
    assert "Training settings of the control" in text
    assert "The curves are those of the control: the method took no step of training." in text
    for wrong in ("all of it", "both arms", "upright line", " 0 of 60"):
        assert wrong not in text
    training = training_view(record)
    assert training is not None
    assert not [curve.name for curve in (*training.losses, *training.validation) if "kept" in curve.chart]
    rows = {row[0]: row[1:] for row in cost_view(record).training}
    assert rows["Steps done"] == ("60 of 60", "none: last layer fitted anew")
    assert rows["Step that was kept"] == ("50", "–")
    assert "Unlike its control, swap also learned from the labels and groups of 24 validation images." in text


def test_a_trained_method_keeps_its_line(gained: FixRecord) -> None:
    text = outline(render_fix_record(gained)).text
    assert "beginning with the delivered model, all of it" in text
    assert "The upright line marks the step" in text
    assert "Training settings of both arms" in text


def test_no_repair_is_credited_where_the_delivered_model_was_right_more_often(gained: FixRecord) -> None:
    view = shortcuts_view(lost(gained, "clean_accuracy", {}, "fixed_before"))
    assert view.withheld == "clean accuracy is lower than in the delivered model"
    assert view.credited == 0
    assert {row.label for row in view.of("repaired")} == {"Smaller effect"}
