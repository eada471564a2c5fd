"""What was done, in which words it was asked for, and on what: enough to repeat it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from spuraudit.report.formats import NONE, many, plain
from spuraudit.report.views.change_words import capital
from spuraudit.report.views.fix_steps import refitted, steps_done

if TYPE_CHECKING:
    from spuraudit.record.fix import FixRecord, SplitRecord

Facts = list[tuple[str, str]]

STARTS = {
    "model": "the delivered model, all of it",
    "new-head": "the delivered model with a new head",
    "scratch": "new random weights",
}


def fix_command(record: FixRecord) -> str:
    """As typed, without folders, quoted for a shell."""
    return f"spuraudit {shlex.join(record.argv)}" if record.argv else ""


def options(record: FixRecord) -> list[tuple[str, str, str]]:
    """Option, value, where the value comes from."""
    method = record.method
    return [(name, _written(value), method.sources.get(name, NONE)) for name, value in method.options.items()]


def lead(record: FixRecord) -> str:
    """How the method was trained, and what the control beside it is."""
    method, control = record.method, record.arms.control
    name = capital(method.name) + (f" ({method.paper})" if method.paper else "")
    if refitted(record):
        whose = "the delivered model" if record.start == "model" else STARTS[record.start]
        return (
            f"{name}: only the last layer of {whose} was fitted anew, without a step of training. Beside it the "
            f"control: {many(steps_done(control), 'step')} of plain cross-entropy from the same start, with the same "
            "seed, on the training images."
        )
    return (
        f"{name}, beginning with {STARTS[record.start]}. Beside it the control: plain cross-entropy with the same "
        "start, steps, seed and data."
    )


def settings_title(record: FixRecord) -> str:
    """Whose training had the settings."""
    return f"Training settings of {'the control' if refitted(record) else 'both arms'}"


def training_settings(record: FixRecord) -> Facts:
    """The settings that all trainings of the fix share."""
    return [(name.replace("_", " "), _written(value)) for name, value in record.training.items()]


def report_links(record: FixRecord) -> list[tuple[str, str]]:
    """Name and relative address of the full reports, as far as there are arms."""
    arms = [("before", record.arms.before), ("control", record.arms.control), ("fixed", record.arms.fixed)]
    return [(name, f"{quote(arm.run.rstrip('/'))}/report.html") for name, arm in arms if arm is not None]


def fix_facts(record: FixRecord) -> list[tuple[str, Facts]]:
    """Titled lists of facts."""
    model, data, arms = record.model, record.data, record.arms
    checkpoints = [
        fact
        for name, arm in (("Control", arms.control), ("Fixed", arms.fixed))
        for fact in ((f"{name} checkpoint", arm.checkpoint), (f"{name}, SHA-256", arm.checkpoint_sha256))
    ]
    return [
        (
            "Delivered model",
            [
                ("Name", model.name),
                ("Architecture", model.arch),
                ("File", model.file or NONE),
                ("SHA-256", model.sha256 or NONE),
                ("Parameters", many(model.parameters, "parameter")),
            ],
        ),
        ("Result", checkpoints),
        (
            "Data",
            [
                ("Name", data.name),
                ("Fingerprint", data.fingerprint),
                ("Trained on", _split(data.train)),
                ("Validated on", _split(data.validation)),
                ("Held out", _split(data.held_out)),
                ("How held out", data.held_out_how),
            ],
        ),
        (
            "Run",
            [
                ("Started", record.started),
                ("Duration", f"{plain(record.seconds, 1)} s"),
                ("Seed", str(record.seed)),
                ("Device", record.environment.device),
                ("Platform", record.environment.platform),
                ("Made by", f"spuraudit {record.tool.version}, record format {record.schema_version}"),
            ],
        ),
        ("Versions", [("Python", record.environment.python), *sorted(record.environment.packages.items())]),
    ]


def _split(part: SplitRecord) -> str:
    return f"{part.split or 'part of another split'}, {many(part.images, 'image')}"


def _written(value: Any) -> str:
    """Words as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
