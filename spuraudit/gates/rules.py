"""The text of a rule, such as `core_accuracy[class=monarch] >= 0.9`: parsing, checking, writing.

    rule     = quantity ( ">=" | "<=" ) number
    quantity = number | "ci_low(" number ")" | "ci_high(" number ")"
    number   = measure | "drop(" measure ")"
    measure  = metric [ "[" key "=" value { "," key "=" value } "]" ]
    value    = "*" | text without , and ] | '"' JSON string '"'

`>` and `<` are refused rather than read as `>=` and `<=`: a gate at a boundary must mean what it says. `ci_low` belongs
to `>=` and `ci_high` to `<=`; the other way round a wide interval, that is little evidence, would help to pass.

`drop(rcs) <= 0.02` limits how far a metric got worse since a baseline run: how far it fell, or rose where less is
better. Its interval is that of the paired change. `ci_high(drop(rcs)) <= 0.02` passes only where the drop is surely
within the limit. `ci_low(drop(rcs)) <= 0.02` fails only where it is surely beyond, so chance does not stop a release;
it is the one limit that little evidence can pass: `min_n` says how much is enough, and the verdict says where the
interval holds the limit.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Literal, NoReturn

from spuraudit.errors import ConfigError, did_you_mean
from spuraudit.record.directions import NEITHER
from spuraudit.record.units import lowest
from spuraudit.record.verdict import Rule

if TYPE_CHECKING:
    from spuraudit.record.scan import Scope

Bound = Literal["point", "ci_low", "ci_high"]
Of = Literal["value", "drop"]

SCOPE_KEYS: tuple[str, ...] = (
    "class", "feature", "group", "donor_class", "target_class", "sigma", "cell", "row", "column", "rows", "columns",
)  # fmt: skip
WILDCARD = "*"
MIN_N = 50
GRAMMAR = """\
METRIC >= NUMBER or METRIC <= NUMBER, for example
  rcs >= 0.2
  core_accuracy[class=monarch] >= 0.9
  feature_drop[class=*,feature=*] <= 0.1   (every class and feature must hold)
  ci_low(rcs[sigma=0.25]) >= 0.2           (lower end of the 95 % interval)
  ci_high(swap_gap[feature=background]) <= 0.1   (upper end)
  drop(core_accuracy) <= 0.02              (how far it fell since the baseline run)
Proportions are 0 to 1, RCS -1 to 1; a name with , ] or " goes into double quotes."""

