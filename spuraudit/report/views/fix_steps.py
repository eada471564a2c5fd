"""How many steps the trainings of a fix took, and whether the method took any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spuraudit.record.fix import FixRecord, TrainedArm


def steps_done(arm: TrainedArm) -> int:
    """Steps of the training, as far as its curve says."""
    return max([arm.selected_step, *(entry.step for entry in arm.losses)])


def refitted(record: FixRecord) -> bool:
    """Whether the method took no step, while its control did: only the last layer was fitted anew (dfr)."""
    return steps_done(record.arms.fixed) == 0 < steps_done(record.arms.control)
