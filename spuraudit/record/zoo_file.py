"""A zoo file: models by id, how each is loaded, and what somebody else measured of it. Known without any network.

version: 1
extends: default                   # the 42 shipped models, then these; the same id replaces a shipped entry
models:
- id: ours-v2                      # a folder's name in the run
  name: Ours v2
  group: Ours
  spec: weights/ours_v2.pt         # whatever `spuraudit scan` takes; files relative to this one
  arch: resnet50
  preprocess: {crop_pct: 0.95}
  licence: Apache-2.0
  published: {clean: 91.2, core: 84.5, spurious: 57.6, rcs: 46.4}   # percent; rcs is 100 x RCS
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from spuraudit.errors import ConfigError, UsageError, did_you_mean
from spuraudit.record.yaml_lines import load, parse
from spuraudit.record.zoo import Published
from spuraudit.record.zoo_schema import ZooFileKeys, is_path
from spuraudit.resources import model_zoo_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spuraudit.record.yaml_lines import YamlDocument
    from spuraudit.record.zoo_schema import EntryKeys, FiguresKeys, SourceKeys

#: Folder of weight files that users bring, where none is given.
FILES_VARIABLE = "SPURAUDIT_ZOO_FILES"
#: The preset that changes nothing: every model as its own authors show it images.
OWN = "own"


@dataclass(frozen=True)
class Adapter:
    """How files that no ordinary loader reads become a network.

    kind, arch: of the adapter and of its authors' network. files: role ('file', or 'backbone' and 'head') -> name.
    """

    kind: str
    arch: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class ZooEntry:
    """One model of a zoo file.

    id: also the name of its folder. spec: as `spuraudit scan` takes it, None where there is an adapter.
    preprocess: by the names of `PreprocessOverrides`. class_map: file that says which outputs are which class.
    classnames, templates: of a zero-shot classifier, as `spuraudit scan` takes them. alternatives: other specs that the
    figures may belong to.
    source, get: where the weights come from, and how to obtain what no loader fetches.
    zoo, line: where the entry stands. folders: where its files are looked for, first match first.
    """

    id: str
    name: str
    zoo: Path
    line: int
    folders: tuple[Path, ...]
    group: str | None = None
    spec: str | None = None
    adapter: Adapter | None = None
    arch: str | None = None
    kwargs: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    class_map: Path | None = None
    classnames: str | None = None
    templates: str | None = None
    alternatives: tuple[str, ...] = ()
    source: str | None = None
    licence: str | None = None
    note: str | None = None
    get: str | None = None
    published: Published | None = None

    @property
    def shown_spec(self) -> str:
        """The spec without folders of this machine; `zoo:ID` where an adapter takes its place."""
        if self.spec is None:
            return f"zoo:{self.id}"
        if is_path(self.spec):
            return Path(self.spec).name
        word, _, name = self.spec.partition(":")
        return f"{word}:{Path(name).name}" if word == "local-dir" else self.spec


@dataclass(frozen=True)
class Zoo:
    """The models of a zoo file, in its order. source: what printed the published figures."""

    file: Path
    source: str | None
    entries: tuple[ZooEntry, ...]

    def entry(self, id: str) -> ZooEntry:
        """The entry of an id. Raises UsageError, with the nearest ids."""
        found = next((entry for entry in self.entries if entry.id == id), None)
        if found is None:
            self._unknown("model", id, [entry.id for entry in self.entries])
        return found

    def select(self, groups: Sequence[str] = (), ids: Sequence[str] = ()) -> tuple[ZooEntry, ...]:
        """The entries of the named groups and the named entries, in the file's order; all where nothing is named.

        Raises UsageError for a group or id that the file does not have.
        """
        known = dict.fromkeys(entry.group for entry in self.entries if entry.group is not None)
        for group in groups:
            if group not in known:
                self._unknown("group", group, known)
        for id in ids:
            self.entry(id)
        if not groups and not ids:
            return self.entries
        return tuple(entry for entry in self.entries if entry.group in groups or entry.id in ids)

    def _unknown(self, kind: str, word: str, known: Iterable[str]) -> NoReturn:
        names = list(known)
        some = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        hint = did_you_mean(word, names) or f"It has {some or 'none'}."
        raise UsageError(f"{self.file.name} has no {kind} {word!r}.", hint)


def load_zoo(path: Path | None = None, *, preset: str | None = None, files: Path | None = None) -> Zoo:
    """Read a zoo file; None: the shipped one.

    preset: 'own' (or None), or one of the file's presets, which replaces the preprocessing of the specs it is for.
    files: folder where weight files are looked for first; then $SPURAUDIT_ZOO_FILES, then beside the zoo file.
    Raises ConfigError naming file and line: malformed, unknown keys, an id twice, figures out of range;
    UsageError for an unknown preset.
    """
    shipped = model_zoo_file()
    file = shipped if path is None else path
    document = load(file)
    content = parse(document, ZooFileKeys)
    asked = (files.absolute() if files is not None else None, _from_environment())
    # Absolute: other processes, which work elsewhere, look for the same files.
    zoo = _read(document, content, file.absolute(), asked)
    presets = _presets(content)
    if content.extends is not None:
        if file.resolve() == shipped.resolve():
            raise document.error(("extends",), "the shipped zoo file cannot extend itself.")
        base = load(shipped)
        base_content = parse(base, ZooFileKeys)
        zoo = _extended(_read(base, base_content, shipped, asked), zoo)
        presets = {**_presets(base_content), **presets}
    return _preset(zoo, presets, preset)


def _from_environment() -> Path | None:
    named = os.environ.get(FILES_VARIABLE)
    return Path(named).expanduser().absolute() if named else None


def _read(document: YamlDocument, content: ZooFileKeys, file: Path, asked: tuple[Path | None, ...]) -> Zoo:
    folders = tuple(dict.fromkeys(place for place in (*asked, file.parent) if place is not None))
    lines: dict[str, int] = {}
    entries = []
    for number, keys in enumerate(content.models):
        here = ("models", number)
        # Folders of two ids that differ in case alone are one folder on some systems.
        same = lines.get(keys.id.lower())
        if same is not None:
            problem = f"the id {keys.id!r} is already used in line {same}."
            raise document.error((*here, "id"), problem, "Give each model its own id; letter case does not count.")
        lines[keys.id.lower()] = document.line(*here)
        entries.append(_entry(keys, file, document.line(*here), folders))
    if not entries and content.extends is None:
        raise ConfigError(f"{document.name}: names no models.", "List them under `models:`.")
    return Zoo(file, _source(content.source), tuple(entries))


def _entry(keys: EntryKeys, file: Path, line: int, folders: tuple[Path, ...]) -> ZooEntry:
    adapter = keys.adapter
    return ZooEntry(
        id=keys.id,
        name=keys.name or keys.id,
        zoo=file,
        line=line,
        folders=folders,
        group=keys.group,
        spec=keys.spec,
        adapter=None if adapter is None else Adapter(adapter.kind, adapter.arch, adapter.files()),
        arch=keys.arch,
        kwargs=keys.kwargs,
        preprocess={} if keys.preprocess is None else keys.preprocess.given(),
        class_map=None if keys.class_map is None else file.parent / Path(keys.class_map).expanduser(),
        classnames=keys.classnames,
        templates=keys.templates,
        alternatives=tuple(keys.alternatives),
        source=keys.source,
        licence=keys.licence,
        note=keys.note,
        get=keys.get,
        published=_published(keys.published),
    )


def _published(figures: FiguresKeys | None) -> Published | None:
    """Percent, as printed -> proportions."""
    if figures is None:
        return None
    return Published(**{name: round(number / 100, 12) for name, number in figures if number is not None})


def _source(source: SourceKeys | None) -> str | None:
    if source is None:
        return None
    authors = f"{source.authors} ({source.year}), " if source.authors and source.year else ""
    arxiv = f"arXiv:{source.arxiv}" if source.arxiv else None
    return authors + ", ".join(part for part in (source.title, arxiv, source.table) if part)


def _extended(base: Zoo, own: Zoo) -> Zoo:
    """The base's entries, each replaced by an own one of the same id; then what else is own."""
    ours = {entry.id: entry for entry in own.entries}
    kept = [ours.pop(entry.id, entry) for entry in base.entries]
    return Zoo(own.file, own.source or base.source, (*kept, *ours.values()))


def _presets(content: ZooFileKeys) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    """Name -> words of the specs it is for, and the values."""
    return {name: (tuple(keys.specs), keys.preprocess.given()) for name, keys in content.presets.items()}


def _preset(zoo: Zoo, presets: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]], name: str | None) -> Zoo:
    if name is None or name == OWN:
        return zoo
    if name not in presets:
        known = [OWN, *presets]
        hint = did_you_mean(name, known) or f"It has {', '.join(known)}."
        raise UsageError(f"{zoo.file.name} has no preset {name!r}.", hint)
    words, values = presets[name]
    entries = (
        replace(entry, preprocess={**entry.preprocess, **values})
        if entry.spec is not None and not is_path(entry.spec) and entry.spec.partition(":")[0] in words
        else entry
        for entry in zoo.entries
    )
    return replace(zoo, entries=tuple(entries))
