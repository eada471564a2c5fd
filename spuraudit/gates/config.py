"""`.spuraudit.yaml`: where it is, and what it says. The gates are judged here; the other keys are for the scan.

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
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spuraudit.errors import ConfigError
from spuraudit.gates.rules import (
    MIN_N,
    SCOPE_KEYS,
    WILDCARD,
    as_sentence,
    bound_problem,
    format_rule,
    limit_problem,
    parse_rule,
    scope_value,
)
from spuraudit.record.verdict import Rule
from spuraudit.record.yaml_lines import YamlDocument, load, parse

if TYPE_CHECKING:
    from spuraudit.record.scan import Scope

FILE_NAME = ".spuraudit.yaml"
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPEC_PREFIX = re.compile(r"[a-z_]{2,}:")  # timm:, open_clip:, zoo:; a drive letter has one character


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


def find_config(start: Path) -> Path | None:
    """The nearest `.spuraudit.yaml` from `start` up to the root of its git repository.

    Outside a repository only `start` itself is searched: gates must not come from a stray file far above.
    """
    start = start.resolve()
    upwards = [start, *start.parents]
    root = next((folder for folder in upwards if (folder / ".git").exists()), start)
    for folder in upwards[: upwards.index(root) + 1]:
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def load_config(path: Path) -> Config:
    """Read a config file. Raises ConfigError naming file and line: malformed YAML, unknown keys, impossible gates."""
    document = load(path)
    content = parse(document, _File)
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
    )


class _Strict(BaseModel):
    # Strict: `min: yes` is a boolean in YAML and would otherwise become the limit 1.
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Gate(_Strict):
    rule: str | None = None
    id: str | None = None
    metric: str | None = None
    min: float | None = None
    max: float | None = None
    bound: Literal["point", "ci_low", "ci_high"] = "point"
    min_n: int = Field(default=MIN_N, ge=1)
    class_: str | None = Field(default=None, alias="class")
    feature: str | None = None
    group: str | None = None
    donor_class: str | None = None
    target_class: str | None = None
    sigma: Any = None
    cell: Any = None
    row: Any = None
    column: Any = None
    rows: Any = None
    columns: Any = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"rule": value} if isinstance(value, str) else value


class _File(_Strict):
    version: Literal[1] = 1
    model: str | None = None
    data: str | None = None
    data_dir: str | None = None
    locations: dict[str, str] | None = None
    audits: Any = None
    seed: int | None = None
    gates: list[_Gate] | None = None


def _rules(document: YamlDocument, gates: list[_Gate]) -> tuple[Rule, ...]:
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


def _rule(document: YamlDocument, path: tuple[str, int], gate: _Gate) -> Rule:
    if gate.rule is not None:
        return _text_rule(document, path, gate.rule, gate)
    if gate.metric is None or not _METRIC.fullmatch(gate.metric):
        wrong = "`metric` is missing." if gate.metric is None else f"{gate.metric!r} is not the name of a metric."
        raise document.error(
            (*path, "metric"), wrong, "Write a metric, such as rcs, and its scope as keys of their own."
        )
    op, limit = _limit(document, path, gate)
    if problem := limit_problem(gate.metric, limit):
        raise document.error((*path, "min" if op == ">=" else "max"), as_sentence(problem))
    if problem := bound_problem(op, gate.bound):
        raise document.error((*path, "bound"), as_sentence(problem))
    rule = Rule(
        id=gate.id or "?",
        metric=gate.metric,
        scope=_scope(document, path, gate),
        op=op,
        limit=limit,
        bound=gate.bound,
        min_n=gate.min_n,
    )
    return rule if gate.id else rule.model_copy(update={"id": format_rule(rule)})


def _limit(document: YamlDocument, path: tuple[str, int], gate: _Gate) -> tuple[Literal[">=", "<="], float]:
    if gate.min is not None and gate.max is None:
        return ">=", gate.min
    if gate.max is not None and gate.min is None:
        return "<=", gate.max
    raise document.error(path, "exactly one of `min` and `max` is needed.", "For a band, write two gates.")


def _text_rule(document: YamlDocument, path: tuple[str, int], text: str, gate: _Gate) -> Rule:
    if others := gate.model_fields_set - {"rule", "id", "min_n"}:
        wrong = f"a rule text says it all; {', '.join(sorted(others)).replace('class_', 'class')} cannot be added."
        raise document.error((*path, "rule"), wrong, "Only id and min_n go with `rule`.")
    try:
        return parse_rule(text, id=gate.id, min_n=gate.min_n)
    except ConfigError as error:
        raise document.error(path, error.message, error.hint) from error


def _scope(document: YamlDocument, path: tuple[str, int], gate: _Gate) -> Scope:
    scope: Scope = {}
    for key in SCOPE_KEYS:
        value: Any = getattr(gate, "class_" if key == "class" else key)
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
    if text is None or _SPEC_PREFIX.match(text):
        return text
    path = _path(base, text)
    is_path = "/" in text or "\\" in text or text.startswith((".", "~")) or path.exists()
    return str(path) if is_path else text
