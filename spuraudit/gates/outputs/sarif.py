"""SARIF 2.1.0, in the form that GitHub code scanning accepts.

SARIF is made for code: every result needs a place in a file of the repository, which here is the gate's line in the
config. Class and feature stand beside it as logical locations. Fingerprints name data, gate or finding, and neither
model, value nor line: a retrained model with the same weakness is the same alert.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from spuraudit import __version__
from spuraudit.gates.outputs.facts import STRICT, config_file, effect, effect_interval, only_strict, standing
from spuraudit.gates.rules import format_rule
from spuraudit.record.markdown import one_line

if TYPE_CHECKING:
    from spuraudit.record.scan import Finding, ScanRecord
    from spuraudit.record.verdict import GateResult, Verdict

Level = Literal["error", "warning", "note"]

MOST_RESULTS = 500
"""GitHub shows 5,000 of a run and takes 25,000; nobody reads more than these."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_LONGEST = 1000
_TAGS = ["machine-learning", "image-classification", "spurious-correlation"]
_RULES: dict[str, tuple[str, Level, str, str]] = {
    "SPU001": (
        "SpuriousDependence",
        "warning",
        "The model depends on a feature that is not the object",
        "Perturbing the feature changes the model's answers beyond its control, with q at most 0.05. Look at the "
        "pictures in the report; remove the feature from the training images, balance it over the classes, or repair "
        "the model with `spuraudit fix`.",
    ),
    "SPU002": (
        "GateFailed",
        "error",
        "A measured number lies beyond the limit of a gate",
        "The gate is a limit in the configuration file. The message holds value, interval, limit and number of images.",
    ),
    "SPU003": (
        "Regression",
        "error",
        "A measured number got worse than the baseline run by more than a gate allows",
        "The change is paired over the images that both runs saw. `spuraudit compare` shows what else changed.",
    ),
    "SPU004": (
        "NotEvaluated",
        "error",
        "A gate could not be evaluated",
        "Nothing is known about what the gate limits: its number, its evidence or the whole run is missing. It did not "
        "pass.",
    ),
}


def sarif_json(verdict: Verdict, record: ScanRecord) -> bytes:
    """Gates that did not pass, and the suspected findings, as one SARIF run of at most 500 results and a note.

    Gates that could not be evaluated are results too, and the run says `executionSuccessful: false` and why: GitHub
    would show the alert of a gate that failed before, and is not in the file, as fixed.
    """
    found = [_gate(verdict, record, gate) for gate in verdict.gates if gate.outcome != "pass"]
    if strict := only_strict(verdict):
        found.append(
            _result(config_file(verdict), "SPU002", "error", strict, _hashed(["SPU002", record.data.name, STRICT]))
        )
    found += [_finding(verdict, finding) for finding in record.findings if finding.suspected]
    found.sort(key=lambda result: _LEVELS.index(result["level"]))
    shown, rest = found[:MOST_RESULTS], found[MOST_RESULTS:]
    if rest:
        shown.append(_rest(verdict, rest[0]["ruleId"], len(rest)))
    run = {
        "tool": {"driver": {"name": "spuraudit", "version": record.tool.version, "rules": _rules()}},
        "invocations": [_invocation(verdict)],
        "results": shown,
        "properties": {
            "outcome": verdict.outcome,
            "model": verdict.model or record.model.name,
            "modelSha256": verdict.model_sha256 or record.model.sha256,
            "data": record.data.name,
            "runId": verdict.run_id,
        },
    }
    return _written(run)


def sarif_unjudged(message: str, hint: str | None) -> bytes:
    """The log where an error came in place of a verdict: that, as a result, and an execution that failed."""
    said = _message(" ".join(filter(None, (message, hint))))
    run = {
        "tool": {"driver": {"name": "spuraudit", "version": __version__, "rules": _rules()}},
        "invocations": [
            {
                "executionSuccessful": False,
                "toolExecutionNotifications": [{"level": "error", "message": {"text": said}}],
            }
        ],
        "results": [_result(".spuraudit.yaml", "SPU004", "error", said, _hashed(["SPU004"]))],
        "properties": {"outcome": "not evaluated"},
    }
    return _written(run)


