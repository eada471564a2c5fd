"""Who tested what, with which program, on which data: enough to repeat it and to notice a mix-up."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from spuraudit.report.formats import NONE, count, many, plain, size
from spuraudit.report.shown import shown_cards
from spuraudit.report.views.suspect_card import PanelView, panel_view

if TYPE_CHECKING:
    from spuraudit.record.scan import ModelRecord, ScanRecord
    from spuraudit.report.fitting import Fit
    from spuraudit.report.pictures import Pictures

Facts = list[tuple[str, str]]

SOURCES = {
    "file": "checkpoint file",
    "timm": "timm, by name",
    "hf-hub": "Hugging Face Hub, by name",
    "local-dir": "folder as the Hugging Face Hub has them",
    "open_clip": "open_clip, by name",
    "code": "function of the user's own code",
}
"""What each `ModelRecord.source` is."""
HEADS = {
    "softmax": "softmax: one of the outputs is the answer",
    "sigmoid": "sigmoid: every output is a label of its own, given or not",
}
"""What each `ModelRecord.head` is."""


def seen(record: ScanRecord, pictures: Pictures, fit: Fit) -> tuple[str, PanelView] | None:
    """Id and picture of an image as the network saw it, after resize and crop; None where no exhibit has one."""
    exhibits = (exhibit for card in shown_cards(record)[: fit.cards] for exhibit in card.exhibits)
    for exhibit in exhibits:
        for panel in exhibit.panels:
            if panel.kind == "image" and (view := panel_view(panel, pictures, fit.side)).source:
                return exhibit.image, view
    return None


def command_line(record: ScanRecord) -> str:
    """The command as typed, quoted for a shell."""
    return f"spuraudit {shlex.join(record.run.argv)}" if record.run.argv else ""


def provenance(record: ScanRecord) -> list[tuple[str, Facts]]:
    """Titled lists of facts."""
    return [
        ("Model", _model(record)),
        ("Preprocessing", _preprocessing(record)),
        ("Data", _data(record)),
        ("Run", _run(record)),
        ("Versions", [("Python", record.environment.python), *sorted(record.environment.packages.items())]),
    ]


def _model(record: ScanRecord) -> Facts:
    model = record.model
    kwargs = ", ".join(f"{key}={value}" for key, value in model.kwargs.items())
    return [
        ("Name", model.name),
        ("Source", SOURCES[model.source]),
        ("File", model.file or NONE),
        ("SHA-256", model.sha256 or NONE),
        ("Size", size(model.size_bytes)),
        ("Architecture", f"{model.arch} (from {model.arch_origin})"),
        ("Constructor options", kwargs or "none"),
        ("Parameters", count(model.parameters)),
        ("Outputs", count(model.num_classes)),
        ("Head", HEADS[model.head]),
        *_text_head(model),
        ("Precision", model.precision),
        *(("Note", note) for note in model.notes),
    ]


def _text_head(model: ModelRecord) -> Facts:
    head = model.text_head
    if head is None:
        return []
    return [
        ("Class names", head.class_names),
        ("Templates", head.templates),
        ("Prompts", f"{count(head.prompts)} per class"),
        ("Text head, SHA-256", head.sha256),
    ]


def _preprocessing(record: ScanRecord) -> Facts:
    preprocess = record.model.preprocess
    geometry, origin = preprocess.geometry, preprocess.origin

    def said(value: str, *names: str) -> str:
        found = list(dict.fromkeys(origin[name] for name in names if name in origin))
        return f"{value} (from {', '.join(found)})" if found else value

    return [
        ("Input", said(f"{geometry.height} x {geometry.width} pixels", "height", "width", "size", "img_size")),
        (
            "Resize and crop",
            said(f"{geometry.crop_mode}, {geometry.crop_pct:g} of the resized side", "crop_pct", "crop_mode"),
        ),
        ("Interpolation", said(geometry.interpolation, "interpolation")),
        ("Mean", said(", ".join(plain(value) for value in preprocess.mean), "mean")),
        ("Standard deviation", said(", ".join(plain(value) for value in preprocess.std), "std")),
    ]


def _data(record: ScanRecord) -> Facts:
    data = record.data
    spurious = sum(feature.role == "spurious" for feature in data.features)
    return [
        ("Name", data.name),
        ("Source", f"{data.source} (layout {data.layout})"),
        ("Fingerprint", data.fingerprint),
        ("Split", data.split or "all images"),
        ("Donors from", data.donor_split or NONE),
        ("Images", f"{count(data.images)} of {count(data.available)}"),
        ("Classes", count(len(data.classes))),
        ("Features", f"{many(len(data.features) - spurious, 'core feature')}, {many(spurious, 'spurious feature')}"),
        ("Licence", data.licence or "not stated"),
    ]


def _run(record: ScanRecord) -> Facts:
    run, environment = record.run, record.environment
    rows = sum(part.rows for part in record.observations)
    return [
        ("Run", run.id),
        ("Plan, SHA-256", run.plan_sha256),
        ("Started", run.started),
        ("Duration", f"{plain(run.seconds, 1)} s"),
        ("Seed", str(run.seed)),
        ("Observations", f"{count(rows)} rows in {many(len(record.observations), 'file')}"),
        ("Device", environment.device),
        ("Platform", environment.platform),
        ("Made by", f"spuraudit {record.tool.version}, record format {record.schema_version}"),
    ]
