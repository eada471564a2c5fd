"""`spuraudit schema`: JSON Schema of the files in a run folder and of the config, or a check of one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spuraudit.errors import RunError, UsageError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_SHOWN = 10
_RECORDS = "Give a scan.json, verdict.json or fix.json."
_CONFIG = "config"


def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="scan, verdict, accepted, fix, fix-trials, comparison, annotate, config. Default: scan; with --check "
            "as the file says.",
        ),
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Validate this file instead of printing the schema.")
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of a record (scan.json, verdict.json, ...) or the config, or validate one.

    Example: spuraudit schema --check runs/last/scan.json
    """
    from spuraudit.record.schema import SCHEMAS

    names = (*SCHEMAS, _CONFIG)
    if name is not None and name not in names:
        known = f"Known are {', '.join(names)}."
        raise UsageError(f"There is no schema {name!r}.", f"{did_you_mean(name, names)} {known}".strip())
    if check is None:
        typer.echo(json.dumps(_schema(name or "scan"), indent=2, ensure_ascii=False))
        return
    is_config = name == _CONFIG or (name is None and check.suffix in (".yaml", ".yml", ".toml"))
    typer.echo(f"{check}: valid {check_config(check) if is_config else check_file(check, name)}")


def check_config(file: Path) -> str:
    """Validate a config file and its gates. Raises ConfigError that names the line.

    Returns what it is, such as `config (3 gates, 1 ignore)`.
    """
    from spuraudit.gates import check_rules, load_config

    config = load_config(file)
    check_rules(config.gates)
    counts = [(len(config.gates), "gate"), (len(config.ignores), "ignore")]
    return f"config ({', '.join(f'{count} {what}' if count == 1 else f'{count} {what}s' for count, what in counts)})"


def _schema(name: str) -> dict[str, Any]:
    from spuraudit.gates.config_file import config_schema
    from spuraudit.record.schema import json_schema

    return config_schema() if name == _CONFIG else json_schema(name)


def check_file(file: Path, name: str | None) -> str:
    """Validate a record; `name` None = as its `schema` field says.

    Returns what it is, such as `spuraudit/scan 1.0`. Raises RunError that lists the first ten problems.
    """
    from pydantic import ValidationError

    content = _read(file)
    model = _model(file, content, name)
    stated, expected = str(content.get("schema_version", "?")), str(model.model_fields["schema_version"].default)
    if stated.split(".")[0] != expected.split(".")[0]:
        raise RunError(
            f"{file}: version {stated}; this spuraudit reads {expected.split('.')[0]}.x.",
            "Use the spuraudit that wrote it.",
        )
    try:
        model.model_validate_json(file.read_bytes(), strict=True)
    except ValidationError as error:
        raise RunError(f"{file}: {_problems(error)}", "Print the schema with `spuraudit schema`.") from error
    return f"{content['schema']} {stated}"


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror}).", _RECORDS) from error
    except ValueError as error:
        raise RunError(f"{file}: not readable as JSON ({error}).", _RECORDS) from error
    if not isinstance(content, dict):
        raise RunError(f"{file}: a JSON object is expected.", _RECORDS)
    return content


def _model(file: Path, content: dict[str, Any], name: str | None) -> type[BaseModel]:
    from spuraudit.record.schema import SCHEMAS

    stated = str(content.get("schema", "")).removeprefix("spuraudit/")
    if name is not None and stated != name:
        raise RunError(
            f"{file}: its schema is {content.get('schema')!r}, not 'spuraudit/{name}'.", "Check the file name."
        )
    if stated not in SCHEMAS:
        known = ", ".join(f"spuraudit/{one}" for one in SCHEMAS)
        raise RunError(f"{file}: its `schema` is {content.get('schema')!r}; known are {known}.", "Check the file name.")
    return SCHEMAS[stated]


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False)
    lines = [f"\n  {'.'.join(str(step) for step in one['loc']) or 'file'}: {one['msg']}" for one in found[:_SHOWN]]
    more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{len(found)} problem{'s' if len(found) > 1 else ''}:{''.join(lines)}{more}"
