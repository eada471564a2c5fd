"""The page: views of the record put into the templates of templates/. Same run folder, same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spuraudit.report.embed import embedded_record, policy, script_json
from spuraudit.report.evidence import Evidence, gather
from spuraudit.report.formats import count
from spuraudit.report.numbers import Numbers
from spuraudit.report.pictures import Pictures
from spuraudit.report.published import PublishedModel, published_models
from spuraudit.report.views.classes import classes_view
from spuraudit.report.views.coverage import coverage
from spuraudit.report.views.headline import headline
from spuraudit.report.views.key_numbers import key_groups
from spuraudit.report.views.patches import patch_view
from spuraudit.report.views.provenance import command_line, provenance
from spuraudit.report.views.sigma import sigma_view
from spuraudit.report.views.suspects import suspects_view
from spuraudit.report.views.swap import disagreement, swap_view
from spuraudit.report.views.zoo import zoo_view
from spuraudit.resources import templates_dir

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Section:
    """An entry of the contents; `template` is left out where there is nothing to show."""

    id: str
    title: str
    template: str
    shown: bool = True


@dataclass(frozen=True)
class Page:
    """What the templates get."""

    title: str
    sections: list[Section]
    views: dict[str, Any] = field(default_factory=dict)


def render(run: Path, *, title: str | None = None, charts: bool = True) -> str:
    """The report of a run folder as one HTML text. `charts` adds plotly (4.8 MB) on top of the drawn charts.

    Raises RunError where the folder holds no finished run.
    """
    return render_evidence(gather(run), title=title, charts=charts)


def render_evidence(
    evidence: Evidence,
    *,
    title: str | None = None,
    charts: bool = True,
    published: list[PublishedModel] | None = None,
) -> str:
    """The page as a pure function of record, verdict, images and the published table."""
    views = _views(evidence, published_models() if published is None else published)
    shown = title or f"{evidence.record.model.name} on {evidence.record.data.name}"
    page = Page(shown, [section for section in _sections(views) if section.shown], views)
    environment = _environment()
    scripts = _scripts(views) if charts else []
    scripts.append(_source("script/report.js"))
    return environment.get_template("report.html.j2").render(
        page=page,
        record=evidence.record,
        csp=policy(scripts),
        style=Markup(environment.get_template("style/report.css.j2").render()),
        scripts=[Markup(script) for script in scripts],
        chart_data=script_json(_chart_data(views)) if charts else None,
        **views,
    )


def _views(evidence: Evidence, published: list[PublishedModel]) -> dict[str, Any]:
    record = evidence.record
    numbers = Numbers(record.measurements)
    embedded, left_out = embedded_record(record)
    return {
        "head": headline(record, evidence.verdict),
        "key_groups": key_groups(numbers),
        "suspects": suspects_view(record, Pictures(evidence.images)),
        "disagreement": disagreement(record, numbers),
        "swap": swap_view(record, numbers),
        "sigma": sigma_view(numbers),
        "zoo": zoo_view(record, numbers, published),
        "patches": patch_view(record, numbers),
        "classes": classes_view(record, numbers),
        "coverage": coverage(record),
        "ran": [audit.name for audit in record.audits if audit.status == "run"],
        "facts": provenance(record),
        "command": command_line(record),
        "embedded": embedded,
        "embedded_left_out": left_out,
    }


def _sections(views: dict[str, Any]) -> list[Section]:
    return [
        Section("numbers", "Key numbers", "key_numbers", bool(views["key_groups"])),
        Section("suspects", "Suspected spurious features", "suspects"),
        Section("disagreement", "Why noise and swap disagree", "disagreement", views["disagreement"] is not None),
        Section("swap", "Region swap", "swap", views["swap"] is not None),
        Section("sigma", "Accuracy and noise level", "sigma", views["sigma"] is not None),
        Section("zoo", "Among published models", "zoo", views["zoo"] is not None),
        Section("patches", "Patch swap", "patches", views["patches"] is not None),
        Section("classes", "Classes", "classes"),
        Section("coverage", "What was not measured", "coverage"),
        Section("method", "Method and limits", "method"),
        Section("provenance", "Provenance", "provenance"),
        Section("record", "The record", "record"),
    ]


def _chart_data(views: dict[str, Any]) -> dict[str, Any]:
    return {name: views[name].data for name in ("zoo", "patches") if views[name] is not None}


def _scripts(views: dict[str, Any]) -> list[str]:
    """plotly's bundle, only where a chart will use it."""
    if not _chart_data(views):
        return []
    from plotly.offline import get_plotlyjs

    return [str(get_plotlyjs())]


def _source(name: str) -> str:
    return (templates_dir() / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    """Everything is escaped, always: class and file names come from users."""
    environment = Environment(
        loader=FileSystemLoader(templates_dir()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count_of"] = count
    return environment
