"""Markdown products, read by a CommonMark parser with GitHub's tables: names stay text in all of them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import sample_run
import toy_fix
from markdown_it import MarkdownIt

from spuraudit.record.comparison import Comparison
from spuraudit.record.fix import FixRecord, read_fix
from spuraudit.record.folder import read_record, read_verdict, to_json
from spuraudit.record.markdown import code, safe
from spuraudit.record.scan import ScanRecord
from spuraudit.record.verdict import Verdict
from spuraudit.report.card import card_text
from spuraudit.report.compare_page import comparison_content
from spuraudit.report.markdown import markdown_text
from spuraudit.report.views.compare_pair import Pair, gather_pair
from spuraudit.report.views.fix_markdown import fix_markdown

if TYPE_CHECKING:
    from pathlib import Path

PING = "@org/team #12 GH-7 http://evil.example www.evil.example a|b <img src=x onerror=alert(1)> [x](y) `*_~$ --> "
#: What GitHub looks for in the finished page, outside code.
REACHES = (r"@org", r"#12", r"GH-7", r"http://", r"www\.evil")
#: Keys whose values are words of the format, though a feature may be called so.
FIXED = {"role", "audit", "metric", "source", "layout", "arms"}
OWN = {"h2", "h3", "p", "strong", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "sub", "code"}


class Page(HTMLParser):
    """Tags of rendered Markdown, cells per table row, words outside and inside code, and what is struck or stressed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.rows: list[int] = []
        self.words, self.copied = "", ""
        self.inside = 0
        self.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside += tag == "code"
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.copied += data
        else:
            self.words += data


def pinging(content: Any, names: set[str]) -> Any:
    """JSON in which every one of the names also calls a team, an issue and a page."""
    if isinstance(content, dict):
        return {key: value if key in FIXED else pinging(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [pinging(value, names) for value in content]
    return PING + content if isinstance(content, str) and content in names else content


def renamed(record: Any, names: set[str]) -> Any:
    return type(record).model_validate(pinging(json.loads(to_json(record)), names))


def names_of(record: ScanRecord) -> set[str]:
    """Classes, features, donors, model and data."""
    scopes = [one.scope for one in record.measurements]
    named = {str(scope[key]) for scope in scopes for key in ("class", "feature", "target_class") if key in scope}
    found = {name for one in record.findings for name in (one.class_name, one.feature, one.target_class) if name}
    return named | found | {record.model.name, record.data.name}


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.birds_run(tmp_path_factory.mktemp("birds") / "run")


@pytest.fixture(scope="module")
def fix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fix")
    toy_fix.write_fix(folder / "fix", toy_fix.draw(folder / "data"))
    return folder / "fix"


@pytest.fixture(scope="module")
def products(birds: Path, fix: Path) -> dict[str, str]:
    """The same names in the text of every product."""
    plain = read_record(birds)
    record = renamed(plain, names_of(plain))
    judged = read_verdict(birds)
    verdict = None if judged is None else Verdict.model_validate(pinging(json.loads(to_json(judged)), names_of(plain)))
    runs = sorted(file.parent for file in fix.rglob("scan.json"))
    pair = gather_pair(runs[0], runs[1])
    names = names_of(pair.records[0]) | names_of(pair.records[1])
    before, after = (renamed(one, names) for one in pair.records)
    compared: Comparison = renamed(pair.comparison, names)
    fixed: FixRecord = renamed(read_fix(fix), names | {"swap"})
    return {
        "report": markdown_text(record, verdict),
        "title": markdown_text(record, verdict, title=PING),
        "compare": comparison_content(Pair(compared, (before, after)), ".md").decode(),
        "fix": fix_markdown(fixed),
        "card": card_text(record).split("\n---\n", 1)[1],
    }


@pytest.mark.parametrize("product", ["report", "title", "compare", "fix", "card"])
def test_no_name_reaches_anybody_or_becomes_markup(product: str, products: dict[str, str]) -> None:
    page = Page(products[product])
    assert page.words.count("org/team") > (0 if product == "title" else 3)
    for pattern in REACHES:
        assert not re.search(pattern, page.words), pattern
    assert set(page.tags) <= OWN
    assert "<img src=x onerror=alert(1)>" in page.words
    assert "-->" not in re.sub(r"<!-- [^<>]* -->", "", products[product])
    rows = [line for line in products[product].splitlines() if line.startswith("| ") and not set(line) <= set("| -:")]
    assert [len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows] == page.rows


def test_a_command_can_be_copied(birds: Path) -> None:
    record = read_record(birds)
    typed = ["scan", "hf-hub:org/model@v1", "--data", "my_*data*", "--storage", "s3://bucket/#1"]
    text = markdown_text(record.model_copy(update={"run": record.run.model_copy(update={"argv": typed})}), None)
    assert "spuraudit scan hf-hub:org/model@v1 --data 'my_*data*' --storage 's3://bucket/#1'" in Page(text).copied


@pytest.mark.parametrize("text", [PING, "1. x", "12. ", "- x", "---", "3.5", "2026-01-02", "a\n\n# b", "&lt;", "~~x~~"])
def test_text_reads_as_it_was_written(text: str) -> None:
    asked = " ".join(text.split())
    for shown in (safe(text), f"- {safe(text)}", f"> {safe(text)}"):
        assert " ".join(Page(shown).words.replace("\u200b", "").split()) == asked
    page = Page(code(text))
    assert (" ".join(page.copied.split()), page.words.strip()) == (asked, "")


def test_numbers_and_days_are_not_touched() -> None:
    for text in ("0.1.0", "2026-01-02", "3 %", "12.5 points"):
        assert safe(text) == text


def test_text_is_cut_at_its_limit() -> None:
    assert safe("x" * 400) == "x" * 299 + "…"
    assert code("x" * 400, 10) == f"<code>{'x' * 9}…</code>"
