"""What a finished run was made of, said as a config file and a command line would say it.

A record holds no folders of the machine it ran on, so files are looked for around the run and the file to be written.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spuraudit.record.scan import ModelRecord, ScanRecord
    from spuraudit.record.settings import ScanSettings

#: Options of `spuraudit scan` that a config file has no key for and that belong to the model: they are typed again.
_MODEL_OPTIONS = frozenset({
    "arch", "model_kwargs", "mean", "std", "interpolation", "crop_pct", "crop_mode", "img_size", "head", "class_map",
    "classnames", "templates", "trust_code", "precision",
})  # fmt: skip
#: The same for the data, as fields of the settings.
_DATA_SETTINGS = {"split": "--split", "limit": "--limit", "answers": "--answers", "allow_chance": "--allow-chance"}


@dataclass(frozen=True)
class Spec:
    """A model or dataset as the config names it. `sure`: whether nobody has to look at it; `why`: what it rests on."""

    text: str
    sure: bool
    why: str


@dataclass(frozen=True)
class Origin:
    """Model, data and audits of a run. `audits`: name -> parameters. `typed`: options that the file cannot hold."""

    model: Spec
    data: Spec
    data_dir: Spec | None
    audits: dict[str, dict[str, Any]]
    parameters_known: bool
    typed: tuple[str, ...]


def origin_of(record: ScanRecord, run: Path, target: Path) -> Origin:
    """Paths are relative to the folder of `target`, the config file to be written. `run`: the run's folder."""
    asked = _asked(record.run.argv)
    places = _places(run, target)
    settings = _settings(run)
    ran = [audit.name for audit in record.audits if audit.status == "run"]
    audits: dict[str, dict[str, Any]] = {name: _parameters(name, settings) for name in ran}
    return Origin(
        model=_model(record.model, asked.get("model"), places, target),
        data=_data(record, asked.get("data"), places, target),
        data_dir=_data_dir(asked.get("data_dir"), places, target),
        audits=audits,
        parameters_known=settings is not None,
        typed=(*_typed_settings(settings, audits), *_typed_model(record.run.argv)),
    )


def _scan_command() -> Any:
    """`spuraudit scan` as click has it: argv is read by the parser that read it first."""
    import typer

    from spuraudit.cli.scan import scan

    app = typer.Typer()
    app.command()(scan)
    return typer.main.get_command(app)


def _parsed(argv: Sequence[str]) -> list[tuple[Any, Any]]:
    """(parameter, value) of what was typed; nothing where argv is not that of a scan that this version reads."""
    if not argv or argv[0] != "scan":
        return []
    command = _scan_command()
    try:
        context = command.make_context("scan", list(argv[1:]))
    except Exception:  # of another version, or edited: the record's own fields remain
        return []
    typed = (one for one in command.params if context.get_parameter_source(one.name).name == "COMMANDLINE")
    return [(one, context.params[one.name]) for one in typed]


def _asked(argv: Sequence[str]) -> dict[str, Any]:
    return {parameter.name: value for parameter, value in _parsed(argv)}


def _typed_model(argv: Sequence[str]) -> Iterator[str]:
    for parameter, value in _parsed(argv):
        if parameter.name not in _MODEL_OPTIONS:
            continue
        option = parameter.opts[0]
        if value is True:
            yield option
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                yield from (option, str(one))


def _places(run: Path, target: Path) -> list[Path]:
    """Folders in which the run's files may lie, nearest to the config first."""
    run = run.resolve()
    near = [target.resolve().parent, Path.cwd(), run, *run.parents[:3]]
    return list(dict.fromkeys(near))


def _candidates(name: str, places: Iterable[Path]) -> Iterator[Path]:
    """Files and folders of that name in the places and directly in their folders."""
    for place in places:
        yield place / name
        yield from sorted(place.glob(f"*/{glob.escape(name)}"))


