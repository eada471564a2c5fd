"""Where `templates/` and `model_zoo.yaml` lie: in the source tree, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path

from spuraudit.errors import SpurauditError

_PACKAGE = Path(__file__).resolve().parent
# An editable install also has a frozen copy elsewhere; the tree beside the package is the live one.
_PLACES = (_PACKAGE / "_shipped", _PACKAGE.parent)


def _find(name: str) -> Path:
    for place in _PLACES:
        if (place / name).exists():
            return place / name
    tried = " and ".join(str(place / name) for place in _PLACES)
    raise SpurauditError(f"The installation is incomplete: no {tried}.", "Reinstall spuraudit.")


def templates_dir() -> Path:
    """Folder of the report's jinja2 templates, styles and script."""
    return _find("templates")


def model_zoo_file() -> Path:
    """The YAML file of the 42 published models with their figures."""
    return _find("model_zoo.yaml")
