"""The page of a zoo run: many models on one dataset, side by side. Same folder, same bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spuraudit.record.folder import to_json
from spuraudit.report.downloads import Attached
from spuraudit.report.edition import Edition
from spuraudit.report.formats import many
from spuraudit.report.layout import compose_plain, notes_section
from spuraudit.report.parts import Parts
from spuraudit.report.templating import Page, Section
from spuraudit.report.views.zoo_features import features_view
from spuraudit.report.views.zoo_groups import groups_view
from spuraudit.report.views.zoo_map import map_view
from spuraudit.report.views.zoo_models import models_view
from spuraudit.report.views.zoo_notes import command_line, facts, notes_view, origins
from spuraudit.report.views.zoo_ranks import ranks_view
from spuraudit.report.views.zoo_summary import summary_view
from spuraudit.report.zoo_csv import features_csv_text, zoo_csv_text
from spuraudit.report.zoo_evidence import gather_zoo

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.report.zoo_evidence import ZooEvidence


def render_zoo(
    folder: Path,
    *,
    title: str | None = None,
    edition: Edition | None = None,
    parts: Parts | None = None,
    linked: bool = True,
) -> str:
    """The report of a finished zoo run as one HTML text. `title` replaces "N models on DATA".

    `parts`: takes what lies beside the page; None: everything is inside. `linked`: whether the page lies in the zoo's
    folder, from where links lead to the reports of its models.
    Raises RunError where the folder holds no finished zoo run, or a model's record is missing or foreign.
    """
    evidence = gather_zoo(folder)
    if not linked:
        evidence = replace(evidence, audited=[replace(model, has_report=False) for model in evidence.audited])
    return render_zoo_evidence(evidence, title=title, edition=edition, parts=parts)


def render_zoo_evidence(
    evidence: ZooEvidence, *, title: str | None = None, edition: Edition | None = None, parts: Parts | None = None
) -> str:
    """The page as a pure function of the records."""
    views, edition = _views(evidence), edition or Edition()
    shown = title or f"{many(len(evidence.zoo.models), 'model')} on {evidence.zoo.data}"
    page = Page(shown, [section for section in _sections(views, edition) if section.shown], "Summary")
    return compose_plain("zoo.html.j2", page, views, edition=edition, parts=parts or Parts(), sheets=("zoo",))


def _views(evidence: ZooEvidence) -> dict[str, Any]:
    return {
        "zoo": evidence.zoo,
        "evidence": evidence,
        "summary": summary_view(evidence),
        "map": map_view(evidence),
        "models": models_view(evidence),
        "groups": groups_view(evidence),
        "ranks": ranks_view(evidence),
        "features": features_view(evidence),
        "downloads": _downloads(evidence),
        "notes": notes_view(evidence),
        "origins": origins(evidence),
        "facts": facts(evidence),
        "command": command_line(evidence),
    }


def _sections(views: dict[str, Any], edition: Edition) -> list[Section]:
    return [
        notes_section(edition),
        Section("map", "Core and spurious accuracy", "zoo_map", views["map"] is not None),
        Section("models", "All models", "zoo_models"),
        Section("groups", "Groups of models", "zoo_groups", views["groups"] is not None),
        Section("ranks", "Clean and core order", "zoo_ranks", views["ranks"] is not None),
        Section("features", "Features across models", "zoo_features", views["features"] is not None),
        Section("data", "Data", "zoo_data"),
        Section("coverage", "What was not measured", "zoo_coverage"),
        Section("definitions", "Definitions", "zoo_definitions"),
        Section("provenance", "Provenance", "zoo_provenance"),
    ]


def _downloads(evidence: ZooEvidence) -> list[Attached]:
    text = zoo_csv_text(evidence).encode()
    files = [Attached("zoo.csv", "text/csv", text, "One row per model: figures, intervals, ranks.")]
    if any(model.features for model in evidence.audited):
        text = features_csv_text(evidence).encode()
        files.append(Attached("features.csv", "text/csv", text, "One row per class, feature and model."))
    files.append(Attached("zoo.json", "application/json", to_json(evidence.zoo), "The record of the zoo run."))
    return files