def _relative(path: Path, target: Path) -> str:
    """As the config file would name it: relative to it, with forward slashes."""
    try:
        return Path(os.path.relpath(path, target.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _model(model: ModelRecord, asked: str | None, places: list[Path], target: Path) -> Spec:
    spec = asked or _spec_of(model)
    if model.source == "file" and model.file is not None and spec in (None, model.file):
        return _weights(model, model.file, places, target)
    if spec is None:
        return Spec(model.name, False, "the record does not say how the model was named on the command line")
    if model.source == "local-dir" or (model.source == "code" and spec.partition(":")[0].endswith(".py")):
        return Spec(spec, False, "the record holds no folders: say where it lies")
    return Spec(spec, True, "as it was scanned")


def _spec_of(model: ModelRecord) -> str | None:
    """Of a run that no `spuraudit scan` started."""
    if model.source in ("timm", "hf-hub"):
        return f"{model.source}:{model.name.removeprefix(f'{model.source}:')}"
    return {"file": model.file, "code": model.name}.get(model.source)


def _weights(model: ModelRecord, name: str, places: list[Path], target: Path) -> Spec:
    from spuraudit.record.folder import sha256_of

    for path in _candidates(name, places):
        if path.is_file() and path.stat().st_size == model.size_bytes and sha256_of(path) == model.sha256:
            return Spec(_relative(path, target), True, f"the scanned file, sha256 {(model.sha256 or '')[:12]}")
    return Spec(name, False, "no file with the run's sha256 lies near: say where it is, relative to this file")


def _data(record: ScanRecord, asked: str | None, places: list[Path], target: Path) -> Spec:
    data = record.data
    name = asked or data.source
    if name == data.layout:
        return Spec(name, True, "a registered name")
    for path in _candidates(name, places):
        if path.is_file() or (path / "dataset.yaml").is_file():
            return Spec(_relative(path, target), True, "lies near the run; its fingerprint was not compared")
    return Spec(name, False, "nothing of that name lies near: say where it is, relative to this file")


def _data_dir(asked: Path | None, places: list[Path], target: Path) -> Spec | None:
    if asked is None:
        return None
    found = next((path for path in _candidates(asked.name, places) if path.is_dir()), None)
    if found is not None:
        return Spec(_relative(found, target), True, "where the photos and masks lie")
    return Spec(asked.name, False, "the record holds no folders: say where photos and masks lie")


def _settings(run: Path) -> ScanSettings | None:
    """Of the plan beside the record; None where there is none that this version reads."""
    from pydantic import ValidationError

    from spuraudit.runs.plan import Plan

    try:
        return Plan.model_validate_json((run / "plan.json").read_bytes()).settings
    except (OSError, ValidationError):
        return None


def _changed(settings: ScanSettings) -> dict[str, Any]:
    """Fields that differ from their defaults, as JSON values."""
    own, usual = settings.model_dump(mode="json"), type(settings)().model_dump(mode="json")
    return {name: value for name, value in own.items() if value != usual[name]}


def _parameters(audit: str, settings: ScanSettings | None) -> dict[str, Any]:
    """Keys of the config's `audits:`; sigma and trials of the noise audit always, the others where they were set."""
    from spuraudit.cli.scan_options import CONFIG_KEYS

    if settings is None:
        return {}
    values = _changed(settings)
    if audit == "noise":
        values |= {"sigmas": list(settings.sigmas), "trials": settings.trials}
    if "pairs" in values:
        values["pairs"] = [":".join(pair) for pair in values["pairs"]]
    return {key: values[name] for key, name in CONFIG_KEYS[audit].items() if name in values}


def _typed_settings(settings: ScanSettings | None, audits: Iterable[str]) -> Iterator[str]:
    """Options for what was set and has no key in the file, such as --split, or --sigma where only feature_drop ran."""
    from spuraudit.cli.scan_options import CONFIG_KEYS, OWNERS

    if settings is None:
        return
    held = {name for audit in audits for name in CONFIG_KEYS[audit].values()}
    for name, value in _changed(settings).items():
        flag, owners = OWNERS.get(name, (_DATA_SETTINGS.get(name, ""), ()))
        if name in held or not flag or (owners and not set(owners) & set(audits)):
            continue
        option = flag.partition("/")[0]
        if isinstance(value, bool):
            yield option if value else f"--no-{option.removeprefix('--')}"
        else:
            for one in value if isinstance(value, list) else [value]:
                yield from (option, str(one))
