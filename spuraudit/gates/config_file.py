"""What may stand in a config file, key by key: `spuraudit schema config` is made from these models."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from spuraudit.gates.rules import MIN_N, WILDCARD

_NUMBER = {"anyOf": [{"type": "number"}, {"const": WILDCARD}]}
_WHOLE = {"anyOf": [{"type": "integer"}, {"const": WILDCARD}]}
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_AUDITS = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "object"}, {"type": "null"}]}},
        {"type": "null"},
    ]
}

# What these hold is checked where the line and the kind of number can be named.
_Number = Annotated[Any, WithJsonSchema(_NUMBER)]
_Whole = Annotated[Any, WithJsonSchema(_WHOLE)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _day(value: Any) -> Any:
    """A date in quotes is a date too."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"expected a day such as 2026-12-31, found {value!r}") from None


def _text_or_keys(schema: dict[str, Any]) -> None:
    """A gate is the text of a rule, or a mapping with one limit."""
    keys = dict(schema)
    needed = [["rule"], ["metric", "min"], ["metric", "max"], ["metric", "max_drop"]]
    keys["oneOf"] = [{"required": one} for one in needed]
    schema.clear()
    schema["anyOf"] = [{"type": "string", "description": "A rule, such as 'ci_low(rcs) >= 0.2'."}, keys]


class _Strict(BaseModel):
    # Strict: `min: yes` is a boolean in YAML and would otherwise become the limit 1.
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ScopeKeys(_Strict):
    """Which measurements are meant; '*' = every one that was measured."""

    class_: str | None = Field(default=None, alias="class")
    feature: str | None = None
    group: str | None = None
    donor_class: str | None = None
    target_class: str | None = None
    sigma: _Number = Field(default=None, description="Of the noise. Default: every one.")
    cell: _Whole = Field(default=None, description="Number of a cell of the patch swap, from 1, row by row.")
    row: _Whole = None
    column: _Whole = None
    rows: _Whole = None
    columns: _Whole = None


class GateEntry(ScopeKeys):
    """A limit on a metric."""

    model_config = ConfigDict(json_schema_extra=_text_or_keys)

    rule: str | None = Field(default=None, description="The limit as text, instead of metric, scope, limit and bound.")
    id: str | None = Field(default=None, description="Name in every output. Default: the rule as text.")
    metric: str | None = Field(default=None, description="Such as rcs, core_accuracy, feature_drop, swap_gap.")
    min: float | None = Field(default=None, description="The least it may be. Proportions 0 to 1, RCS -1 to 1.")
    max: float | None = Field(default=None, description="The most it may be.")
    max_drop: float | None = Field(
        default=None,
        description="The most it may have got worse since the baseline run: fallen, or risen where less is better.",
    )
    bound: Literal["point", "ci_low", "ci_high"] = Field(
        default="point",
        description="What is held against the limit: the number or an end of its 95 % interval. For max_drop: ci_high "
        "passes a drop that is surely within the limit, ci_low fails one that is surely beyond it.",
    )
    min_n: int = Field(default=MIN_N, ge=1, description="Fewest images that a number may rest on.")
    severity: Literal["error", "warn"] = Field(
        default="error", description="warn: a failure is shown and does not fail the verdict."
    )
    allow_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="Share of what '*' matches that may lie beyond the limit."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"rule": value} if isinstance(value, str) else value


class IgnoreEntry(ScopeKeys):
    """Measurements that may lie beyond a limit. Keys that are not given may have any value."""

    gate: str | None = Field(default=None, description="Id of a gate.")
    metric: str | None = None
    reason: str = Field(json_schema_extra={"pattern": r"\S"}, description="Why, and who decided it.")
    expires: Annotated[
        date | None,
        BeforeValidator(_day),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}),
    ] = Field(default=None, description="The last day that it covers anything, such as 2026-12-31.")

    @field_validator("reason")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a reason is needed, such as the ticket that will repair it")
        return value.strip()


class ReportEntry(_Strict):
    """The pages that scan, zoo and fix write; what they say of themselves stays in the record."""

    title: str | None = Field(default=None, description="Of the page, or of that which shows all models.")
    logo: str | None = Field(default=None, description="A PNG, JPEG, WebP or SVG file, shown beside the title.")
    notes: str | None = Field(default=None, description="A file for the readers: Markdown, or plain text as .txt.")
    redact_images: bool = Field(
        default=False, description="No picture of the data on the pages. The run folder keeps its pictures."
    )
    max_report_mb: float | None = Field(default=None, gt=0, description="Largest page, in megabytes. Default: 10.")


class ConfigFile(_Strict):
    """`.spuraudit.yaml`, or `[tool.spuraudit]` in pyproject.toml. Relative paths are relative to the file."""

    version: Literal[1] = 1
    model: str | None = Field(default=None, description="A file, timm:NAME, or any other MODEL of `spuraudit scan`.")
    data: str | None = Field(default=None, description="A registered name or a folder.")
    data_dir: str | None = Field(default=None, description="Where the photos and masks lie.")
    locations: dict[str, str] | None = Field(default=None, description="Where datasets lie, by their names.")
    audits: Annotated[Any, WithJsonSchema(_AUDITS)] = Field(
        default=None, description="A list of names, or a mapping of names to parameters."
    )
    seed: int | None = None
    gates: list[GateEntry] | None = None
    ignores: list[IgnoreEntry] | None = None
    baseline: Annotated[list[str] | None, BeforeValidator(_listed), WithJsonSchema(_TEXTS)] = Field(
        default=None,
        description="A run folder to measure drops from, or a file of accepted findings (`--write-baseline`); or both.",
    )
    report: ReportEntry | None = Field(default=None, description="How the pages of scan, zoo and fix are handed on.")


def _drop_null(schema: dict[str, Any]) -> None:
    """Take null from the values that the keys of a mapping may have."""
    for form in (schema, *schema.get("anyOf", ())):
        for value in form.get("properties", {}).values():
            if "anyOf" in value:
                value["anyOf"] = [one for one in value["anyOf"] if one != {"type": "null"}]
                value.pop("default", None)


def config_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a config file, for editors and checks."""
    schema = ConfigFile.model_json_schema(by_alias=True)
    for entry in (GateEntry, IgnoreEntry):  # a key without a value is refused
        _drop_null(schema["$defs"][entry.__name__])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
