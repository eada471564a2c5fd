"""zoo:ENTRY -> a draft of a zoo file's model, from the source that its spec or its adapter names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spuraudit.errors import ModelError, UsageError
from spuraudit.models.adapters import BUILDERS
from spuraudit.models.from_code import looks_like_code
from spuraudit.models.hub import would_fetch
from spuraudit.models.preprocess import PreprocessOverrides, resolve
from spuraudit.models.request import Draft, Request, asked_size
from spuraudit.models.weights import digest
from spuraudit.models.zero_shot import read_class_names, refuse_text_options
from spuraudit.record.zoo_file import FILES_VARIABLE, load_zoo
from spuraudit.record.zoo_schema import is_path

if TYPE_CHECKING:
    from spuraudit.models.adapters.fitting import Adapted
    from spuraudit.models.hub import Fetch
    from spuraudit.record.zoo_file import ZooEntry

#: The zoo file that `zoo:ENTRY` means, where it is not the shipped one.
ZOO_VARIABLE = "SPURAUDIT_ZOO"
_ORIGIN = "zoo file"


def draft_from_zoo(name: str, request: Request) -> Draft:
    """The network of an entry: `ENTRY` of the shipped zoo file or of $SPURAUDIT_ZOO, `FILE#ENTRY` of another.

    `ENTRY@PRESET` shows it images as a preset of the file says. What the user asked for wins over what the entry says.
    Raises what `load_zoo` and the entry's own source raise.
    """
    return draft_of_entry(_entry_of(name), request)


def zoo_fetches(name: str) -> list[Fetch]:
    """What `zoo:name` would have fetched; nothing for files that the user brings. No request is made.

    Raises ModelError where one of those is missing, and what `load_zoo` and `would_fetch` raise.
    """
    entry = _entry_of(name)
    if entry.adapter is None:
        return would_fetch(_found_spec(entry))
    for file in entry.adapter.files.values():
        find(file, entry)
    return []


def _entry_of(name: str) -> ZooEntry:
    file, separator, rest = name.rpartition("#")
    id, _, preset = rest.partition("@")
    named = file if separator else os.environ.get(ZOO_VARIABLE)
    zoo = load_zoo(Path(named).expanduser() if named else None, preset=preset or None)
    return zoo.entry(id)


def draft_of_entry(entry: ZooEntry, request: Request) -> Draft:
    """The network of an entry, by its adapter or by the source of its spec; the record names the entry."""
    if entry.adapter is not None:
        draft = draft_from_adapter(entry, request)
    else:
        from spuraudit.models.loading import source_of  # which knows this module as one of its sources

        spec, asked = request_of(entry, request)
        source, name = source_of(spec)
        draft = source(name, asked)
    return _named(draft, entry, request)


def request_of(entry: ZooEntry, base: Request) -> tuple[str, Request]:
    """The spec of an entry, its files found, and the request: what the entry says, overruled by `base`.

    For an adapter the spec is `zoo:FILE#ENTRY`. Raises ModelError where a file is missing.
    """
    given = dict(entry.preprocess)
    kwargs = dict(entry.kwargs)
    # One size: the user's, wherever it was said.
    if base.overrides.img_size is not None or "img_size" in base.kwargs:
        given.pop("img_size", None)
        kwargs.pop("img_size", None)
    asked = replace(
        base,
        arch=base.arch or entry.arch,
        kwargs={**kwargs, **base.kwargs},
        overrides=PreprocessOverrides(**{**given, **base.overrides.given()}),
        class_names=base.class_names if base.class_names is not None else _class_names(entry),
        templates=base.templates if base.templates is not None else _templates(entry),
    )
    return _found_spec(entry), asked


def draft_from_adapter(entry: ZooEntry, request: Request) -> Draft:
    """The network of an entry's adapter and files.

    Raises ModelError: a file is missing, or another one than published. UsageError: an option that has no meaning for
    a fixed network, or another input size than its position table's.
    """
    if entry.adapter is None:
        raise UsageError(f"The zoo entry {entry.id!r} has no adapter.", f"Load it with zoo:{entry.id}.")
    _refuse_other_networks(entry, request)
    refuse_text_options(request)
    files = {role: find(name, entry) for role, name in entry.adapter.files.items()}
    adapted = BUILDERS[entry.adapter.kind](entry.adapter.arch, files, request.trust_code)
    _, asked = request_of(entry, request)
    size = asked_size(asked)
    native = tuple(adapted.cfg["input_size"][1:])
    if adapted.fixed_size and size is not None and size.size != native:
        raise UsageError(
            f"{entry.name} has a position table for {native[0]}x{native[1]} pixels; asked for ({size.origin}) were "
            f"{size.size[0]}x{size.size[1]}.",
            "Leave the size out.",
        )
    preprocess = resolve(adapted.cfg, cfg_origin=adapted.cfg_origin, overrides=asked.overrides)
    return Draft(adapted.network, preprocess, _identity(entry, adapted), _notes(adapted))


def find(name: str, entry: ZooEntry) -> Path:
    """A file or folder that an entry names, in the first place that has it. Raises ModelError, with how to get it."""
    path = Path(name).expanduser()
    for place in entry.folders:
        if (place / path).exists():
            return place / path
    looked = f" Looked in {', '.join(str(place) for place in entry.folders)}." if not path.is_absolute() else ""
    way = f"Get it: {entry.get.strip()}\n" if entry.get else ""
    raise ModelError(
        f"{entry.zoo.name}, line {entry.line}: the zoo entry {entry.id!r} needs {name}, which is not there.{looked}",
        f"{way}Put it into the folder of --zoo-files or {FILES_VARIABLE}, or beside the zoo file.",
    )


def _found_spec(entry: ZooEntry) -> str:
    spec = entry.spec
    if spec is None:
        return f"zoo:{entry.zoo}#{entry.id}"
    word, _, name = spec.partition(":")
    if word == "local-dir":
        return f"local-dir:{find(name, entry)}"
    if looks_like_code(spec):
        place, _, function = spec.rpartition(":")
        return f"{find(place, entry)}:{function}" if place.endswith(".py") else spec
    return str(find(spec, entry)) if is_path(spec) else spec


def _class_names(entry: ZooEntry) -> tuple[str, ...] | None:
    if entry.classnames is None:
        return None
    word = entry.classnames
    return read_class_names(word if word == "imagenet" else str(find(word, entry)))


def _templates(entry: ZooEntry) -> str | None:
    """A file beside the zoo file, or else the name of a set."""
    if entry.templates is None:
        return None
    places = (place / entry.templates for place in entry.folders)
    return next((str(path) for path in places if path.is_file()), entry.templates)


def _refuse_other_networks(entry: ZooEntry, request: Request) -> None:
    given = [
        flag for flag, said in (("--arch", request.arch is not None), ("--model-kwargs", bool(request.kwargs))) if said
    ]
    if given:
        raise UsageError(f"{' and '.join(given)}: the zoo entry {entry.id!r} is one fixed network.", "Leave it out.")


def _identity(entry: ZooEntry, adapted: Adapted) -> dict[str, Any]:
    assert entry.adapter is not None
    files = adapted.checkpoints
    return {
        "name": entry.name,
        "source": "file",
        "file": " + ".join(checkpoint.file for checkpoint in files),
        "sha256": files[0].sha256 if len(files) == 1 else digest(adapted.network),
        "size_bytes": sum(checkpoint.size_bytes for checkpoint in files),
        "arch": f"{entry.adapter.kind}/{entry.adapter.arch}",
        "arch_origin": _ORIGIN,
    }


def _notes(adapted: Adapted) -> tuple[str, ...]:
    if len(adapted.checkpoints) == 1:
        return (*adapted.checkpoints[0].notes, *adapted.notes)
    files = "; ".join(f"{checkpoint.file} {checkpoint.sha256}" for checkpoint in adapted.checkpoints)
    return (f"sha256 is of the weights in memory; of the files: {files}.", *adapted.notes)


def _named(draft: Draft, entry: ZooEntry, request: Request) -> Draft:
    """The draft under the entry's name; what the entry said is written down as the entry's, not as an option's."""
    identity = {**draft.identity, "name": entry.name}
    if request.arch is None and str(identity.get("arch_origin", "")).startswith("--arch"):
        identity["arch_origin"] = identity["arch_origin"].replace("--arch", _ORIGIN, 1)
    own = [name for name in entry.preprocess if name not in request.overrides.given()]
    if "img_size" in request.kwargs:
        own = [name for name in own if name != "img_size"]
    origin = {**draft.preprocess.origin, **dict.fromkeys(own, _ORIGIN)}
    preprocess = draft.preprocess.model_copy(update={"origin": origin})
    note = f"Zoo entry {entry.id!r} of {entry.zoo.name}."
    return replace(draft, identity=identity, preprocess=preprocess, notes=(note, *draft.notes))
