"""A page that is handed on: without pictures, with a logo and notes, within a size."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
import sample_run
from markdown_it import MarkdownIt
from markupsafe import Markup
from page_outline import outline
from PIL import Image
from typer.testing import CliRunner

from spuraudit.errors import UsageError
from spuraudit.record.folder import read_record
from spuraudit.report import Edition, make_edition, render
from spuraudit.report.bounds import LOGO_BYTES, NOTES_BYTES
from spuraudit.report.notes import markdown_html, plain_html

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>A</title>{}<path d="M0 0h9"/></svg>'


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.birds_run(tmp_path_factory.mktemp("birds"), sample_run.verdict("fail", "pass"))


def drawn(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 10), (10, 90, 140)).save(buffer, kind)
    return buffer.getvalue()


def test_redacted_page_holds_no_pixel_and_says_so(birds: Path) -> None:
    whole = outline(render(birds, charts=False))
    text = render(birds, charts=False, edition=Edition(redact=True))
    page = outline(text)
    assert page.images == []
    assert "data:image" not in text
    assert "base64" not in text.split("<body>")[1]
    assert "Pictures were withheld from this copy of the report." in page.text
    for image in whole.images:
        assert image["alt"].split(". ")[-1] in page.text
    panels = [panel for found in read_record(birds).findings for one in found.exhibits for panel in one.panels]
    assert 0 < page.text.count("Picture withheld.") <= len(panels)
    assert "98 % waterbird" in page.text
    assert page.unclosed == []


def test_logo_is_embedded_by_its_bytes_and_stands_beside_the_title(birds: Path, tmp_path: Path) -> None:
    for name, content, kind in (
        ("a.svg", drawn("PNG"), "image/png"),
        ("b.png", drawn("JPEG"), "image/jpeg"),
        ("c.txt", drawn("WEBP"), "image/webp"),
        ("d.jpg", SVG.format("").encode(), "image/svg+xml"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        edition = make_edition(logo=file)
        page = outline(render(birds, charts=False, edition=replace(edition, redact=True)))
        assert [image["src"].split(";")[0] for image in page.images] == [f"data:{kind}"]
        assert b64decode(page.images[0]["src"].split(",")[1]) == content
        assert page.images[0]["alt"] == "Logo"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SVG.format("<script>alert(1)</script>"), "<script>"),
        (SVG.format('<a href="javascript:alert(1)"><rect/></a>'), "another file (href)"),
        (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink">'
            '<use x:href="https://example.org/a.svg#b"/></svg>',
            "another file (href)",
        ),
        (SVG.format('<image href="https://example.org/a.png"/>'), "another file (href)"),
        (SVG.format('<image href="data:image/svg+xml;base64,AAAA"/>'), "another file (href)"),
        (SVG.format('<rect onload="alert(1)"/>'), "event handler (onload)"),
        (SVG.format("<foreignObject><p/></foreignObject>"), "<foreignobject>"),
        (SVG.format('<animate attributeName="href"/>'), "<animate>"),
        (SVG.format('<rect style="fill:url(https://example.org/a)"/>'), "another file (style)"),
        (SVG.format("<style>@import 'https://example.org/a.css'</style>"), "style that refers"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.format("&a;"), "document type"),
        ("<html><body/></html>", "<html> is no SVG"),
        ("GIF89a", "neither a picture nor an SVG"),
        ("<svg", "neither a picture nor an SVG"),
        ("", "empty"),
        ("x" * (LOGO_BYTES + 1), "larger than 200 kB"),
    ],
)
def test_a_logo_that_is_more_than_a_drawing_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "logo.svg"
    file.write_text(content)
    with pytest.raises(UsageError, match=re.escape(said)):
        make_edition(logo=file)


def test_a_drawing_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    file = tmp_path / "logo.svg"
    file.write_text(SVG.format('<defs><g id="a"/></defs><use href="#a"/><rect fill="url(#a)"/><!-- made by hand -->'))
    assert make_edition(logo=file).logo is not None


def test_a_picture_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "logo.png"
    file.write_bytes(drawn("PNG")[:40])
    with pytest.raises(UsageError, match="cannot be decoded"):
        make_edition(logo=file)


def test_notes_are_text_whatever_they_hold(birds: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text(
        "# First\n\nA **bold** [link](https://example.org) and a [bad](javascript:alert(1)) one.\n\n## Second\n\n"
        f"- one\n- `two`\n\n{sample_run.HOSTILE}\n\n<iframe src=x></iframe>\n\n![pixel](https://example.org/p.png)\n",
        encoding="utf-8",
    )
    page = outline(render(birds, charts=False, edition=make_edition(notes=file)))
    headings = [heading for heading in page.headings if heading[1] in {"Notes", "First", "Second"}]
    assert headings == [(2, "Notes"), (3, "First"), (3, "Second")]
    order = [text for level, text in page.headings if level == 2]
    assert order.index("Key numbers") + 1 == order.index("Notes") < order.index("Suspected spurious features")
    assert page.unclosed == []
    assert "iframe" not in page.tags
    assert all(image["src"].startswith("data:image/webp") for image in page.images)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    links = [value for tag, name, value in page.attributes if tag == "a" and name == "href" and value[0] != "#"]
    assert links == ["https://example.org", "https://example.org/p.png"]
    assert sample_run.HOSTILE in page.text
    assert "[bad](javascript:alert(1))" in page.text


def test_plain_notes_keep_lines_and_paragraphs(tmp_path: Path) -> None:
    assert plain_html("a <b>\nc\n \n\n*d*\n") == Markup("<p>a &lt;b&gt;<br>\nc</p>\n<p>*d*</p>")
    file = tmp_path / "notes.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert make_edition(notes=file).notes == "<p>one<br>\ntwo</p>"


def test_what_markdown_means_is_left_to_its_library() -> None:
    text = "1. a\n2. b\n\n> c *d* `e`\n\n    code\n"
    assert markdown_html(text) == MarkdownIt("commonmark").render(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "not UTF-8"), (b" \n\n ", "no text"), (b"a" * (NOTES_BYTES + 1), "larger than 100 kB")],
)
def test_notes_that_cannot_be_read_are_one_clear_error(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "notes.md"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        make_edition(notes=file)
    with pytest.raises(UsageError, match="cannot be read"):
        make_edition(notes=tmp_path / "missing.md")


@pytest.mark.parametrize("most", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_no_size_is_refused(most: float) -> None:
    with pytest.raises(UsageError, match="not a size"):
        make_edition(most_mb=most)


def test_equal_editions_give_equal_bytes(birds: Path, tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(drawn("PNG"))
    (tmp_path / "notes.md").write_text("*a*")
    pages = {
        render(
            birds,
            charts=False,
            edition=make_edition(logo=tmp_path / "logo.png", notes=tmp_path / "notes.md", most_mb=0.36),
        )
        for _ in range(2)
    }
    assert len(pages) == 1


def test_the_command_takes_all_of_it(birds: Path, tmp_path: Path) -> None:
    import typer

    from spuraudit.cli.report import report

    app = typer.Typer()
    app.command()(report)
    (tmp_path / "logo.svg").write_text(SVG.format(""))
    (tmp_path / "notes.md").write_text("Seen by *me*.")
    out = tmp_path / "page.html"
    words = ["--redact-images", "--logo", str(tmp_path / "logo.svg"), "--notes", str(tmp_path / "notes.md")]
    result = CliRunner().invoke(app, [str(birds), "-o", str(out), *words, "--max-report-mb", "1"])
    assert result.exit_code == 0, result.output
    page = outline(out.read_text())
    assert out.stat().st_size <= 1_000_000
    assert [image["alt"] for image in page.images] == ["Logo"]
    assert "Seen by me." in page.text
    refused = CliRunner().invoke(app, [str(birds), "-o", str(tmp_path / "b.html"), "--max-report-mb", "0.01"])
    assert isinstance(refused.exception, UsageError)
    assert not (tmp_path / "b.html").exists()
