"""The record inside the page, and the policy that lets nothing but the page's own scripts run.

Source of the escaping rule: a class named `</script>` ends a script element however it is quoted; as \\u003c it cannot.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spuraudit.report import bounds

if TYPE_CHECKING:
    from pydantic import BaseModel

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
    # What a record of 1,000 classes holds is mostly left out: entries are weighed one by one, and dumped when kept.
    kept = {name: [(item, _weight(item)) for item in getattr(record, name)] for name in LISTS}
    rest = record.model_copy(update={name: [] for name in LISTS}).model_dump(mode="json", by_alias=True)
    spare = most - len(script_json(rest))
    left_out: dict[str, int] = {}
    text = None
    for name, leaves in (("", _never), *STEPS):
        if name:
            stays = [(item, weight) for item, weight in kept[name] if not leaves(item)]
            if len(stays) == len(kept[name]):
                continue
            left_out[name] = left_out.get(name, 0) + len(kept[name]) - len(stays)
            kept[name] = stays
        if sum(weight for items in kept.values() for _, weight in items) <= spare:
            text = _dumped(rest, kept, left_out)
            if len(text) <= most:
                return text, left_out
    return text if text is not None else _dumped(rest, kept, left_out), left_out


LISTS = ("curves", "measurements", "findings")
STEPS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("curves", lambda _: True),
    ("measurements", lambda item: "cell" in item.scope),
    ("measurements", lambda item: "donor_class" in item.scope or "feature" in item.scope),
    ("findings", lambda item: not item.suspected),
    ("measurements", lambda item: "class" in item.scope),
    ("findings", lambda _: True),
)
"""What is left out of the embedded record, and in which order."""


def _never(_: Any) -> bool:
    return False


def _weight(item: BaseModel) -> int:
    """Bytes of an entry in JSON with its comma, about: letters that JSON escapes weigh more."""
    return len(item.model_dump_json(by_alias=True)) + 1


def _dumped(rest: dict[str, Any], kept: dict[str, list[tuple[Any, int]]], left_out: dict[str, int]) -> Markup:
    lists = {name: [item.model_dump(mode="json", by_alias=True) for item, _ in items] for name, items in kept.items()}
    return script_json({**rest, **lists, **({"omitted": left_out} if left_out else {})})


POLICY_OF_PARTS = (
    "default-src 'none'; style-src 'self' file:; img-src 'self' file:; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of a page without scripts whose style sheet and pictures lie beside it.

file: is for a page opened from disk, whose 'self' is nothing in some browsers.
"""


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
