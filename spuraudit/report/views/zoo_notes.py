"""What limits a comparison of models: audits not run, definitions that differ, notices; and where all of it is from."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from spuraudit.record.zoo_folder import fingerprint_of
from spuraudit.report import bounds
from spuraudit.report.comparable import core_definition, differences, reference, strict_differences
from spuraudit.report.formats import NONE, count, listing, many, plain
from spuraudit.report.wording import AUDITS
from spuraudit.report.zoo_evidence import FIGURES

if TYPE_CHECKING:
    from spuraudit.report.zoo_evidence import AuditedModel, ZooEvidence

_DEFINITIONS = 60


@dataclass(frozen=True, slots=True)
class Notes:
    """The section. `apart`: (models, difference) that are not comparable; `scaled`: the same noise, another input."""

    audits: list[tuple[str, str, str, str]]
    apart: list[tuple[str, str]]
    scaled: list[tuple[str, str]]
    undefined: list[str]
    exclusions: list[tuple[str, str, str]]
    notices: list[tuple[str, str, str]]
    definitions: list[tuple[str, str, str]]
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class Origin:
    """A model and where it comes from. `link`: its own report, beside this page."""

    name: str
    link: str | None
    id: str
    spec: str
    arch: str
    sha: str
    precision: str
    input: str
    licence: str


def apart(evidence: ZooEvidence) -> dict[str, list[str]]:
    """By model id: in what its core and spurious accuracy are defined otherwise than those of most models."""
    usual = reference(evidence)
    out: dict[str, list[str]] = {}
    for model in evidence.compared:
        own = core_definition(model, evidence.sigma)
        found = strict_differences(usual, own) if usual is not None and own is not None else []
        if found:
            out[model.entry.id] = found
    return out


def notes_view(evidence: ZooEvidence) -> Notes:
    """Nothing here is an error; everything here limits what may be concluded."""
    definitions = _definitions(evidence)
    over = len(definitions) - _DEFINITIONS
    return Notes(
        _audits(evidence),
        _grouped(evidence, {name: "; ".join(found) for name, found in apart(evidence).items()}),
        _scaled(evidence),
        _undefined(evidence),
        _exclusions(evidence),
        _notices(evidence),
        definitions[:_DEFINITIONS],
        [f"{many(over, 'definition')}: see the records of the models."] if over > 0 else [],
    )


def _grouped(evidence: ZooEvidence, said: dict[str, str]) -> list[tuple[str, str]]:
    """(models, text) of a text per model id, with the models of equal texts in one row."""
    names: dict[str, list[str]] = defaultdict(list)
    for model in evidence.audited:
        if model.entry.id in said:
            names[said[model.entry.id]].append(model.entry.name)
    return [(listing(models, 8), text) for text, models in names.items()]


def _scaled(evidence: ZooEvidence) -> list[tuple[str, str]]:
    usual, unlike = reference(evidence), apart(evidence)
    said: dict[str, str] = {}
    for model in evidence.compared:
        own = core_definition(model, evidence.sigma)
        if usual is not None and own not in (None, usual) and model.entry.id not in unlike:
            said[model.entry.id] = "; ".join(differences(usual, own or ""))
    return _grouped(evidence, said)


def _audits(evidence: ZooEvidence) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, title in AUDITS.items():
        records = [(model, audit) for model in evidence.audited for audit in model.record.audits if audit.name == name]
        ran = sum(audit.status == "run" for _, audit in records)
        skipped: dict[str, list[str]] = defaultdict(list)
        for model, audit in records:
            if audit.status == "skipped":
                skipped[audit.reason or "no reason was recorded"].append(model.entry.name)
        absent = [m.entry.name for m in evidence.audited if not any(m is one for one, _ in records)]
        if absent:
            skipped["not asked for"] += absent
        why = " ".join(
            f"{reason} ({'all models' if len(names) == len(evidence.audited) else listing(names)})"
            for reason, names in skipped.items()
        )
        passes = sum(audit.passes for _, audit in records)
        rows.append((title, f"{count(ran)} of {count(len(evidence.audited))}", count(passes), why))
    return rows


def _undefined(evidence: ZooEvidence) -> list[str]:
    out = []
    for model in evidence.audited:
        for figure in FIGURES:
            found = model.figure(figure, evidence.sigma)
            if found is not None and found.value is None:
                out.append(f"{model.entry.name}: {found.metric} is undefined, {found.reason or 'without a reason'}.")
            elif found is None and figure in ("clean", "core"):
                at = f" at sigma {evidence.sigma:g}" if figure == "core" and evidence.sigma is not None else ""
                out.append(f"{model.entry.name}: {figure} accuracy was not measured{at}.")
        rcs = model.figure("rcs", evidence.sigma)
        if rcs is not None and "saturated" in rcs.flags:
            out.append(f"{model.entry.name}: RCS {plain(rcs.value)} is saturated, at its limit by arithmetic only.")
    return out


def _exclusions(evidence: ZooEvidence) -> list[tuple[str, str, str]]:
    """(reason, number or range, models)."""
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for model in evidence.audited:
        for item in model.record.exclusions:
            numbers[item.reason][model.entry.name] = item.n
    return [(reason, _span(list(found.values())), _of_all(list(found), evidence)) for reason, found in numbers.items()][
        : bounds.ROWS
    ]


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _of_all(names: list[str], evidence: ZooEvidence) -> str:
    return "all models" if len(names) == len(evidence.audited) else listing(names)


def _notices(evidence: ZooEvidence) -> list[tuple[str, str, str]]:
    """(code, text, models)."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for model in evidence.audited:
        for notice in model.record.warnings:
            names[notice.code, notice.text].append(model.entry.name)
    rows = [(code, text, _of_all(models, evidence)) for (code, text), models in names.items()]
    return sorted(rows)[: bounds.ROWS]


