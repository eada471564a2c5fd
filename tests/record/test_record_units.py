"""Units by the names of metrics."""

from __future__ import annotations

import pytest

from spuraudit.record.units import lowest, unit_of


@pytest.mark.parametrize(
    ("metric", "unit", "low"),
    [
        ("clean_accuracy", "proportion", 0),
        ("core_accuracy_images", "proportion", 0),
        ("worst_group_accuracy", "proportion", 0),
        ("feature_drop", "difference", -1),
        ("core_drop_images", "difference", -1),
        ("feature_drop_excess", "difference", -1),
        ("swap_gap", "difference", -1),
        ("swap_pull", "difference", -1),
        ("patch_certainty", "probability", 0),
        ("patch_certainty_unperturbed", "probability", 0),
        ("patch_consistency", "proportion", 0),
        ("patch_drop", "probability_difference", -1),
        ("patch_argmin_drop", "probability_difference", -1),
        ("patch_mean_absolute_change", "probability_difference", 0),
        ("patch_argmin_agreement", "proportion", 0),
        ("patch_settled", "proportion", 0),
        ("rcs", "number", -1),
        ("rcs_images", "number", -1),
        ("inaccuracy", "number", -1),
    ],
)
def test_the_name_of_a_metric_gives_its_unit_and_range(metric: str, unit: str, low: int) -> None:
    assert (unit_of(metric), lowest(metric)) == (unit, low)
