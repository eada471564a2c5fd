"""All methods by name, and their options as typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from spuraudit.errors import FixError, UsageError, did_you_mean
from spuraudit.fix.methods.corm import Corm
from spuraudit.fix.methods.crayon import Crayon, CrayonAttention, CrayonPruning
from spuraudit.fix.methods.dfr import Dfr
from spuraudit.fix.methods.erm import Erm
from spuraudit.fix.methods.gradcam_rrr import GradcamRrr
from spuraudit.fix.methods.jtt import Jtt
from spuraudit.fix.methods.rrr import Rrr
from spuraudit.fix.methods.scgs import Scgs
from spuraudit.fix.methods.swap import Swap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.fix.job import Job
    from spuraudit.fix.methods.base import Method

#: In the order in which `auto` tries them: what repaired most often first.
_KINDS = (Swap, Dfr, Jtt, Scgs, CrayonAttention, Crayon, CrayonPruning, Rrr, GradcamRrr, Corm, Erm)
METHODS: dict[str, type[Method]] = {kind.name: kind for kind in _KINDS}


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """A method with its options, the others at their defaults. Raises UsageError naming what is wrong."""
    if name not in METHODS:
        raise UsageError(
            f"There is no method {name!r}.", did_you_mean(name, METHODS) or f"Use one of {', '.join(METHODS)}, or auto."
        )
    kind = METHODS[name]
    known = kind.options_type.model_fields
    try:
        return kind(kind.options_type.model_validate(dict(options or {})))
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"{name} has no option {option!r}.",
                did_you_mean(option, known) or (f"It has: {', '.join(known)}." if known else "It has none."),
            ) from error
        raise UsageError(f"{name}: {option}: {first['msg']}.", f"See spuraudit fix --explain {name}.") from error


def check_needs(method: Method, job: Job) -> None:
    """Raises FixError where the data lack what the method needs, naming the methods that would work."""
    lack = method.lacks(job)
    if lack is not None:
        raise FixError(f"{method.name} cannot begin: {lack}", works_instead(job, method.name))


def works_instead(job: Job, *but: str) -> str:
    """'These would work here: swap, corm.' but: methods that would not."""
    others = [other for other in possible(job) if other not in (*but, "erm")]
    return f"These would work here: {', '.join(others)}." if others else "No method but erm can work with these data."


def possible(job: Job) -> list[str]:
    """Names of the methods whose needs the data meet, in the order of METHODS."""
    return [name for name, kind in METHODS.items() if kind(kind.options_type()).lacks(job) is None]
