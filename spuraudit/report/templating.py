"""The templates of templates/, and what every page gives them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spuraudit.report.charts.colour import heat_rules
from spuraudit.report.formats import count
from spuraudit.resources import templates_dir

_JOINTS = re.compile(r"(?<=[_./:\[=])(?=\w)")


@dataclass(frozen=True)
class Section:
    """An entry of the contents; `template` is left out where there is nothing to show."""

    id: str
    title: str
    template: str
    shown: bool = True


@dataclass(frozen=True)
class Page:
    """What the templates get. `opening`: what the contents call the band at the top, whose id is `verdict`.

    `label`: the outcome in a word, for the title of the window.
    """

    title: str
    sections: list[Section]
    opening: str = "Verdict"
    label: str | None = None


def source(name: str) -> str:
    """A file of templates/ as it is."""
    return (templates_dir() / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Everything is escaped, always: class and file names come from users."""
    made = Environment(
        loader=FileSystemLoader(templates_dir()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["count_of"] = count
    made.filters["breaks"] = breaks
    made.globals["heat_rules"] = heat_rules
    return made


def breaks(name: str) -> Markup:
    """A name that a narrow column may break after `_`, `.`, `/`, `:`, `[` and `=`, and elsewhere only where it must."""
    return Markup("<wbr>").join(_JOINTS.split(name))
