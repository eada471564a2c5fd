"""A logo inside a page: a real picture, or an SVG that is a drawing and nothing else."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from spuraudit.errors import UsageError
from spuraudit.report import bounds
from spuraudit.report.edition import read_bounded
from spuraudit.report.pictures import Picture, media_type

if TYPE_CHECKING:
    from pathlib import Path

_RUNS = {"script", "foreignobject", "iframe", "object", "embed", "audio", "video", "handler", "listener", "set"}
_ANIMATES = {"animate", "animatetransform", "animatemotion"}
_REMOTE = re.compile(r"url\(\s*['\"]?(?!#)|@import|expression\(", re.IGNORECASE)
_HINT = "Give a PNG, JPEG or WebP, or an SVG without scripts, animations and references to other files."


def load_logo(file: Path, option: str = "--logo") -> Picture:
    """The file as a picture, at most LOGO_BYTES large; its kind is told by its bytes, not by its name.

    An SVG is refused, not cleaned, where it holds a document type, a script, an event handler, an animation or a
    reference to anything but its own parts: as an image it could do nothing, but the page may be saved apart.
    option: what messages call the file. Raises UsageError.
    """
    named = f"{option} {file}"
    content = read_bounded(named, file, bounds.LOGO_BYTES)
    kind = media_type(content)
    if kind is not None:
        _check_picture(named, content)
    else:
        _check_svg(named, content)
        kind = "image/svg+xml"
    return Picture(kind, content)


def _check_picture(named: str, content: bytes) -> None:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(content)).load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"{named}: the picture cannot be decoded ({error}).", _HINT) from error


def _check_svg(named: str, content: bytes) -> None:
    # A document type is where entities are declared, and these can grow without bound or name files.
    if b"<!doctype" in content.lower() or b"<!entity" in content.lower():
        raise UsageError(f"{named}: an SVG with a document type is not taken.", "Remove its <!DOCTYPE ...> line.")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UsageError(f"{named}: neither a picture nor an SVG ({error}).", _HINT) from error
    if _local(root.tag) != "svg":
        raise UsageError(f"{named}: <{_local(root.tag)}> is no SVG.", _HINT)
    for node in root.iter():
        if (found := _forbidden(node)) is not None:
            raise UsageError(f"{named}: the SVG holds {found}.", _HINT)


def _forbidden(node: ElementTree.Element) -> str | None:
    name = _local(node.tag)
    if name in _RUNS | _ANIMATES:
        return f"<{name}>"
    if _REMOTE.search(node.text or "") and name == "style":
        return "a style that refers to another file"
    for key, value in node.attrib.items():
        short = _local(key)
        if short.startswith("on"):
            return f"an event handler ({short})"
        if short in {"href", "src"} and not value.strip().startswith(("#", "data:image/png", "data:image/jpeg")):
            return f"a reference to another file ({short})"
        if _REMOTE.search(value):
            return f"a reference to another file ({short})"
    return None


def _local(name: object) -> str:
    """An element's or attribute's name without its namespace; comments have none."""
    return name.rsplit("}", 1)[-1].lower() if isinstance(name, str) else ""
