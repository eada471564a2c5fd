"""What became of shortcuts: planted ones that are repaired, and one that got worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import toy_fix
import toys

from spuraudit.compare import compare_runs
from spuraudit.compare.shortcuts import state_of
from spuraudit.record.comparison import Comparison, Shortcut

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {"trials": 2, "swap_trials": 3, "allow_chance": True}
PATCHES: dict[str, Any] = {
    "audits": ("patch_swap",),
    "passes": 4,
    "patch_targets": 3,
    "patch_sources": 6,
    "target_classes": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_fix.draw(tmp_path_factory.mktemp("data"), test=16)


def between(root: Path, data: Path, before: Any, after: Any, **settings: Any) -> Comparison:
    for name, area in (("before", before), ("after", after)):
        toys.scan(toys.Reader(area, guess=0), data, root / name, **{**QUICK, **settings})
    return compare_runs(root / "before", root / "after")


def of(compared: Comparison, audit: str, feature: str) -> dict[str, Shortcut]:
    return {one.class_name: one for one in compared.shortcuts if one.audit == audit and one.feature == feature}


def test_a_model_that_stops_reading_the_frame_is_repaired(data: Path, tmp_path: Path) -> None:
    compared = between(tmp_path, data, toys.FRAME, toys.OBJECT)
    states = {name: one.state for name, one in of(compared, "region_swap", "background").items()}
    assert states == {"red": "repaired", "green": "repaired", "blue": "repaired"}
    assert {one.state for one in of(compared, "region_swap", "tag").values()} == {"unchanged"}
    assert "object" not in {one.feature for one in compared.shortcuts}


def test_a_model_that_turns_to_the_tag_got_worse(data: Path, tmp_path: Path) -> None:
    compared = between(tmp_path, data, toys.FRAME, toys.TAG)
    swapped = of(compared, "region_swap", "tag")
    assert {name: one.state for name, one in swapped.items()} == {"red": "worse", "green": "worse", "blue": "worse"}
    for one in swapped.values():
        assert one.suspected == (False, True)
        assert one.before == 0
        assert one.after is not None
        assert one.after > 0.5
        assert one.q is not None
        assert one.q <= 0.05
    order = [one.state for one in compared.shortcuts]
    assert order[: order.count("worse")] == ["worse"] * order.count("worse")
    assert order.count("worse") >= 3


def test_a_cell_that_only_one_run_found_is_looked_up_in_both(data: Path, tmp_path: Path) -> None:
    compared = between(tmp_path, data, toys.OBJECT, toys.TAG, **PATCHES)
    cells = [one for one in compared.shortcuts if one.feature == "cell 43"]
    assert {one.class_name for one in cells} == {"red", "green", "blue"}
    for one in cells:
        assert one.suspected[0] is False
        assert one.before is not None
        assert abs(one.before) < 1e-3
        assert one.after is not None
        assert one.after > 0.5
        assert one.change is not None
        assert one.change == pytest.approx(one.after - one.before, abs=1e-6)
        assert one.n == 6
        assert one.p == pytest.approx(2 / 2**6)
        assert one.state == ("worse" if one.q is not None and one.q <= 0.05 else "new")


def test_sources_that_one_model_gets_wrong_are_no_pair(data: Path, tmp_path: Path) -> None:
    compared = between(tmp_path, data, toys.FRAME, toys.TAG, **PATCHES)
    sizes = {one.class_name: one.n for one in compared.shortcuts if one.feature == "cell 43"}
    rows = toys.read_list(data)
    for name, n in sizes.items():
        plain = sum(row[1] == name and row[2] == "test" and row[3] == f"{name}/{name}" for row in rows)
        assert 0 < n <= min(plain, 6)


def shortcut(**values: Any) -> Shortcut:
    base: dict[str, Any] = {
        "audit": "region_swap",
        "class_name": "red",
        "feature": "background",
        "role": "background",
        "suspected": (True, False),
        "before": 0.6,
        "after": 0.0,
        "change": -0.6,
        "ci": (-0.8, -0.4),
        "p": 0.001,
        "q": 0.001,
        "n": 50,
        "state": "unchanged",
    }
    return Shortcut(**{**base, **values})


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, "repaired"),
        ({"after": 0.2, "change": -0.4}, "repaired"),
        ({"after": 0.21, "change": -0.39}, "reduced"),
        ({"after": 0.5, "change": -0.1, "ci": (-0.15, -0.05), "suspected": (True, True)}, "reduced"),
        ({"ci": (-1.2, 0.01)}, "gone"),
        ({"ci": (-1.2, 0.01), "suspected": (True, True)}, "unchanged"),
        ({"suspected": (False, False)}, "unchanged"),
        ({"after": 0.8, "change": 0.2, "ci": (0.1, 0.3), "suspected": (True, True)}, "worse"),
        ({"after": 0.8, "change": 0.2, "ci": (0.1, 0.3), "suspected": (False, False), "q": 0.05}, "worse"),
        ({"after": 0.8, "change": 0.2, "ci": (0.1, 0.3), "suspected": (True, True), "q": 0.051}, "unchanged"),
        ({"after": 0.8, "change": 0.2, "ci": (-0.1, 0.3), "suspected": (False, True), "q": 0.3}, "new"),
        ({"before": None, "change": None, "ci": None, "p": None, "q": None, "suspected": (False, True)}, "new"),
        ({"after": None, "change": None, "ci": None, "p": None, "q": None}, "gone"),
    ],
)
def test_states(values: dict[str, Any], state: str) -> None:
    assert state_of(shortcut(**values)) == state
