"""A page that shows an older verdict than the run's says so itself: whoever reads it may see nothing else.

The page is not rendered again: whoever made it may have withheld its pictures or given it a title, which no file keeps.
"""

from __future__ import annotations

import re
import sys
from html import escape
from typing import TYPE_CHECKING

from spuraudit.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.verdict import Outcome

_TONES: dict[Outcome | None, str] = {"pass": "pass", "fail": "fail", "not evaluated": "unknown", None: "unknown"}
"""What the page of a run shows for each outcome."""
_NONE = "open"
"""What it shows where no gates were judged: no verdict, so none that is older."""
_SHOWN = re.compile(r'<section id="verdict" class="verdict (pass|fail|unknown|open)"')
_MAIN = '<main id="main" tabindex="-1">\n'
_BAND = re.compile(r'<section id="older-verdict".*?</section>\n', re.DOTALL)
_TITLE, _OLDER_TITLE = " · spuraudit</title>", " · older verdict · spuraudit</title>"


def compare(folder: Path, outcome: Outcome | None, said: str, *, quiet: bool = False) -> None:
    """Mark the page of a run where its verdict is not `outcome`, or take the mark away; say on stderr what is older.

    outcome: None where there is no verdict. said: the verdict in words. quiet: nothing of a page that has no verdict.
    Never raises for what a page is or lacks.
    """
    from spuraudit.record.folder import write_bytes

    page = folder / "report.html"
    try:
        text = page.read_bytes().decode() if page.is_file() else ""
        shown = _SHOWN.search(text)
        if shown is None:
            return
        older = shown[1] not in (_TONES[outcome], _NONE)
        told = _marked(text, said, folder.name) if older else _plain(text)
        if told != text:
            write_bytes(page, told.encode())
    except (OSError, ValueError, RunError) as error:
        print(f"{page} could not be compared with the verdict: {error}", file=sys.stderr)
        return
    if older:
        print(f"{page} shows an older verdict, and says so now. Renew it: spuraudit report {folder}", file=sys.stderr)
    elif shown[1] == _NONE and outcome is not None and not quiet:
        print(f"{page} shows no verdict. To add it: spuraudit report {folder}", file=sys.stderr)


def _plain(text: str) -> str:
    return _BAND.sub("", text, count=1).replace(_OLDER_TITLE, _TITLE, 1)


def _marked(text: str, said: str, run: str) -> str:
    band = (
        '<section id="older-verdict" class="verdict unknown" aria-labelledby="older-verdict-title">\n'
        '<h2 id="older-verdict-title">The verdict below is out of date</h2>\n'
        f'<p class="statement">{escape(f"The run was judged again. {said}")}</p>\n'
        f'<p class="caution">To renew this page: <code>spuraudit report {escape(run)}</code></p>\n'
        "</section>\n"
    )
    return _plain(text).replace(_MAIN, _MAIN + band, 1).replace(_TITLE, _OLDER_TITLE, 1)
