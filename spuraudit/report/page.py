"""The page: views of the record put into the templates of templates/. Same run folder, same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spuraudit.report.embed import embedded_record, policy, script_json
from spuraudit.report.evidence import Evidence, gather
from spuraudit.report.numbers import Numbers
from spuraudit.report.pictures import Pictures
from spuraudit.report.published import PublishedModel, published_models
from spuraudit.report.templating import Page, Section, environment, source
from spuraudit.report.views.classes import classes_view
from spuraudit.report.views.coverage import coverage
from spuraudit.report.views.headline import headline
from spuraudit.report.views.key_numbers import key_groups
from spuraudit.report.views.patches import patch_view
from spuraudit.report.views.provenance import command_line, provenance
from spuraudit.report.views.sigma import sigma_view
from spuraudit.report.views.suspects import suspects_view
from spuraudit.report.views.swap import disagreement, swap_view
from spuraudit.report.views.zoo import among_published, among_zoo, zoo_view
from spuraudit.report.zoo_evidence import ZooEvidence, gather_zoo

if TYPE_CHECKING:
    from pathlib import Path


def render(run: Path, *, title: str | None = None, charts: bool = True, against: Path | None = None) -> str:
    """The report of a run folder as one HTML text. `charts` adds plotly (4.8 MB) on top of the drawn charts.

    `against`: folder of a zoo run, whose models take the place of the published ones.
    Raises RunError where a folder holds no finished run.
    """
    zoo = gather_zoo(against) if against is not None else None
    return render_evidence(gather(run), title=title, charts=charts, zoo=zoo)


def render_evidence(
    evidence: Evidence,
    *,
    title: str | None = None,
    charts: bool = True,
    published: list[PublishedModel] | None = None,
    zoo: ZooEvidence | None = None,
) -> str:
    """The page as a pure function of record, verdict, images, and the models beside: the published ones or a zoo's."""
    views = _views(evidence, published_models() if published is None and zoo is None else published or [], zoo)
    shown = title or f"{evidence.record.model.name} on {evidence.record.data.name}"
    page = Page(shown, [section for section in _sections(views) if section.shown])
    made = environment()
    scripts = _scripts(views) if charts else []
    scripts.append(source("script/report.js"))
    return made.get_template("report.html.j2").render(
        page=page,
        record=evidence.record,
        csp=policy(scripts),
        style=Markup(made.get_template("style/report.css.j2").render()),
        scripts=[Markup(script) for script in scripts],
        chart_data=script_json(_chart_data(views)) if charts else None,
        **views,
    )


def _views(evidence: Evidence, published: list[PublishedModel], zoo: ZooEvidence | None) -> dict[str, Any]:
    record = evidence.record
    numbers = Numbers(record.measurements)
    embedded, left_out = embedded_record(record)
    company = among_published(record, published) if zoo is None else among_zoo(record, numbers, zoo)
    return {
        "head": headline(record, evidence.verdict),
        "key_groups": key_groups(numbers),
        "suspects": suspects_view(record, Pictures(evidence.images)),
        "disagreement": disagreement(record, numbers),
        "swap": swap_view(record, numbers),
        "sigma": sigma_view(numbers),
        "zoo": zoo_view(record, numbers, company),
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
    zoo = views["zoo"]
    return [
        Section("numbers", "Key numbers", "key_numbers", bool(views["key_groups"])),
        Section("suspects", "Suspected spurious features", "suspects"),
        Section("disagreement", "Why noise and swap disagree", "disagreement", views["disagreement"] is not None),
        Section("swap", "Region swap", "swap", views["swap"] is not None),
        Section("sigma", "Accuracy and noise level", "sigma", views["sigma"] is not None),
        Section("zoo", zoo.company.title if zoo else "", "zoo", zoo is not None),
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
