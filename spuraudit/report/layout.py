"""What all pages have in common: frame, style sheet, script, policy, logo, notes; in one file or with parts beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spuraudit.report.downloads import Attached, download
from spuraudit.report.embed import POLICY_OF_PARTS, policy
from spuraudit.report.fitting import FILES, fitted
from spuraudit.report.templating import Section, environment, source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spuraudit.report.edition import Edition
    from spuraudit.report.parts import Parts
    from spuraudit.report.templating import Page


def compose(
    template: str,
    page: Page,
    views: Mapping[str, Any],
    *,
    edition: Edition,
    parts: Parts,
    sheets: Sequence[str] = (),
    library: str = "",
) -> str:
    """The page as HTML. sheets: further style sheets of templates/style; library: a script that waits for its use.

    With parts beside it the page has no scripts: whoever serves it so drops them.
    """
    made = environment()
    style = made.get_template("style/report.css.j2").render() + "".join(source(f"style/{name}.css") for name in sheets)
    script = source("script/report.js")
    return made.get_template(template).render(
        page=page,
        edition=edition,
        parts=parts,
        logo=None if edition.logo is None else parts.picture(*edition.logo),
        csp=POLICY_OF_PARTS if parts.beside else policy([library, script] if library else [script]),
        style=parts.style(style) if parts.beside else Markup(style),
        library=Markup(library),
        script=None if parts.beside else Markup(script),
        **views,
    )


def compose_plain(
    template: str,
    page: Page,
    views: Mapping[str, Any],
    *,
    edition: Edition,
    parts: Parts,
    sheets: Sequence[str] = (),
) -> str:
    """A page without pictures and charts that answer, within its edition's size.

    views: `downloads` are files (`Attached`), of which the largest go first. Raises UsageError where that does not do.
    """

    def draw(most: int) -> str:
        files: list[Attached] = views["downloads"]
        shown = {**views, "downloads": [download(*file, parts, most) for file in files]}
        return compose(template, page, shown, edition=edition, parts=parts, sheets=sheets)

    return fitted(lambda fit: draw(fit.files), FILES, edition.most, parts)


def notes_section(edition: Edition) -> Section:
    """The notes of whoever hands a page on."""
    return Section("notes", "Notes", "notes", edition.notes is not None)
