"""How the pages that a command writes are handed on: from options, or from the config's `report:` section."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spuraudit.errors import UsageError
from spuraudit.report.edition import Edition, make_edition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.gates.config import Config


@dataclass(frozen=True)
class Pages:
    """Of a scan, a zoo run or a fix. `title`: of the page of the whole; pages of single models keep theirs."""

    title: str | None = None
    edition: Edition = field(default_factory=Edition)


def pages_of(config: Config | None, *, redact_images: bool = False) -> Pages:
    """What the config says; redact_images: what the command line adds. Raises UsageError for a file it cannot take."""
    said = config.report if config is not None else None
    if config is None or said is None:
        return Pages(edition=Edition(redact=redact_images))
    edition = make_edition(
        logo=said.logo,
        notes=said.notes,
        redact=said.redact_images or redact_images,
        most_mb=said.max_report_mb,
        config=config.file,
    )
    return Pages(said.title, edition)


def refuse_without_a_page(of_a_page: Mapping[str, object]) -> None:
    """Raises UsageError for the first option that is given, since no page is written.

    --redact-images is never among them: it holds for everything without pictures.
    """
    for name in (name for name, value in of_a_page.items() if value is not None):
        raise UsageError(f"{name} has no effect: no HTML page is written.", "Leave it out, or add -o report.html.")
