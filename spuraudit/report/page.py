"""The page: views of the record put into the templates of templates/. Same run folder and edition, same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spuraudit.report.collecting import collector_paused
from spuraudit.report.edition import Edition
from spuraudit.report.embed import embedded_record, script_json
from spuraudit.report.evidence import Evidence, gather
from spuraudit.report.fitting import Fit, fitted, ladder
from spuraudit.report.layout import compose, notes_section
from spuraudit.report.numbers import Numbers
from spuraudit.report.parts import Parts
from spuraudit.report.pictures import Pictures
from spuraudit.report.published import PublishedModel, published_models
from spuraudit.report.templating import Page, Section
from spuraudit.report.views.classes import classes_view
from spuraudit.report.views.coverage import coverage
from spuraudit.report.views.headline import headline
from spuraudit.report.views.key_numbers import key_groups
from spuraudit.report.views.patches import patch_view
from spuraudit.report.views.provenance import command_line, provenance, seen
from spuraudit.report.views.sharing import Sharing
from spuraudit.report.views.sigma import sigma_view
from spuraudit.report.views.suspects import suspects_view
from spuraudit.report.views.swap import composites, disagreement, swap_view
from spuraudit.report.views.zoo import ZooView, among_published, among_zoo, zoo_view
from spuraudit.report.zoo_evidence import ZooEvidence, gather_zoo

if TYPE_CHECKING:
    from pathlib import Path

    from markupsafe import Markup


def render(
    run: Path,
    *,
    title: str | None = None,
    charts: bool = True,
    against: Path | None = None,
    edition: Edition | None = None,
    parts: Parts | None = None,
) -> str:
    """The report of a run folder as one HTML text. `charts` adds plotly (4.8 MB) on top of the drawn charts.

    `against`: folder of a zoo run, whose models take the place of the published ones. `parts`: takes what lies beside
    the page, which then has no scripts; None: everything is inside.
    Raises RunError where a folder holds no finished run, UsageError where the edition allows too few bytes.
    """
    zoo = gather_zoo(against) if against is not None else None
    with collector_paused():
        return render_evidence(gather(run), title=title, charts=charts, zoo=zoo, edition=edition, parts=parts)


def render_evidence(
    evidence: Evidence,
    *,
    title: str | None = None,
    charts: bool = True,
    published: list[PublishedModel] | None = None,
    zoo: ZooEvidence | None = None,
    edition: Edition | None = None,
    parts: Parts | None = None,
) -> str:
    """The page as a pure function of record, verdict, images, and the models beside: the published ones or a zoo's."""
    edition, parts = edition or Edition(), parts or Parts()
    models = published_models() if published is None and zoo is None else published or []
    shown = title or f"{evidence.record.model.name} on {evidence.record.data.name}"
    maker = _Maker(evidence, zoo, models, edition, parts, shown)
    steps = ladder(charts=charts and not parts.beside, pictures=bool(evidence.images) and not edition.redact)
    return fitted(lambda fit: maker.draw(fit, fit.said(steps[0], edition.most)), steps, edition.most, parts)


class _Maker:
    """Draws one page several times, smaller each time; what does not depend on its size is made once."""

    def __init__(
        self,
        evidence: Evidence,
        zoo: ZooEvidence | None,
        published: list[PublishedModel],
        edition: Edition,
        parts: Parts,
        title: str,
    ) -> None:
        record = evidence.record
        numbers = Numbers(record.measurements)
        company = among_published(record, published) if zoo is None else among_zoo(record, numbers, zoo)
        self._record, self._title = record, title
        self._sharing = Sharing(record, zoo)
        self._edition, self._parts = edition, parts
        self._pictures = Pictures(evidence.images, withheld=edition.redact, parts=parts)
        self._views = _views(evidence, numbers, zoo_view(record, numbers, company))
        self._embedded: dict[int, tuple[Markup, dict[str, int]]] = {}

    def draw(self, fit: Fit, given_up: list[str]) -> str:
        """The page with what a fit allows; `given_up` says what was left out for it."""
        views = {**self._views, **self._fitting(fit), "given_up": given_up, "record": self._record}
        views["chart_data"] = script_json(_chart_data(views)) if fit.charts else None
        sections = [section for section in _sections(views, self._edition) if section.shown]
        return compose(
            "report.html.j2",
            Page(self._title, sections, label=views["head"].label),
            views,
            edition=self._edition,
            parts=self._parts,
            library=_library(views) if fit.charts else "",
        )

    def _fitting(self, fit: Fit) -> dict[str, Any]:
        """The views that depend on the size."""
        record, pictures = self._record, self._pictures
        if fit.record not in self._embedded:
            self._embedded[fit.record] = embedded_record(record, fit.record)
        embedded, left_out = self._embedded[fit.record]
        name = "scan.reduced.json" if left_out else "scan.json"
        beside = self._parts.file(name, "application/json", embedded.encode()) if self._parts.beside else None
        return {
            "suspects": suspects_view(record, pictures, fit, self._sharing),
            "composites": composites(record, pictures, fit),
            "seen": seen(record, pictures, fit),
            "embedded": embedded,
            "embedded_left_out": left_out,
            "record_file": beside,
        }


def _views(evidence: Evidence, numbers: Numbers, zoo: ZooView | None) -> dict[str, Any]:
    record = evidence.record
    return {
        "head": headline(record, evidence.verdict),
        "key_groups": key_groups(numbers, zoo),
        "disagreement": disagreement(record, numbers),
        "swap": swap_view(record, numbers),
        "sigma": sigma_view(numbers),
        "zoo": zoo,
        "patches": patch_view(record, numbers),
        "classes": classes_view(record, numbers),
        "coverage": coverage(record),
        "ran": [audit.name for audit in record.audits if audit.status == "run"],
        "facts": provenance(record),
        "command": command_line(record),
    }


def _sections(views: dict[str, Any], edition: Edition) -> list[Section]:
    zoo = views["zoo"]
    return [
        Section("numbers", "Key numbers", "key_numbers", bool(views["key_groups"])),
        notes_section(edition),
        Section("suspects", "Suspected spurious features", "suspects"),
        Section("disagreement", "Why noise and swap disagree", "disagreement", views["disagreement"] is not None),
        Section("swap", "Region swap", "swap", views["swap"] is not None),
        Section("patches", "Patch swap", "patches", views["patches"] is not None),
        Section("sigma", "Accuracy and noise level", "sigma", views["sigma"] is not None),
        Section("classes", "Classes", "classes"),
        Section("zoo", zoo.company.title if zoo else "", "zoo", zoo is not None),
        Section("coverage", "What was not measured", "coverage"),
        Section("method", "Method and limits", "method"),
        Section("provenance", "Provenance", "provenance"),
        Section("record", "The record", "record"),
    ]


def _chart_data(views: dict[str, Any]) -> dict[str, Any]:
    return {name: views[name].data for name in ("zoo", "patches") if views[name] is not None}


def _library(views: dict[str, Any]) -> str:
    """plotly's bundle, only where a chart will use it."""
    if not _chart_data(views):
        return ""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
