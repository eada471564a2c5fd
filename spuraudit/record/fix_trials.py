"""The record of several methods tried on one model: what each gained over the one control, and which is recommended.

FOLDER/trials.json           this
FOLDER/METHOD/               a fix of its own (`record.fix`), for each method that was carried out
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from spuraudit.errors import RunError
from spuraudit.record.base import Part
from spuraudit.record.fix import FixVerdict
from spuraudit.record.folder import read_json
from spuraudit.record.scan import ModelRecord, ToolRecord

FIX_TRIALS_SCHEMA_VERSION = "1.0"
RECORD = "trials.json"


class Standing(Part):
    """A measure of the held-out images: before, of the control, and of the fixed model."""

    metric: str
    before: float | None
    control: float | None
    fixed: float | None
    gain: FixVerdict = Field(description="Of the fixed model over the control.")


class Trial(Part):
    """One method."""

    method: str
    title: str
    status: Literal["done", "skipped", "failed"]
    reason: str | None = Field(default=None, description="Why it was skipped or failed.")
    standings: list[Standing] = Field(default_factory=list)
    seconds: float = Field(default=0.0, ge=0, description="Wall clock, of training and scanning.")
    cost: float | None = Field(default=None, description="CPU seconds of a step, over those of the control.")


class FixTrials(Part):
    """The whole record. The order of `trials` is that in which they were tried."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/fix-trials"] = Field(default="spuraudit/fix-trials", alias="schema")
    schema_version: str = FIX_TRIALS_SCHEMA_VERSION
    tool: ToolRecord
    argv: list[str]
    started: str = Field(description="UTC, ISO 8601.")
    model: ModelRecord
    data: str
    seed: int
    budget: str | None = None
    trials: list[Trial]
    measure: str | None = Field(default=None, description="By which methods are ranked; null where none was done.")
    recommended: str | None = Field(default=None, description="Method; null where none gained for sure.")
    reason: str = Field(description="One sentence or more on the recommendation.")


def read_trials(folder: Path) -> FixTrials:
    """The record in a folder. Raises RunError as `record.folder.read_json` does."""
    file = folder / RECORD
    if not file.is_file():
        raise RunError(f"{folder}: no finished trials here (no {RECORD}).", "Run `spuraudit fix --method auto`.")
    foreign = RunError(f"{file}: not the record of trials.", "Give a folder that `spuraudit fix` wrote.")
    return read_json(file, FixTrials, "run the fix again", foreign)
