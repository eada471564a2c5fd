"""The record inside the page, and the policy that lets nothing but the page's own scripts run.

Source of the escaping rule: a class named `</script>` ends a script element however it is quoted; as \\u003c it cannot.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spuraudit.report import bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from spuraudit.record.scan import ScanRecord

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def script_json(content: object) -> Markup:
    """JSON that is safe inside `<script type="application/json">`: no tag, comment or entity can appear in it."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_ESCAPES))


def embedded_record(record: ScanRecord, most: int = bounds.RECORD_BYTES) -> tuple[Markup, dict[str, int]]:
    """The record as script-safe JSON, and how many entries were left out to stay below `most` bytes.

    The most detailed numbers go first: curves, then cells, then class pairs and features, then classes; then findings.
    """
    content = record.model_dump(mode="json", by_alias=True)
    left_out: dict[str, int] = {}
    steps: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
        ("curves", lambda _: True),
        ("measurements", lambda item: "cell" in item["scope"]),
        ("measurements", lambda item: "donor_class" in item["scope"] or "feature" in item["scope"]),
        ("findings", lambda item: not item["suspected"]),
        ("measurements", lambda item: "class" in item["scope"]),
        ("findings", lambda item: bool(item["exhibits"]) or True),
    ]
    text = script_json(content)
    for part, leaves in steps:
        if len(text) <= most:
            break
        kept = [item for item in content[part] if not leaves(item)]
        if len(kept) < len(content[part]):
            left_out[part] = left_out.get(part, 0) + len(content[part]) - len(kept)
            content[part] = kept
            text = script_json({**content, "omitted": left_out})
    return text, left_out


def policy(scripts: list[str]) -> str:
    """Content-Security-Policy: nothing is fetched from anywhere, and only these inline scripts run.

    plotly writes its own style rules and makes its download picture from a blob, hence 'unsafe-inline' for styles
    and blob: for images.
    """
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes or repr('none')}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
