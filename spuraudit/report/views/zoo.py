"""Where the model stands among others: the published ones, for orientation, or the measured ones of a zoo run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.report.charts.scatter import Dot, Here, legend_mark, looks, zoo_scatter
from spuraudit.report.comparable import reference, strict_differences
from spuraudit.report.formats import many, percent, plain
from spuraudit.report.zoo_evidence import measured_models

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import DataRecord, ScanRecord
    from spuraudit.report.numbers import Numbers
    from spuraudit.report.published import PublishedModel
    from spuraudit.report.zoo_evidence import ZooEvidence

SALIENT = "salient1m"
PUBLISHED = (
    "Published models and this one, by RCS. Source: Singla, Moayeri, Feizi, “Core Risk Minimization using Salient "
    "ImageNet” (2022), appendix A."
)


@dataclass(frozen=True, slots=True)
class Company:
    """The models that a scan is placed among. `noun`: 'published model' or 'model of ZOO'; `digits`: of percent."""

    models: list[PublishedModel]
    title: str
    noun: str
    nouns: str
    caption: str
    digits: int
    cautions: list[str]


def among_published(record: ScanRecord, models: list[PublishedModel]) -> Company:
    """The published table; on other images it is for orientation only."""
    cautions = []
    if record.data.layout != SALIENT and record.data.name != SALIENT:
        cautions.append(
            "For orientation only: the published figures were measured on Salient ImageNet-1M (1,000 classes), this "
            f"model on {record.data.name} ({many(len(record.data.classes), 'class', 'classes')}). On easier data both "
            "accuracies are higher, so positions cannot be compared as if in one ranking."
        )
    return Company(models, "Among published models", "published model", "published models", PUBLISHED, 2, cautions)


def among_zoo(record: ScanRecord, numbers: Numbers, evidence: ZooEvidence) -> Company:
    """The measured models of a zoo run, and why the scan's figures cannot be compared with theirs, if so."""
    zoo = evidence.zoo
    cautions = _other_data(record, evidence)
    sigma = numbers.sigma()
    core = numbers.get("core_accuracy", sigma=sigma) if sigma is not None else None
    usual = reference(evidence)
    apart = strict_differences(usual, core.definition) if core is not None and usual is not None else []
    if apart:
        cautions.append(
            f"Not comparable: the figures of this model and those of {zoo.zoo} are defined differently: "
            f"{'; '.join(apart)}."
        )
    return Company(
        measured_models(evidence),
        f"Among the models of {zoo.zoo}",
        f"model of {zoo.zoo}",
        f"models of {zoo.zoo}",
        f"Models of {zoo.zoo} as measured on {zoo.data}, and this one, by RCS.",
        1,
        cautions,
    )


def _other_data(record: ScanRecord, evidence: ZooEvidence) -> list[str]:
    """A class map changes the fingerprint of data and not the photos: alone it is no reason against a comparison."""
    zoo, data = evidence.zoo, record.data
    if data.fingerprint in {zoo.data_fingerprint, *(model.record.data.fingerprint for model in evidence.audited)}:
        return []
    if any(_but_for_the_class_map(data) == _but_for_the_class_map(model.record.data) for model in evidence.audited):
        return [
            f"This model has a class map of its own, so fingerprints cannot show that it saw the photos of {zoo.zoo}; "
            "classes, features and numbers of images are the same."
        ]
    return [
        f"Not comparable: this model was measured on {data.name} ({data.fingerprint[:12]}), the models of {zoo.zoo} on "
        f"{zoo.data} ({zoo.data_fingerprint[:12]})."
    ]


def _but_for_the_class_map(data: DataRecord) -> tuple[object, ...]:
    """What a record knows of the data, without the outputs of the classes."""
    classes = tuple((item.index, item.name, item.images) for item in data.classes)
    features = tuple((item.name, item.role, item.masks) for item in data.features)
    return data.name, data.layout, data.split, data.images, data.available, classes, features, tuple(data.groups)


@dataclass(frozen=True, slots=True)
class ZooRow:
    """A published model; the audited one has `here` set."""

    name: str
    group: str
    clean: str
    core: str
    spurious: str
    rcs: str
    here: bool


@dataclass(frozen=True, slots=True)
class ZooView:
    """Chart, legend (sign, group), table, and the data plotly draws from. `below`: models with a lower RCS."""

    company: Company
    chart: Markup
    legend: list[tuple[Markup, str]]
    rows: list[ZooRow]
    below: int
    total: int
    data: dict[str, Any]


def zoo_view(record: ScanRecord, numbers: Numbers, company: Company) -> ZooView | None:
    """None without core and spurious accuracy, or without company."""
    published = company.models
    sigma = numbers.sigma()
    if sigma is None or not published:
        return None
    core, spurious, rcs, clean = (
        numbers.get("core_accuracy", sigma=sigma),
        numbers.get("spurious_accuracy", sigma=sigma),
        numbers.get("rcs", sigma=sigma),
        numbers.get("clean_accuracy"),
    )
    if core is None or spurious is None or core.value is None or spurious.value is None:
        return None
    dots = [Dot(model.name, model.group, model.core, model.spurious) for model in published]
    groups = sorted({dot.group for dot in dots})
    here = Here(core.value, spurious.value, core.ci, spurious.ci)
    value = rcs.value if rcs is not None else None
    label = (
        f"{many(len(dots), company.noun, company.nouns)} by core and spurious accuracy; this model at core "
        f"{percent(core.value)}, spurious {percent(spurious.value)}."
    )
    rows = [(model.rcs, _row(model, company.digits)) for model in published]
    if value is not None:
        shown_clean = percent(clean.value) if clean is not None else percent(None)
        mine = ZooRow(
            record.model.name,
            "this model",
            shown_clean,
            percent(core.value),
            percent(spurious.value),
            plain(value),
            True,
        )
        rows.append((value, mine))
    return ZooView(
        company,
        zoo_scatter(dots, here, label),
        [(legend_mark(*look), group) for group, look in looks(groups).items()],
        [row for _, row in sorted(rows, key=lambda pair: 2.0 if pair[0] is None else -pair[0])],
        sum(model.rcs is not None and model.rcs < value for model in published) if value is not None else 0,
        len(published),
        _plotly(dots, groups, here, record.model.name),
    )


def _row(model: PublishedModel, digits: int) -> ZooRow:
    return ZooRow(
        model.name,
        model.group,
        percent(model.clean, digits),
        percent(model.core, digits),
        percent(model.spurious, digits),
        plain(model.rcs, digits + 2),
        False,
    )


def _plotly(dots: list[Dot], groups: list[str], here: Here, name: str) -> dict[str, Any]:
    """Plain numbers for report.js; the look is decided there, from the page's own colours."""
    signs = looks(groups)
    return {
        "groups": [
            {
                "name": group,
                "symbol": signs[group][0],
                "tone": signs[group][1],
                "names": [dot.name for dot in dots if dot.group == group],
                "core": [round(dot.core * 100, 2) for dot in dots if dot.group == group],
                "spurious": [round(dot.spurious * 100, 2) for dot in dots if dot.group == group],
            }
            for group in groups
        ],
        "here": {"name": name, "core": round(here.core * 100, 2), "spurious": round(here.spurious * 100, 2)},
    }
