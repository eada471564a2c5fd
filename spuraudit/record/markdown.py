"""Names and texts of others in Markdown: one escape for every file that a forge or a hub shows as a page."""

from __future__ import annotations

import re

MOST = 300
"""Characters of a name in a cell or a sentence."""
_SIGNS = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_LIST = re.compile(r"^(\d+(?=\.(?: |$))|(?=-))")
_ISSUE = re.compile(r"\b(GH)-(?=\d)", re.IGNORECASE)


def one_line(text: str, most: int = MOST) -> str:
    """White space and control characters as single spaces, and at most `most` characters."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def safe(text: str, most: int = MOST) -> str:
    """Text as it is written, on one line: no markup, no HTML, no mention, reference or link comes of it.

    A backslash does not stop GitHub from reading `@name` and `#1` in the finished page; a space of no width does.
    """
    line = _LIST.sub(r"\1\\", _signs(text, most))
    for sign, split in (("@", "@&#8203;"), ("\\#", "\\#&#8203;"), ("://", ":&#8203;//"), ("www.", "www&#8203;.")):
        line = line.replace(sign, split)
    return _ISSUE.sub(r"\1&#8203;-", line)


def code(text: str, most: int = MOST) -> str:
    """Text to be copied, such as a command: nothing invisible in it. Forges look for no mention inside `<code>`."""
    line = _signs(text, most).replace("@", "&#64;").replace("://", "&#58;//").replace("www.", "www&#46;")
    return f"<code>{line}</code>"


def _signs(text: str, most: int) -> str:
    line = one_line(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SIGNS.sub(r"\\\1", line)
