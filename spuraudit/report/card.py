"""The section of a Hugging Face model card about a run: YAML front matter with a `model-index`, and Markdown.

https://huggingface.co/docs/hub/model-cards describes the front matter; `report/card_merge.py` puts both into a README
that exists.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from spuraudit.record.markdown import code, safe
from spuraudit.report.formats import NONE, count, many
from spuraudit.report.numbers import Numbers
from spuraudit.report.views.headline import cautions, found
from spuraudit.report.views.key_numbers import key_groups
from spuraudit.report.wording import AUDITS, effect, effect_interval, feature_name

if TYPE_CHECKING:
    from spuraudit.record.scan import Measurement, ScanRecord

TASK = "image-classification"
MOST_FINDINGS = 5
_TITLE = "## Reliance on spurious features"
_NAMES = {
    "clean_accuracy": "Clean accuracy",
    "core_accuracy": "Core accuracy",
    "spurious_accuracy": "Spurious accuracy",
    "rcs": "Relative core sensitivity",
    "worst_group_accuracy": "Worst-group accuracy",
}
"""Metrics of the model-index, in its order."""
_LIMITS = (
    "The numbers hold for this dataset and split, this preprocessing and the outputs that count as each class; another "
    "dataset gives others.",
    "Noise leaves colour and layout readable: a healthy RCS is no evidence that a model ignores the background. Region "
    "swap tests that, with the marks of compositing on both sides.",
    "The numbers are as good as the masks that say where the object is.",
    "The intervals tell how much the choice of images moves a number. They say nothing about training the model again.",
    "RCS is 1 or -1 by arithmetic where an accuracy is 0 or 100 %; such a value is left out of the metadata.",
)


def card_text(record: ScanRecord) -> str:
    """A whole card: front matter and section. Equal records, equal text."""
    index = yaml_text({"model-index": [{"name": model_name(record), "results": [result(record)]}]})
    return f"---\n{index}---\n\n{section(record)}"


def model_name(record: ScanRecord) -> str:
    """Of the model-index: on one line, whatever the model is called."""
    return " ".join(record.model.name.split()) or "model"


def result(record: ScanRecord) -> dict[str, Any]:
    """The entry of the run in the `results` of a model-index.

    Undefined values and a saturated RCS are no metrics: a leaderboard would read them as numbers like others.
    """
    data = record.data
    dataset = {"name": " ".join(data.name.split()) or "data", "type": slug(data.name)}
    if data.split is not None:
        dataset["split"] = " ".join(data.split.split())
    return {
        "task": {"type": TASK, "name": "Image classification under perturbed object and surroundings"},
        "dataset": {**dataset, "revision": data.fingerprint},
        "metrics": [_metric(one) for one in _measurements(record) if _tells(one)],
    }


def slug(name: str) -> str:
    """Lower-case letters, digits and hyphens: what the Hub takes as the type of a dataset."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "data"


def key(record: ScanRecord) -> str:
    """What tells the sections of one README apart: the dataset and its split."""
    return slug(record.data.name) + (f"/{slug(record.data.split)}" if record.data.split else "")


def yaml_text(value: object) -> str:
    """YAML as the Hub reads it: block style, keys in the given order, other scripts as they are."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1_000_000)


def _measurements(record: ScanRecord) -> list[Measurement]:
    numbers = Numbers(record.measurements)
    sigma = numbers.sigma()
    out = []
    for metric in _NAMES:
        scope = (
            {"sigma": sigma} if sigma is not None and metric in ("core_accuracy", "spurious_accuracy", "rcs") else {}
        )
        one = numbers.get(metric, **scope)
        out += [one] if one is not None else []
    return out


def _tells(measurement: Measurement) -> bool:
    return measurement.value is not None and "saturated" not in measurement.flags


def _metric(one: Measurement) -> dict[str, Any]:
    sigma = one.scope.get("sigma")
    args: dict[str, Any] = {"definition": one.definition, "n": one.n}
    if one.ci is not None:
        args["ci_95"] = list(one.ci)
    name = _NAMES[one.metric] + (f" (sigma {sigma:g})" if sigma is not None else "")
    return {"type": one.metric, "value": one.value, "name": name, "args": args}


def section(record: ScanRecord) -> str:
    """The Markdown between the markers, markers included."""
    begin, end = markers(key(record))
    parts = [
        f"{begin}\n{_TITLE}",
        f"{_said(record)} {safe(found(record))}",
        *(f"> {safe(caution)}" for caution in cautions(record)),
        _table(record),
        *_findings(record),
        *_definitions(record),
        "### Limits\n\n" + "\n".join(f"- {safe(text)}" for text in _LIMITS),
        _made(record),
    ]
    return "\n\n".join(parts) + f"\n{end}\n"


def markers(name: str) -> tuple[str, str]:
    """The comments around the section of a dataset and split; `name` as of `key`."""
    return f"<!-- spuraudit {name} begin -->", f"<!-- spuraudit {name} end -->"


def _said(record: ScanRecord) -> str:
    data = record.data
    split = f", split {safe(data.split)}" if data.split else ""
    return f"{safe(record.model.name)} was audited on {safe(data.name)}{split}, {many(data.images, 'image')}."


def _table(record: ScanRecord) -> str:
    lines = ["| number | value | 95 % interval | n |", "| --- | ---: | ---: | ---: |"]
    for group in key_groups(Numbers(record.measurements)):
        for row in group.rows:
            notes = "".join(f"; {note}" for note in row.notes)
            lines.append(
                f"| {row.name} <sub>{safe(row.explains + notes)}</sub> | {row.value} | {row.interval} | {row.n} |"
            )
    return "\n".join(lines) if len(lines) > 2 else "No number was measured."


def _findings(record: ScanRecord) -> list[str]:
    suspected = [finding for finding in record.findings if finding.suspected]
    if not suspected:
        return []
    lines = ["| class | feature | audit | effect | 95 % interval | n |", "| --- | --- | --- | ---: | ---: | ---: |"]
    for one in suspected[:MOST_FINDINGS]:
        cells = (
            safe(one.class_name),
            safe(feature_name(one)),
            AUDITS[one.audit],
            effect(one),
            effect_interval(one),
            str(one.n),
        )
        lines.append(f"| {' | '.join(cells)} |")
    rest = len(suspected) - MOST_FINDINGS
    more = [f"And {count(rest)} more in the report."] if rest > 0 else []
    return ["### Suspected spurious features", "\n".join(lines), *more]


def _definitions(record: ScanRecord) -> list[str]:
    """Each definition once, in words, with the ids that fix its parameters."""
    ids: dict[str, list[str]] = {}
    used = {one.definition for one in _measurements(record)}
    used |= {one.definition for one in record.measurements if one.metric in ("swap_gap", "patch_argmin_drop")}
    for name, text in record.definitions.items():
        if name in used:
            ids.setdefault(text, []).append(name)
    if not ids:
        return []
    lines = [f"- {_whole(text)} ({', '.join(code(name) for name in names)})" for text, names in ids.items()]
    return ["### Definitions", "\n".join(lines)]


def _whole(text: str) -> str:
    """`safe` of each sentence: a definition is no cell and is not cut."""
    return ". ".join(safe(sentence) for sentence in text.split(". "))


def _made(record: ScanRecord) -> str:
    sha = (record.model.sha256 or NONE)[:12]
    return (
        f"Made by spuraudit {safe(record.tool.version)}, run {safe(record.run.id)}, {safe(record.run.started[:10])}. "
        f"Model sha256 {sha}; data fingerprint {record.data.fingerprint[:12]}."
    )
