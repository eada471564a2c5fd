"""What a verdict looks like elsewhere: JUnit XML, SARIF, GitHub, Markdown. Same verdict and record, same bytes.

Each has a form for an error in place of a verdict, so that nothing green is left where nothing was judged.
"""

from __future__ import annotations

from spuraudit.gates.outputs.github import annotation_lines, annotation_unjudged, step_summary
from spuraudit.gates.outputs.junit import junit_unjudged, junit_xml
from spuraudit.gates.outputs.markdown import comment, comment_unjudged
from spuraudit.gates.outputs.sarif import sarif_json, sarif_unjudged
from spuraudit.gates.outputs.sections import unjudged

__all__ = [
    "annotation_lines",
    "annotation_unjudged",
    "comment",
    "comment_unjudged",
    "junit_unjudged",
    "junit_xml",
    "sarif_json",
    "sarif_unjudged",
    "step_summary",
    "unjudged",
]
