"""What a verdict looks like elsewhere: JUnit XML, SARIF, GitHub, Markdown. Same verdict and record, same bytes."""

from __future__ import annotations

from spuraudit.gates.outputs.github import annotation_lines, step_summary
from spuraudit.gates.outputs.junit import junit_xml
from spuraudit.gates.outputs.markdown import comment
from spuraudit.gates.outputs.sarif import sarif_json

__all__ = ["annotation_lines", "comment", "junit_xml", "sarif_json", "step_summary"]