def _written(run: dict[str, Any]) -> bytes:
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(log, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _rules() -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "name": title,
            "shortDescription": {"text": short},
            "fullDescription": {"text": f"{short}."},
            "help": {"text": full, "markdown": full},
            "defaultConfiguration": {"level": level},
            "properties": {"tags": _TAGS, "problem.severity": level},
        }
        for name, (title, level, short, full) in _RULES.items()
    ]


def _gate(verdict: Verdict, record: ScanRecord, gate: GateResult) -> dict[str, Any]:
    rule = gate.rule
    name = "SPU004" if gate.outcome == "not evaluated" else "SPU003" if rule.of == "drop" else "SPU002"
    level: Level = "warning" if standing(gate) == "warn" else "error"
    names = [(key, str(value)) for key, value in gate.scope.items()]
    identity = [name, record.data.name, rule.id, rule.metric, sorted(rule.scope.items())]
    message = f"{rule.id}: {gate.text}" if rule.id != format_rule(rule) else gate.text
    return _result(config_file(verdict), name, level, message, _hashed(identity), line=gate.rule.line, names=names)


def _finding(verdict: Verdict, finding: Finding) -> dict[str, Any]:
    target = f' of "{finding.target_class}"' if finding.target_class else ""
    what = "certainty" if finding.audit == "patch_swap" else "accuracy"
    text = (
        f'"{finding.class_name}" depends on "{finding.feature}": {finding.audit.replace("_", " ")}{target} costs '
        f"{effect(finding)} of {what} (95 % interval {effect_interval(finding)}, q = {finding.q:.2g}, "
        f"n = {finding.n:,})."
    )
    names = [("class", finding.class_name), ("feature", finding.feature)]
    if finding.target_class:
        names.append(("target_class", finding.target_class))
    identity = ["SPU001", finding.fingerprint]
    return _result(config_file(verdict), "SPU001", "warning", text, _hashed(identity), names=names)


def _rest(verdict: Verdict, rule: str, rest: int) -> dict[str, Any]:
    text = f"{rest:,} more results are left out here; the report and verdict.json have all of them."
    return _result(config_file(verdict), rule, "note", text, _hashed([rule, "rest"]))


def _result(
    config: str,
    rule: str,
    level: Level,
    text: str,
    fingerprint: str,
    *,
    line: int | None = None,
    names: list[tuple[str, str]] | None = None,
) -> dict[str, Any]:
    location = _location(config, line)
    if names:
        location["logicalLocations"] = [
            {"name": name, "fullyQualifiedName": f"{kind}::{name}", "kind": kind} for kind, name in names
        ]
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": level,
        "message": {"text": _message(text)},
        "locations": [location],
        "partialFingerprints": {"spurauditFinding/v1": fingerprint},
    }


def _location(config: str, line: int | None) -> dict[str, Any]:
    artifact = {"uri": quote(config), "uriBaseId": "%SRCROOT%"}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line or 1}}}


def _invocation(verdict: Verdict) -> dict[str, Any]:
    unknown = [gate for gate in verdict.gates if gate.outcome == "not evaluated"]
    notifications = [
        {
            "level": "error",
            "message": {"text": _message(f"{gate.rule.id}: not evaluated. {gate.text}")},
            "locations": [_location(config_file(verdict), gate.rule.line)],
        }
        for gate in unknown
    ]
    notifications += [{"level": "note", "message": {"text": _message(note)}} for note in verdict.notes]
    return {
        "executionSuccessful": verdict.outcome != "not evaluated",
        "toolExecutionNotifications": notifications,
    }


def _message(text: str) -> str:
    """Plain text: `[text](target)` in a name would be a link (SARIF 2.1.0, 3.11.6)."""
    return one_line(text, _LONGEST).replace("](", "] (")


def _hashed(identity: list[Any]) -> str:
    return hashlib.sha256(json.dumps(identity, ensure_ascii=True).encode()).hexdigest()
