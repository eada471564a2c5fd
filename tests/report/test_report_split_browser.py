"""A split page in headless Chromium behind the policy that Jenkins sends with everything it serves."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_run
import sample_zoo
from test_report_browser import words

from spuraudit.report import write

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser

JENKINS = "sandbox; default-src 'none'; img-src 'self'; style-src 'self'"
KINDS = ("birds", "zoo")


class Strict(http.server.SimpleHTTPRequestHandler):
    """Files, each with the policy of a Jenkins whose administrator changed nothing."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", JENKINS)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("split")
    birds = sample_run.birds_run(root / "runs/birds", sample_run.verdict("fail", "pass"))
    for name, run in (("birds", birds), ("zoo", sample_zoo.plain_zoo(root / "runs/zoo"))):
        write(run, root / f"{name}.html", split=True)
        write(run, root / f"{name}-whole.html", charts=False)
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    handler = functools.partial(Strict, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(params=["served", "from disk"])
def base(request: pytest.FixtureRequest, address: str, root: Path) -> str:
    return address if request.param == "served" else root.as_uri()


def opened(browser: Any, url: str, trouble: list[str], **options: Any) -> Any:
    # Playwright's own scripts run in a sandboxed page too: only the page's are dropped.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    page = context.new_page()
    page.on("console", lambda message: trouble.append(message.text))
    page.on("requestfailed", lambda request: trouble.append(request.url))
    page.goto(url)
    return page


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_missed_behind_a_strict_policy(browser: Any, base: str, kind: str) -> None:
    trouble: list[str] = []
    page = opened(browser, f"{base}/{kind}.html", trouble)
    page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
    page.evaluate("document.querySelectorAll('img').forEach(node => { node.loading = 'eager'; })")
    page.wait_for_function("[...document.querySelectorAll('img')].every(node => node.complete)")
    assert trouble == []
    widths = page.evaluate("[...document.querySelectorAll('img')].map(node => node.naturalWidth)")
    assert all(widths)
    assert len(widths) > 20 or kind == "zoo"
    page.context.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_like_the_page_in_one_file(browser: Any, address: str, root: Path, kind: str, scheme: str) -> None:
    looks = (
        "[...document.querySelectorAll('body, h1, h2, .verdict, th, td, .card, svg text, svg rect, svg circle')]"
        ".map(node => { const s = getComputedStyle(node);"
        " return [s.color, s.backgroundColor, s.fontSize, s.fontFamily, s.fill, s.stroke]; })"
    )
    split = opened(browser, f"{address}/{kind}.html", [], color_scheme=scheme)
    whole = opened(browser, (root / f"{kind}-whole.html").as_uri(), [], color_scheme=scheme, java_script_enabled=False)
    assert split.evaluate(looks) == whole.evaluate(looks)
    assert len(split.evaluate(looks)) > 100
    for page in (split, whole):
        page.context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_complete(browser: Any, address: str, root: Path, kind: str) -> None:
    read = "document.querySelector('main').textContent"
    split = opened(browser, f"{address}/{kind}.html", [])
    whole = opened(browser, (root / f"{kind}-whole.html").as_uri(), [], java_script_enabled=False)
    shown, inside = words(split.evaluate(read)), words(whole.evaluate(read))
    assert "inside it" not in shown
    if kind == "birds":  # how the record is had differs
        shown, inside = (text.rsplit("The record", 1)[0] for text in (shown, inside))
    assert shown == inside.replace("travel inside it", "lie beside it")
    for page in (split, whole):
        page.context.close()


def test_the_record_can_be_read(browser: Any, address: str, root: Path) -> None:
    page = opened(browser, f"{address}/birds.html", [])
    link = page.locator("#record a[download]")
    answer = page.context.request.get(link.evaluate("node => node.href"))
    assert answer.json() == json.loads((root / "runs/birds/scan.json").read_bytes())
    page.context.close()
