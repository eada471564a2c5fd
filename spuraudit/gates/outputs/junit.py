"""JUnit XML: one test case per gate, for Jenkins, GitLab, Azure, CircleCI and the like.

A failed gate is a `failure`, one that could not be evaluated an `error`. One of severity warn that fails is a passed
case: the exit code and this file must not disagree. What it says, its numbers, and what was ignored or known stand in
`system-out` of every case. GitLab keeps only the first of two cases of one name, so names are unique.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from spuraudit.gates.ignores import describe
from spuraudit.gates.outputs.facts import (
    STRICT,
    accepted_what,
    config_file,
    headline,
    ignores_of,
    known_of,
    listed,
    numbers,
    only_strict,
    standing,
)
from spuraudit.gates.rules import format_rule

if TYPE_CHECKING:
    from spuraudit.record.verdict import GateResult, Verdict

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LISTED = 20


def junit_xml(verdict: Verdict) -> bytes:
    """The verdict as a JUnit file with one test suite, named after the model. Times are left out: equal bytes."""
    standings = [standing(gate) for gate in verdict.gates]
    strict = only_strict(verdict)
    if strict is not None:
        standings.append("fail")
    counts = {
        "tests": str(len(standings)),
        "failures": str(standings.count("fail")),
        "errors": str(standings.count("not evaluated")),
        "skipped": "0",
    }
    root = ET.Element("testsuites", {"name": "spuraudit", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _name(verdict.model or verdict.run_id), **counts})
    _properties(suite, verdict)
    taken: set[tuple[str, str]] = set()
    for gate in verdict.gates:
        _case(suite, verdict, gate, taken)
    if strict is not None:
        case = ET.SubElement(suite, "testcase", {"classname": "spuraudit", "name": STRICT})
        ET.SubElement(case, "failure", {"message": _name(strict), "type": "fail"})
    ET.SubElement(suite, "system-out").text = _text("\n".join([headline(verdict), *verdict.notes]))
    return _written(root)


def junit_unjudged(message: str, hint: str | None) -> bytes:
    """The file where an error came in place of a verdict: a test case that says so."""
    counts = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
    root = ET.Element("testsuites", {"name": "spuraudit", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "spuraudit", **counts})
    case = ET.SubElement(suite, "testcase", {"classname": "spuraudit", "name": "verdict"})
    problem = ET.SubElement(case, "error", {"message": _name(message), "type": "not evaluated"})
    problem.text = _text("\n".join(filter(None, (message, hint))))
    return _written(root)


def _written(root: ET.Element) -> bytes:
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _properties(suite: ET.Element, verdict: Verdict) -> None:
    known = {
        "run_id": verdict.run_id,
        "model_sha256": verdict.model_sha256,
        "data": verdict.data,
        "config": verdict.config,
        "baseline": verdict.baseline,
    }
    properties = ET.SubElement(suite, "properties")
    for name, text in known.items():
        if text is not None:
            ET.SubElement(properties, "property", {"name": name, "value": _name(text)})


def _case(suite: ET.Element, verdict: Verdict, gate: GateResult, taken: set[tuple[str, str]]) -> None:
    classname, name = f"spuraudit.{_name(gate.rule.metric)}", _name(gate.rule.id) or "gate"
    unique, number = name, 1
    while (classname, unique) in taken:
        number += 1
        unique = f"{name} ({number})"
    taken.add((classname, unique))
    attributes = {"classname": classname, "name": unique, "file": _name(config_file(verdict))}
    case = ET.SubElement(suite, "testcase", attributes)
    kind = standing(gate)
    if kind in ("fail", "not evaluated"):
        tag = "failure" if kind == "fail" else "error"
        problem = ET.SubElement(case, tag, {"message": _name(gate.text), "type": kind})
        problem.text = _text(f"{gate.text}\n{format_rule(gate.rule)}")
    ET.SubElement(case, "system-out").text = _text("\n".join(_said(verdict, gate)))


def _said(verdict: Verdict, gate: GateResult) -> list[str]:
    lines = [f"{'WARNING: ' if standing(gate) == 'warn' else ''}{gate.text}"]
    lines += [f"{name}: {text}" for name, text in numbers(gate)]
    if gate.ignored:
        lines += listed(map(describe, ignores_of(verdict, gate)), _LISTED)
    if gate.known:
        known = (accepted_what(one.accepted) for one in known_of(verdict, gate))
        lines += [f"known: {text}" for text in listed(known, _LISTED)]
    return lines


def _text(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return _ILLEGAL.sub("", text)


def _name(text: str) -> str:
    """An attribute: on one line, for readers turn line ends in attributes into spaces."""
    return " ".join(_text(text).split())
