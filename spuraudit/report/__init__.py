"""From a run folder to what people read: HTML, Markdown, CSV, JSON. No torch, no model, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.report.edition import Edition, make_edition
from spuraudit.report.output import SUFFIXES, write

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SUFFIXES", "Edition", "make_edition", "render", "write"]


def render(
    run: Path,
    *,
    title: str | None = None,
    charts: bool = True,
    against: Path | None = None,
    edition: Edition | None = None,
) -> str:
    """The report of a finished run folder as one self-contained HTML text; same folder and arguments, same text.

    `title` replaces "MODEL on DATA"; `charts=False` leaves out plotly, for a small file whose charts are drawn only;
    `against` is the folder of a zoo run whose models stand beside this one instead of the published ones; `edition`
    adds a logo and notes, withholds pictures, and limits the size (None: 10 MB and nothing else).
    Raises RunError where there is no finished run, UsageError where the page cannot be as small as the edition asks.
    """
    from spuraudit.report.page import render as render_page

    return render_page(run, title=title, charts=charts, against=against, edition=edition)