#: Less of these is better whatever the feature is.
_ONLY_LOW = frozenset({"swap_gap", "swap_pull"})
_KINDS: dict[str, type[float] | type[int]] = {
    "sigma": float, "cell": int, "row": int, "column": int, "rows": int, "columns": int,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_OPERATOR = re.compile(r"[<>=!≤≥]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BARE = re.compile(r"[^,\]]*")


def parse_rule(text: str, *, id: str | None = None, min_n: int = MIN_N) -> Rule:
    """The rule that `text` writes; without `id`, its id is the text in canonical form.

    Raises ConfigError with the text, a caret under the place and the grammar.
    """
    reader = _Reader(text)
    reader.skip_space()
    bound_at = reader.position
    bound, of, metric, scope = _quantity(reader)
    op = _operator(reader)
    reader.skip_space()
    limit_at = reader.position
    limit = _number(reader)
    reader.end()
    if problem := drop_problem(of, metric, op) or bound_problem(of, op, bound):
        reader.fail(problem, at=bound_at)
    if problem := limit_problem(of, metric, op, limit):
        reader.fail(problem, at=limit_at)
    rule = Rule(id=id or "?", metric=metric, scope=scope, op=op, limit=limit, of=of, bound=bound, min_n=min_n)
    return rule if id else rule.model_copy(update={"id": format_rule(rule)})


def format_rule(rule: Rule) -> str:
    """The canonical text: `parse_rule` reads back the same metric, scope, drop, bound, operator and limit."""
    measure = rule.metric + format_scope(rule.scope)
    number = f"drop({measure})" if rule.of == "drop" else measure
    quantity = number if rule.bound == "point" else f"{rule.bound}({number})"
    return f"{quantity} {rule.op} {format_number(rule.limit)}"


def format_scope(scope: Scope) -> str:
    """`[class=monarch,sigma=0.25]`, or an empty string for the whole dataset."""
    if not scope:
        return ""
    return "[" + ",".join(f"{key}={_format_value(value)}" for key, value in scope.items()) + "]"


def format_number(number: float) -> str:
    """Shortest text that reads back as the same number, without a trailing `.0`."""
    return repr(float(number)).removesuffix(".0")


def check_rule(rule: Rule) -> None:
    """Refuse what can only be a mistake in a rule that was not parsed from text. Raises ConfigError."""
    problems = (
        drop_problem(rule.of, rule.metric, rule.op),
        bound_problem(rule.of, rule.op, rule.bound),
        limit_problem(rule.of, rule.metric, rule.op, rule.limit),
        allowance_problem(rule),
    )
    if problem := next(filter(None, problems), None):
        raise ConfigError(f"Gate {rule.id!r} ({format_rule(rule)}): {as_sentence(problem)}", f"A rule is {GRAMMAR}")


def drop_problem(of: Of, metric: str, op: str) -> str | None:
    """Why there can be no such limit on a drop, or None."""
    if of == "drop" and op == ">=":
        return "a drop has an upper limit; write <="
    if of == "drop" and metric in NEITHER:
        return f"{metric} is good neither high nor low, so it has no drop; give it a lower or upper limit"
    return None


def bound_problem(of: Of, op: str, bound: str) -> str | None:
    """Why this end of the interval cannot be asked with this operator, or None."""
    if (op, bound) == (">=", "ci_high"):
        return "ci_high with >= would pass on little evidence; use ci_low"
    if (op, bound) == ("<=", "ci_low") and of == "value":
        return "ci_low with <= would pass on little evidence; use ci_high"
    return None


def limit_problem(of: Of, metric: str, op: str, limit: float) -> str | None:
    """Why the limit can only be a mistake, or None.

    It lies outside the range of what it limits (with the number that was probably meant), it can never fail, or it asks
    for more of what is certainly worse.
    """
    low = 0 if of == "drop" else lowest(metric)
    if low <= limit <= 1:
        return _vacuous(of, metric, op, limit) or _backward(of, metric, op, limit)
    guess = limit / 100
    meant = f"; did you mean {format_number(guess)}?" if abs(limit) > 1 and low <= guess <= 1 else ""
    name = f"a drop of {metric}" if of == "drop" else metric
    return f"{format_number(limit)} is outside {low} to 1, the range of {name}{meant}"


def _vacuous(of: Of, metric: str, op: str, limit: float) -> str | None:
    """A drop of what may be negative may reach 2."""
    end = lowest(metric) if op == ">=" else 1
    if limit != end or (of == "drop" and lowest(metric) < 0):
        return None
    name = f"a drop of {metric}" if of == "drop" else metric
    side = "below" if op == ">=" else "above"
    return f"this can never fail: {name} is never {side} {format_number(limit)}"


def _backward(of: Of, metric: str, op: str, limit: float) -> str | None:
    if of == "drop" or op == "<=" or metric not in _ONLY_LOW or limit <= 0:
        return None
    return (
        f"less {metric} is better, and this asks for at least {format_number(limit)}: it rewards the shortcut; write <="
    )


def allowance_problem(rule: Rule) -> str | None:
    """Why a share of failures cannot be allowed, or None."""
    if rule.allow_fraction and WILDCARD not in rule.scope.values():
        return f"allow_fraction is a share of what {WILDCARD!r} matches, and the scope has none, such as class: '*'"
    return None


def as_sentence(problem: str) -> str:
    """The problem with a full stop, unless it ends in a question ("did you mean 0.2?")."""
    return problem if problem.endswith("?") else f"{problem}."


def scope_value(key: str, value: str) -> str | float | int:
    """A written scope value as the record has it: numbers for sigma, cells and grids, else text. Raises ValueError."""
    kind = _KINDS.get(key)
    if kind is None or value == WILDCARD:
        return value
    number = kind(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _format_value(value: str | float | int) -> str:
    if isinstance(value, int | float):
        return format_number(value)
    plain = value != "" and value == value.strip() and value.isprintable() and value[0] not in "\"'"
    return value if plain and not set(value) & {",", "]"} else json.dumps(value, ensure_ascii=False)


class _Reader:
    """A position in the text of a rule, and errors that point at it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip_space(self) -> None:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """The match of `pattern` here (after white space), or None and nothing is consumed."""
        self.skip_space()
        match = pattern.match(self.text, self.position)
        if match is None or not match.group():
            return None
        self.position = match.end()
        return match.group()

    def take_mark(self, mark: str) -> bool:
        """Whether `mark` stands here (after white space); consumed if so."""
        self.skip_space()
        if not self.text.startswith(mark, self.position):
            return False
        self.position += len(mark)
        return True

    def end(self) -> None:
        self.skip_space()
        rest = self.text[self.position :]
        if rest.startswith("%"):
            self.fail("limits are proportions, not percent: write 0.2 for 20 %")
        if rest.startswith(","):
            self.fail("write numbers with a decimal point")
        if rest:
            self.fail("nothing may follow the number; give one --rule (or one gate) per limit")

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        position = self.position if at is None else at
        shown = "".join(" " if letter.isspace() else letter for letter in self.text)
        raise ConfigError(f"Rule: {as_sentence(problem)}\n  {shown}\n  {' ' * position}^", f"A rule is {GRAMMAR}")


def _quantity(reader: _Reader) -> tuple[Bound, Of, str, Scope]:
    start = reader.position
    name = _metric(reader)
    if not reader.take_mark("("):
        return "point", "value", name, _scope(reader)
    if name == "drop":
        return "point", *_drop(reader)
    if name not in ("ci_low", "ci_high"):
        reader.fail(f"only ci_low(...), ci_high(...) and drop(...) may enclose a metric, not {name}(...)", at=start)
    metric = _metric(reader)
    enclosed = _drop(reader) if metric == "drop" and reader.take_mark("(") else ("value", metric, _scope(reader))
    _close(reader, name)
    return "ci_low" if name == "ci_low" else "ci_high", *enclosed


def _drop(reader: _Reader) -> tuple[Of, str, Scope]:
    metric = _metric(reader)
    scope = _scope(reader)
    _close(reader, "drop")
    return "drop", metric, scope


def _close(reader: _Reader, name: str) -> None:
    if not reader.take_mark(")"):
        reader.fail(f"the ) of {name}( is missing")


def _metric(reader: _Reader) -> str:
    name = reader.take(_NAME)
    if name is None:
        reader.fail("a metric name, such as rcs, is expected here")
    return name


def _scope(reader: _Reader) -> Scope:
    scope: Scope = {}
    if not reader.take_mark("["):
        return scope
    while True:
        reader.skip_space()
        key_at = reader.position
        key = reader.take(_NAME)
        if key is None:
            reader.fail("a scope key, such as class, is expected here")
        if key not in SCOPE_KEYS:
            known = f"Known are {', '.join(SCOPE_KEYS)}"
            reader.fail(f"{key!r} is not a scope key. {did_you_mean(key, SCOPE_KEYS) or known}", at=key_at)
        if key in scope:
            reader.fail(f"{key!r} is given twice", at=key_at)
        if not reader.take_mark("="):
            reader.fail(f"= is expected after {key}")
        scope[key] = _value(reader, key)
        if reader.take_mark("]"):
            return scope
        if not reader.take_mark(","):
            reader.fail(", or ] is expected here")


def _value(reader: _Reader, key: str) -> str | float | int:
    reader.skip_space()
    start = reader.position
    if reader.text.startswith('"', start):
        quoted = reader.take(_QUOTED)
        if quoted is None:
            reader.fail('the closing " is missing')
        try:
            value = str(json.loads(quoted, strict=False))
        except ValueError:
            reader.fail("this string has an unknown escape", at=start)
    else:
        if reader.text.startswith("'", start):
            reader.fail("use double quotes")
        value = (reader.take(_BARE) or "").strip()
        if not value:
            reader.fail(f"a value for {key} is expected here; * means every one", at=start)
    try:
        return scope_value(key, value)
    except ValueError:
        reader.fail(f"{key} takes a number or *, not {value!r}", at=start)


def _operator(reader: _Reader) -> Literal[">=", "<="]:
    reader.skip_space()
    start = reader.position
    op = reader.take(_OPERATOR)
    if op == ">=":
        return ">="
    if op == "<=":
        return "<="
    if op in (">", "≥", "=>"):
        reader.fail(f"{op} is not used; write >=", at=start)
    if op in ("<", "≤", "=<"):
        reader.fail(f"{op} is not used; write <=", at=start)
    return reader.fail(">= or <= is expected here", at=start)


def _number(reader: _Reader) -> float:
    text = reader.take(_NUMBER)
    if text is None:
        reader.fail("a number is expected here")
    return float(text)
