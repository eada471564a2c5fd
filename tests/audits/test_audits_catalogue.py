"""Which audits run on what, and the one ranked list of findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.audits.catalogue import CATALOGUE
from spuraudit.audits.findings import fingerprint, rank
from spuraudit.errors import DataError
from spuraudit.record.scan import Finding
from spuraudit.record.settings import AUDIT_NAMES

if TYPE_CHECKING:
    from pathlib import Path


def _finding(name: str, suspected: bool, low: float, effect: float) -> Finding:
    return Finding(
        id="F000",
        fingerprint=fingerprint("feature_drop", "toy", name, "tag"),
        audit="feature_drop",
        suspected=suspected,
        class_name=name,
        feature="tag",
        role="spurious",
        effect=effect,
        effect_ci=(low, effect),
        n=9,
        p=0.01,
        q=0.01,
        numbers={},
    )


def test_every_audit_is_in_the_catalogue() -> None:
    assert tuple(CATALOGUE) == AUDIT_NAMES


def test_findings_are_ranked_suspected_first_then_by_the_lower_end_of_the_interval() -> None:
    given = [
        _finding("cleared", False, 0.9, 1.0),
        _finding("wide", True, 0.1, 0.9),
        _finding("sure", True, 0.4, 0.5),
        _finding("as sure, stronger", True, 0.4, 0.6),
    ]
    ranked = rank(given)
    assert [f.class_name for f in ranked] == ["as sure, stronger", "sure", "wide", "cleared"]
    assert [f.id for f in ranked] == ["F001", "F002", "F003", "F004"]
    assert rank(reversed(given)) == ranked


def test_a_fingerprint_names_the_finding_and_no_number() -> None:
    one = fingerprint("region_swap", "birds", "crow", "background")
    assert one == fingerprint("region_swap", "birds", "crow", "background")
    others = {
        fingerprint("feature_drop", "birds", "crow", "background"),
        fingerprint("region_swap", "toys", "crow", "background"),
        fingerprint("region_swap", "birds", "owl", "background"),
        fingerprint("region_swap", "birds", "crow", "tag"),
        fingerprint("region_swap", "birds", "crowback", "ground"),
    }
    assert one not in others
    assert len(others) == 5


def test_findings_of_two_networks_have_equal_fingerprints(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(tag=True, test=4, train=2))
    runs = [
        toys.scan(toys.Reader(area), data, tmp_path / str(number), trials=1, swap_trials=1)
        for number, area in enumerate((toys.OBJECT, toys.FRAME))
    ]
    prints = [{f.fingerprint: (f.audit, f.class_name, f.feature) for f in run.record.findings} for run in runs]
    assert prints[0] == prints[1]
    assert len(prints[0]) == 3 * 2 + 3 * 2


def test_masks_decide_what_runs_by_default_and_the_rest_says_what_it_needs(tmp_path: Path) -> None:
    masked = toys.draw(tmp_path / "masked", toys.Toy(test=4, train=2))
    done = toys.scan(toys.Reader(toys.OBJECT), masked, tmp_path / "a", trials=1)
    assert {a.name: a.status for a in done.record.audits} == {
        "noise": "run",
        "feature_drop": "run",
        "region_swap": "run",
        "patch_swap": "skipped",
    }
    assert next(a.reason for a in done.record.audits if a.status == "skipped") == (
        "Not asked for: add --audits patch_swap."
    )
    bare = toys.draw(tmp_path / "bare", toys.Toy(test=4, train=2, masks=False))
    swept = toys.scan(
        toys.Reader(toys.OBJECT), bare, tmp_path / "b", passes=4, patch_targets=1, patch_sources=1, target_classes=1
    )
    assert {a.name: a.reason for a in swept.record.audits if a.status == "skipped"} == {
        "noise": "It needs core masks; the audited images have none.",
        "feature_drop": "It needs feature masks; the audited images have none.",
        "region_swap": "It needs core masks; the audited images have none.",
    }
    assert [a.name for a in swept.record.audits if a.status == "run"] == ["patch_swap"]
    assert swept.value("clean_accuracy") == 1


@pytest.mark.parametrize("audit", ["noise", "feature_drop", "region_swap"])
def test_an_audit_that_is_asked_for_and_cannot_run_is_an_error(tmp_path: Path, audit: str) -> None:
    bare = toys.draw(tmp_path / "bare", toys.Toy(test=3, train=2, masks=False))
    with pytest.raises(DataError, match=rf"The {audit} audit cannot run: It needs"):
        toys.scan(toys.Reader(toys.OBJECT), bare, tmp_path / "run", audits=("patch_swap", audit))
    assert not (tmp_path / "run").exists()


def test_one_class_alone_has_nothing_to_swap_with(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data", toys.Toy(classes=1, test=4, train=2))
    with pytest.raises(DataError, match="at least two classes"):
        toys.scan(
            toys.as_model(toys.Reader(toys.OBJECT, classes=1)),
            data,
            tmp_path / "run",
            audits=("region_swap",),
            allow_chance=True,
        )
