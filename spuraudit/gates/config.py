"""`.spuraudit.yaml` or `[tool.spuraudit]`: where it is, and what it says. Keys beside gates are for the scan.

version: 1
model: models/resnet50.pt          # a file (relative to this one) or timm:NAME
data: salient1m                    # a registered name or a folder
data_dir: /datasets/salient1m
locations: {imagenet: /datasets/imagenet}
audits: {noise: {sigma: [0.25]}}   # or a list of names
seed: 0
gates:
  - {id: rcs-floor, metric: rcs, min: 0.2, bound: ci_low}
  - {metric: feature_drop, class: "*", feature: "*", max: 0.1, min_n: 30}
  - clean_accuracy[group=*] >= 0.8
  - {metric: core_accuracy, class: "*", min: 0.6, allow_fraction: 0.05, severity: warn}
  - {id: no-regression, metric: core_accuracy, max_drop: 0.02, bound: ci_low}
ignores:
  - {gate: rcs-floor, sigma: 0.5, reason: "TEAM-17: new training data", expires: 2027-01-31}
baseline: runs/released            # a run (for max_drop), a file of accepted findings, or a list of both
report: {title: Nightly, logo: ci/logo.svg, notes: ci/notes.md, redact_images: true, max_report_mb: 5}
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spuraudit.errors import ConfigError
from spuraudit.gates import pyproject
from spuraudit.gates.config_file import ConfigFile
from spuraudit.gates.rules import (
    SCOPE_KEYS,
    WILDCARD,
    allowance_problem,
    as_sentence,
    bound_problem,
    drop_problem,
    format_rule,
    limit_problem,
    parse_rule,
    scope_value,
)
from spuraudit.record.verdict import Ignore, Rule
from spuraudit.record.yaml_lines import load, parse

if TYPE_CHECKING:
    from spuraudit.gates.config_file import GateEntry, IgnoreEntry, ReportEntry, ScopeKeys
    from spuraudit.gates.rules import Of
    from spuraudit.record.scan import Scope
    from spuraudit.record.yaml_lines import YamlDocument

FILE_NAME = ".spuraudit.yaml"
_UNREAD_NAME = ".spuraudit.yml"
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPEC_PREFIX = re.compile(r"[a-z_-]{2,}:")  # timm:, open_clip:, hf-hub:; a drive letter has one character
_FOLDER_SPEC = "local-dir:"


@dataclass(frozen=True)
class Report:
    """How the pages of a scan, a zoo run or a fix are handed on; None: as without a config."""

    title: str | None = None
    logo: Path | None = None
    notes: Path | None = None
    redact_images: bool = False
    max_report_mb: float | None = None


@dataclass(frozen=True)
class Config:
    """What a config file says; paths are absolute or relative to the working directory, never to the file."""

    file: Path
    gates: tuple[Rule, ...] = ()
    model: str | None = None
    data: str | None = None
    data_dir: Path | None = None
    locations: dict[str, Path] = field(default_factory=dict)
    audits: dict[str, dict[str, Any]] | None = None
    seed: int | None = None
    ignores: tuple[Ignore, ...] = ()
    baseline: tuple[Path, ...] = ()
    report: Report | None = None
    gates_line: int | None = None
    """Of the key `gates`, where it is written: what it holds may be nothing."""


def find_config(start: Path) -> Path | None:
    """The nearest `.spuraudit.yaml` from `start` up to the root of its git repository.

    Where there is none, the nearest pyproject.toml with a `[tool.spuraudit]`. Outside a repository only `start` itself
    is searched: gates must not come from a stray file far above. Raises ConfigError for a pyproject.toml that may have
    such a table and cannot be read, and for a file on the way that looks like a config and would be passed over.
    """
    folders = _searched(start)
    for folder in folders:
        _refuse_unread(folder)
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    projects = (folder / pyproject.FILE_NAME for folder in folders)
    return next((file for file in projects if file.is_file() and pyproject.has_table(file)), None)


def unread_tables(start: Path, used: Path) -> list[Path]:
    """Files with a `[tool.spuraudit]` as near to `start` as the `.spuraudit.yaml` that is used, or nearer: not read."""
    if used.suffix == ".toml":
        return []
    folders = _searched(start)
    near = folders[: folders.index(used.resolve().parent) + 1] if used.resolve().parent in folders else []
    return [folder / pyproject.FILE_NAME for folder in near if _has_table(folder / pyproject.FILE_NAME)]


def _has_table(file: Path) -> bool:
    try:
        return file.is_file() and pyproject.has_table(file)
    except ConfigError:  # of another tool's making, and not asked for
        return False


def _searched(start: Path) -> list[Path]:
    """The folders in which a config may lie, nearest first."""
    start = start.resolve()
    upwards = [start, *start.parents]
    return upwards[: upwards.index(_repository(start) or start) + 1]


def _refuse_unread(folder: Path) -> None:
    """Raises ConfigError: gates that somebody wrote must not be passed over in silence."""
    file, other = folder / FILE_NAME, folder / _UNREAD_NAME
    if os.path.lexists(other):
        raise ConfigError(f"{other}: this name is not read.", f"Rename it to {FILE_NAME}, or remove it.")
    if os.path.lexists(file) and not file.is_file():
        what = "a link to a file that is not there" if file.is_symlink() else "no file"
        raise ConfigError(f"{file}: this is {what}.", "Restore the file, or remove what has its name.")


def config_name(file: Path) -> str:
    """The file relative to the root of its git repository, with forward slashes; outside one, its name alone."""
    file = file.resolve()
    root = _repository(file.parent)
    return file.name if root is None else file.relative_to(root).as_posix()


def _repository(folder: Path) -> Path | None:
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)


def load_config(path: Path) -> Config:
    """Read a config file; one whose name ends in .toml is a pyproject.toml.

    Raises ConfigError naming file and line: malformed, unknown keys, impossible gates and ignores.
    """
    document = pyproject.load_pyproject(path) if path.suffix == ".toml" else load(path)
    content = parse(document, ConfigFile)
    base = path.parent
    return Config(
        file=path,
        gates=_rules(document, content.gates or []),
        model=_path_or_name(base, content.model),
        data=_path_or_name(base, content.data),
        data_dir=None if content.data_dir is None else _path(base, content.data_dir),
        locations={name: _path(base, place) for name, place in (content.locations or {}).items()},
        audits=_audits(document, content.audits),
        seed=content.seed,
        ignores=tuple(_ignore(document, n, entry) for n, entry in enumerate(content.ignores or [])),
        baseline=tuple(_path(base, place) for place in content.baseline or []),
        report=None if content.report is None else _report(base, content.report),
        gates_line=document.line("gates") if "gates" in content.model_fields_set else None,
    )


def _report(base: Path, entry: ReportEntry) -> Report:
    return Report(
        title=entry.title,
        logo=None if entry.logo is None else _path(base, entry.logo),
        notes=None if entry.notes is None else _path(base, entry.notes),
        redact_images=entry.redact_images,
        max_report_mb=entry.max_report_mb,
    )


def _rules(document: YamlDocument, gates: list[GateEntry]) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    lines: dict[str, int] = {}
    for number, gate in enumerate(gates):
        rule = _rule(document, ("gates", number), gate)
        if rule.id in lines:
            problem = f"the id {rule.id!r} is already used in line {lines[rule.id]}."
            raise document.error(("gates", number), problem, "Give each gate its own id.")
        lines[rule.id] = document.line("gates", number)
        rules.append(rule)
    return tuple(rules)


def _rule(document: YamlDocument, path: tuple[str, int], gate: GateEntry) -> Rule:
    _refuse_blank(document, path, gate)
    if gate.rule is not None:
        return _text_rule(document, path, gate.rule, gate)
    if gate.metric is None or not _METRIC.fullmatch(gate.metric):
        wrong = "`metric` is missing." if gate.metric is None else f"{gate.metric!r} is not the name of a metric."
        raise document.error(
            (*path, "metric"), wrong, "Write a metric, such as rcs, and its scope as keys of their own."
        )
    op, limit, of = _limit(document, path, gate)
    written = "max_drop" if of == "drop" else "min" if op == ">=" else "max"
    for key, problem in (
        (written, drop_problem(of, gate.metric, op) or limit_problem(of, gate.metric, op, limit)),
        ("bound", bound_problem(of, op, gate.bound)),
    ):
        if problem:
            raise document.error((*path, key), as_sentence(problem))
    rule = Rule(
        id=gate.id or "?",
        metric=gate.metric,
        scope=_scope(document, path, gate),
        op=op,
        limit=limit,
        of=of,
        bound=gate.bound,
        min_n=gate.min_n,
        severity=gate.severity,
        allow_fraction=gate.allow_fraction,
        line=document.line(*path),
    )
    _check_allowance(document, path, rule)
    return rule if gate.id else rule.model_copy(update={"id": format_rule(rule)})


def _limit(document: YamlDocument, path: tuple[str, int], gate: GateEntry) -> tuple[Literal[">=", "<="], float, Of]:
    given: list[tuple[Literal[">=", "<="], float, Of]] = []
    if gate.min is not None:
        given.append((">=", gate.min, "value"))
    if gate.max is not None:
        given.append(("<=", gate.max, "value"))
    if gate.max_drop is not None:
        given.append(("<=", gate.max_drop, "drop"))
    if len(given) == 1:
        return given[0]
    raise document.error(
        path,
        "exactly one of `min`, `max` and `max_drop` is needed.",
        "For a band, or a floor and a drop, write two gates.",
    )


def _text_rule(document: YamlDocument, path: tuple[str, int], text: str, gate: GateEntry) -> Rule:
    beside = ("id", "min_n", "severity", "allow_fraction")
    if others := gate.model_fields_set - {"rule", *beside}:
        wrong = f"a rule text says it all; {', '.join(sorted(others)).replace('class_', 'class')} cannot be added."
        raise document.error((*path, "rule"), wrong, f"Only {', '.join(beside)} go with `rule`.")
    try:
        rule = parse_rule(text, id=gate.id, min_n=gate.min_n)
    except ConfigError as error:
        raise document.error(path, error.message, error.hint) from error
    added = {"severity": gate.severity, "allow_fraction": gate.allow_fraction, "line": document.line(*path)}
    rule = rule.model_copy(update=added)
    _check_allowance(document, path, rule)
    return rule


def _check_allowance(document: YamlDocument, path: tuple[str, int], rule: Rule) -> None:
    if problem := allowance_problem(rule):
        raise document.error((*path, "allow_fraction"), as_sentence(problem))


def _ignore(document: YamlDocument, number: int, entry: IgnoreEntry) -> Ignore:
    path = ("ignores", number)
    _refuse_blank(document, path, entry)
    scope = _scope(document, path, entry)
    if entry.gate is None and entry.metric is None and not scope:
        raise document.error(
            path, "this would ignore every failure.", "Name a gate, a metric, or a class, feature or group."
        )
    return Ignore(
        gate=entry.gate,
        metric=entry.metric,
        scope=scope,
        reason=entry.reason,
        expires=entry.expires,
        line=document.line(*path),
    )


def _refuse_blank(document: YamlDocument, path: tuple[str, int], entry: ScopeKeys) -> None:
    """A key without a value would mean what leaving it out means: the whole dataset, every gate, for ever."""
    for name in sorted(entry.model_fields_set):
        if getattr(entry, name) is None:
            hint = f"Write a value ({WILDCARD!r} means every one of a scope; a name such as 'null' needs quotes)"
            raise document.error(
                (*path, name.removesuffix("_")), "there is no value.", f"{hint}, or leave the key out."
            )


def _scope(document: YamlDocument, path: tuple[str, int], entry: ScopeKeys) -> Scope:
    scope: Scope = {}
    for key in SCOPE_KEYS:
        value: Any = getattr(entry, "class_" if key == "class" else key)
        if value is None:
            continue
        written = value if isinstance(value, str) else repr(value)  # True becomes text that is no number
        try:
            scope[key] = scope_value(key, written)
        except ValueError:
            raise document.error((*path, key), f"expected a number or {WILDCARD!r}, found {value!r}.") from None
    return scope


def _audits(document: YamlDocument, value: Any) -> dict[str, dict[str, Any]] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    if not isinstance(value, dict):
        raise document.error(("audits",), "expected a list of audit names, or a mapping of names to parameters.")
    for name, params in value.items():
        if params is not None and not isinstance(params, dict):
            raise document.error(("audits", name), "expected a mapping of parameters, such as {trials: 5}.")
    return {str(name): params or {} for name, params in value.items()}


def _path(base: Path, text: str) -> Path:
    return base / Path(text).expanduser()


def _path_or_name(base: Path, text: str | None) -> str | None:
    """A spec such as timm:resnet50 and a registered name stay; what lies beside the config file becomes a path."""
    if text is not None and text.startswith(_FOLDER_SPEC):
        return f"{_FOLDER_SPEC}{_path(base, text.removeprefix(_FOLDER_SPEC))}"
    if text is None or _SPEC_PREFIX.match(text):
        return text
    path = _path(base, text)
    is_path = "/" in text or "\\" in text or text.startswith((".", "~")) or path.exists()
    return str(path) if is_path else text