def _definitions(evidence: ZooEvidence) -> list[tuple[str, str, str]]:
    """(id, words, models)."""
    words: dict[str, str] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for model in evidence.audited:
        for key, text in model.record.definitions.items():
            words.setdefault(key, text)
            names[key].append(model.entry.name)
    return [(key, words[key], _of_all(names[key], evidence)) for key in sorted(words)]


def origins(evidence: ZooEvidence) -> list[Origin]:
    """Evaluated models in the order of the zoo file."""
    return [_origin(model) for model in evidence.audited][: bounds.MODEL_ROWS]


def _origin(model: AuditedModel) -> Origin:
    entry, record = model.entry, model.record.model
    geometry = record.preprocess.geometry
    # A leading ./ keeps a folder named like a scheme from being one.
    link = f"./{quote(entry.run)}/report.html" if entry.run and model.has_report else None
    return Origin(
        entry.name,
        link,
        entry.id,
        entry.spec or record.file or record.arch,
        record.arch,
        (record.sha256 or NONE)[:16],
        record.precision,
        f"{geometry.height} x {geometry.width}",
        entry.licence or "not stated",
    )


def facts(evidence: ZooEvidence) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titled lists of facts."""
    zoo = evidence.zoo
    run = [
        ("Zoo file", zoo.zoo),
        ("Started", zoo.started),
        ("Duration", f"{plain(zoo.seconds, 1)} s"),
        ("Device", zoo.environment.device),
        ("Platform", zoo.environment.platform),
        ("Made by", f"spuraudit {zoo.tool.version}, zoo record format {zoo.schema_version}"),
    ]
    data = [("Name", zoo.data), ("Fingerprint", zoo.data_fingerprint), *_own_class_maps(evidence)]
    if evidence.audited:
        first = evidence.audited[0].record.data
        data += [
            ("Split", first.split or "all images"),
            ("Images", f"{count(first.images)} of {count(first.available)}"),
            ("Classes", count(len(first.classes))),
            ("Licence", first.licence or "not stated"),
        ]
    return [
        ("Run", run),
        ("Data", data),
        ("Published figures", [("Source", zoo.source or "none")]),
        ("Versions", [("Python", zoo.environment.python), *sorted(zoo.environment.packages.items())]),
    ]


def _own_class_maps(evidence: ZooEvidence) -> list[tuple[str, str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for model in evidence.audited:
        own = fingerprint_of(evidence.zoo, model.entry)
        if own != evidence.zoo.data_fingerprint:
            names[own].append(model.entry.name)
    return [
        ("With another class map", f"{own[:16]}, the same photos ({listing(models)})") for own, models in names.items()
    ]


def command_line(evidence: ZooEvidence) -> str:
    """The command as typed, quoted for a shell."""
    return f"spuraudit {shlex.join(evidence.zoo.argv)}" if evidence.zoo.argv else ""
