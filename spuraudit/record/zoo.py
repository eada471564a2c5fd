"""The record of a zoo run: which models were asked of which data, where the record of each lies, and what failed.

ZOO/zoo.json             this; written last: without it the run is unfinished
ZOO/models/ID/           an ordinary run folder (`record.folder`), as `spuraudit scan` writes it, and in it
ZOO/models/ID/compared.json   what pages compare of its record (`record.compared`); made from scan.json, may be missing
ZOO/zoo.html, zoo.csv
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from spuraudit.record.base import Part
from spuraudit.record.scan import Environment, ToolRecord

ZOO_SCHEMA_VERSION = "1.0"


class Published(Part):
    """Figures somebody else printed, as proportions: accuracies in 0..1, RCS in -1..1."""

    clean: float | None = None
    core: float | None = None
    spurious: float | None = None
    rcs: float | None = None


class ZooModel(Part):
    """One entry of a zoo run."""

    id: str = Field(description="Of the entry in the zoo file; the name of its folder under models/.")
    name: str
    group: str | None = None
    spec: str | None = Field(default=None, description="As `spuraudit scan` takes it, without folders of the machine.")
    licence: str | None = Field(default=None, description="Of the weights.")
    published: Published | None = None
    status: Literal["evaluated", "failed"]
    reason: str | None = Field(default=None, description="Why it failed, and the way out.")
    run: str | None = Field(default=None, description="Run folder inside the zoo's, with forward slashes.")
    data_fingerprint: str | None = Field(
        default=None, description="Of the data with the model's own class map, where it has one; else the zoo's."
    )
    record_sha256: str | None = Field(default=None, description="Of the run folder's scan.json.")
    compared_sha256: str | None = Field(default=None, description="Of the compared.json that was made from it.")


class ZooRecord(Part):
    """All models of a zoo run, in the order of the zoo file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/zoo"] = Field(default="spuraudit/zoo", alias="schema")
    schema_version: str = ZOO_SCHEMA_VERSION
    tool: ToolRecord
    zoo: str = Field(description="Name of the zoo file, without folders.")
    source: str | None = Field(default=None, description="Where its published figures come from.")
    data: str = Field(description="Name of the dataset.")
    data_fingerprint: str
    started: str = Field(description="UTC, ISO 8601.")
    seconds: float = Field(ge=0, description="Wall-clock seconds of this call.")
    argv: list[str]
    environment: Environment
    models: list[ZooModel]
