"""What the user of a scan chose: part of the plan, so changing any of it starts another run."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from spuraudit.record.base import Part

AuditName = Literal["noise", "feature_drop", "region_swap", "patch_swap"]
AUDIT_NAMES: tuple[AuditName, ...] = ("noise", "feature_drop", "region_swap", "patch_swap")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(budget: str) -> float:
    """'90s', '10m' or '1.5h' in seconds. Raises ValueError for anything else, and for 0."""
    number, unit = budget[:-1], budget[-1:]
    if unit not in _SECONDS or not re.fullmatch(r"\d+(\.\d+)?", number) or not float(number):
        raise ValueError("a time was expected, such as 90s, 10m or 2h")
    return float(number) * _SECONDS[unit]


class ScanSettings(Part):
    """Parameters of a scan that its numbers depend on."""

    audits: tuple[AuditName, ...] | None = Field(
        default=None, description="None: noise, feature_drop and region_swap where there are masks, else patch_swap."
    )
    split: str | None = Field(default=None, description="None: the dataset's default, else test, else val, else all.")
    limit: int | None = Field(default=None, ge=1, description="At most so many images, evenly over classes.")
    seed: int = 0
    answers: Literal["all", "mapped"] = Field(
        default="all", description="Whether the model may answer with outputs that no class of the dataset maps to."
    )
    allow_chance: bool = False
    sigmas: tuple[float, ...] = (0.25,)
    trials: int = Field(default=5, ge=1)
    dilation_iterations: int = Field(default=15, ge=0)
    spurious_region: Literal["complement", "annotated"] = "complement"
    clamp: bool = True
    swap_trials: int = Field(default=3, ge=1)
    patch: int | None = Field(default=None, ge=1, description="Pixels; None: a seventh of the shorter side.")
    patch_sources: int = Field(default=4, ge=1)
    patch_targets: int = Field(default=50, ge=1)
    passes: int = Field(default=100, ge=2)
    dropout_rate: float = Field(default=0.5, gt=0, lt=1)
    drop_path: bool = Field(default=False, description="Whether stochastic depth drops in MC-dropout passes too.")
    source_classes: tuple[str, ...] | None = None
    target_classes: int = Field(
        default=2, ge=1, description="Per source class: the one it is most confused with, then random others."
    )
    pairs: tuple[tuple[str, str], ...] | None = Field(default=None, description="(source class, target class).")
    limit_sources: int | None = Field(default=None, ge=1, description="At most so many in all, evenly over classes.")
    search: Literal["full", "adaptive"] = "full"
    budget: str | None = Field(default=None, description="Time for the patch swap, such as 90s, 10m or 2h.")

    @field_validator("sigmas")
    @classmethod
    def _positive(cls, sigmas: tuple[float, ...]) -> tuple[float, ...]:
        if not sigmas or any(sigma <= 0 for sigma in sigmas):
            raise ValueError("every sigma must be above 0")
        return tuple(sorted(set(sigmas)))

    @field_validator("budget")
    @classmethod
    def _time(cls, budget: str | None) -> str | None:
        if budget is not None:
            seconds_of(budget)
        return budget
