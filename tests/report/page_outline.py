"""Reads a page the way a test wants it: headings, pictures, ids, visible text, without a browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

INLINE = {"a", "b", "code", "em", "strong", "sup", "wbr", "noscript"}
VOID = {"meta", "link", "img", "br", "hr", "input", "col", "source", "wbr"}


@dataclass
class Outline:
    """What a page is made of. `unclosed` stays empty for well-nested HTML."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""
    captions: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Outline()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.tags.append(tag)
        self._gap(tag)
        self.page.attributes += [(tag, name, value) for name, value in values.items()]
        if "id" in values:
            self.page.ids.append(values["id"])
        if tag == "img":
            self.page.images.append(values)
        if tag in {"h1", "h2", "h3", "h4"}:
            self.page.headings.append((int(tag[1]), ""))
        if tag == "caption":
            self.page.captions.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def _gap(self, tag: str) -> None:
        """Neighbouring cells and blocks are separate words, as on screen."""
        if tag not in INLINE:
            self.words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._gap(tag)
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.page.unclosed.append(tag)
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            return
        self.words.append(data)
        for tag in ("h1", "h2", "h3", "h4"):
            if tag in self.open:
                level, text = self.page.headings[-1]
                self.page.headings[-1] = (level, text + data)
        if "caption" in self.open:
            self.page.captions[-1] += data


def outline(page: str) -> Outline:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    reader.page.text = " ".join("".join(reader.words).replace("\u202f", " ").replace("\u00a0", " ").split())
    reader.page.headings = [(level, " ".join(text.split())) for level, text in reader.page.headings]
    reader.page.unclosed += reader.open
    return reader.page
