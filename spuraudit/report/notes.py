"""Notes of whoever hands a report on: Markdown or plain text to HTML that can hold nothing but text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from spuraudit.errors import UsageError
from spuraudit.report import bounds
from spuraudit.report.edition import read_bounded

if TYPE_CHECKING:
    from pathlib import Path

    from markdown_it.token import Token

_BLANK = re.compile(r"\n[ \t]*\n\s*")
_SCHEMES = {"http", "https", "mailto"}
HEADING = "h3"
"""Of all headings in notes: they stand below a heading of level 2, and a level must not be skipped."""


def load_notes(file: Path, option: str = "--notes") -> Markup:
    """The file as HTML: .txt as paragraphs, anything else as Markdown. UTF-8, up to NOTES_BYTES.

    option: what messages call the file. Raises UsageError.
    """
    named = f"{option} {file}"
    content = read_bounded(named, file, bounds.NOTES_BYTES)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\x00", "")
    except UnicodeDecodeError as error:
        raise UsageError(f"{named}: not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    if not text.strip():
        raise UsageError(f"{named}: there is no text in it.", "Write a line, or leave the option out.")
    return plain_html(text) if file.suffix.lower() == ".txt" else markdown_html(text)


def plain_html(text: str) -> Markup:
    """Paragraphs where a line is blank; line ends stay."""
    paragraphs = (escape(part).replace("\n", Markup("<br>\n")) for part in _BLANK.split(text.strip()))
    return Markup("\n").join(Markup("<p>{}</p>").format(part) for part in paragraphs)


def markdown_html(text: str) -> Markup:
    """CommonMark without HTML and pictures: paragraphs, emphasis, lists, quotes, code, headings, links of the web.

    HTML is shown as it is written, a picture becomes a link to it; other links (`javascript:`, `file:`) stay text.
    """
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).disable(["image", "html_block", "html_inline"])
    made.validateLink = _is_link  # type: ignore[method-assign]
    tokens = made.parse(text)
    for token in tokens:
        _flatten(token)
    return Markup(made.renderer.render(tokens, made.options, {}))


def _flatten(token: Token) -> None:
    if token.type in {"heading_open", "heading_close"}:
        token.tag = HEADING
    for child in token.children or []:
        if child.type == "link_open":
            child.attrSet("rel", "noreferrer")


def _is_link(url: str) -> bool:
    try:
        return urlsplit(url.strip()).scheme.lower() in _SCHEMES
    except ValueError:
        return False
