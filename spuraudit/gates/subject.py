"""Whether a run is of the model and the data that the config names.

A record holds names, hashes and no folders. What it certainly contradicts is an error; what it cannot tell is a note,
so that nobody takes a verdict for that of another model. A model file that is there is checked by its sha256 instead.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.errors import ConfigError, RunError
from spuraudit.record.yaml_lines import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.record.scan import DataRecord, ModelRecord, ScanRecord

_SPEC = re.compile(r"(timm|hf-hub|local-dir|open_clip|zoo):(.+)", re.DOTALL)
_CODE = re.compile(r"[\w./\\-]+:[A-Za-z_]\w*")
_MANIFESTS = ("dataset.yaml", "dataset.yml")
_MODEL_HINT = (
    "Judge the run of that model, correct `model:` in the config, or name the file that it is of with --model."
)
_DATA_HINT = "Judge the run on that data, or correct `data:` in the config."


def check_model(record: ScanRecord, spec: str) -> list[str]:
    """Notes on a config's `model:` that is no file here. Raises RunError where the run is of another model.

    An absent file can only have the run's file name. A registered name must be the one that was scanned; the names of a
    zoo's entries are its own, so that a run of a zoo only says of which kind its model is.
    """
    model = record.model
    kind, name = _kind(spec)
    unsure = f"The model was not checked: the config names {spec}, and the run is of {_described(model)}."
    if kind == "zoo":
        return [unsure]
    if kind == "file":
        file = Path(spec).name
        if file == model.file:
            return [f"The model file was not checked: {spec} is not here, and only its name is that of the run's file."]
        raise _another(model, f"{spec}, which is not here")
    if kind == "open_clip" and model.file is not None and Path(name.rpartition(",")[2]).name == model.file:
        return [f"The model file was not checked: {spec}; only its name is that of the run's file."]
    if kind != model.source:
        raise _another(model, spec)
    if _same(kind, name, model):
        by_name = f"The model was not checked: {spec}; only its name is that of the run's model."
        return [by_name] if kind in ("local-dir", "code") else []
    if record.run.argv[:1] == ["zoo"] or (kind == "timm" and _stem(name) == _stem(model.name)):
        return [unsure]
    raise _another(model, spec)


def check_data(record: ScanRecord, spec: str, locations: Mapping[str, Path]) -> list[str]:
    """Notes on a config's `data:`. Raises RunError where the run is on other data.

    A registered name must be the run's; so must the name in a dataset.yaml that is there. The name of a folder may
    differ from machine to machine: then it is a note.
    """
    data = record.data
    path = locations.get(spec, Path(spec))
    is_path = spec in locations or len(Path(spec).parts) > 1 or path.exists() or spec.startswith((".", "~"))
    if not is_path:
        if spec in (data.name, data.source, data.layout):
            return []
        raise _other_data(data, spec)
    stated = _stated_name(path)
    if stated is not None:
        if stated == data.name:
            return []
        raise _other_data(data, f"{spec}, which is {stated!r}")
    if {spec, path.name, path.resolve().name} & {data.name, data.source}:
        return []
    return [f"The data were not checked: the config names {spec}, and the run is on {_of(data)}."]


def _kind(spec: str) -> tuple[str, str]:
    """`timm`, `code`, `file` and so on, as in the record's `source`, and what follows."""
    if found := _SPEC.fullmatch(spec):
        return found[1], found[2]
    return ("code", spec) if _CODE.fullmatch(spec) and len(spec.partition(":")[0]) > 1 else ("file", spec)


def _same(kind: str, name: str, model: ModelRecord) -> bool:
    known = {model.name, model.arch}
    if kind == "hf-hub":
        return name in known or name.partition("@")[0] == model.name.partition("@")[0]
    if kind == "local-dir":
        return Path(name).resolve().name in known
    if kind == "open_clip":
        return _plain(name.replace(",", ".")) == _plain(model.name)
    if kind == "code":
        place, _, function = name.rpartition(":")
        return f"{Path(place).name if place.endswith('.py') else place}:{function}" in known
    return name in known


def _stem(name: str) -> str:
    """Of a timm name: what stands before the name of its weights."""
    return name.partition(".")[0]


def _plain(name: str) -> str:
    """Of an open_clip name: without the activation that its weights decide."""
    return name.replace("-quickgelu", "")


def _stated_name(path: Path) -> str | None:
    """The name in a dataset.yaml; None where there is none that can be read."""
    file = path if path.is_file() else next((path / one for one in _MANIFESTS if (path / one).is_file()), None)
    if file is None:
        return None
    try:
        value = load(file).value
    except ConfigError:  # judging needs no data
        return None
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _described(model: ModelRecord) -> str:
    return f"{model.name} ({model.source}{f' {model.file}' if model.file else ''})"


def _of(data: DataRecord) -> str:
    return data.name if data.source == data.name else f"{data.name} ({data.source})"


def _another(model: ModelRecord, named: str) -> RunError:
    return RunError(f"This run is of {_described(model)}, and the config names the model {named}.", _MODEL_HINT)


def _other_data(data: DataRecord, named: str) -> RunError:
    return RunError(f"This run is on {_of(data)}, and the config names the data {named}.", _DATA_HINT)
