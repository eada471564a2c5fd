"""Which packages are installed, and which extra of spuraudit brings the others. Nothing of them is imported."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.runs.doctor import Check, Status

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    Declared = dict[str, list[Requirement]]

#: Shown in any case: name on PyPI.
SHOWN = ("torch", "torchvision", "timm", "open-clip-torch", "transformers", "diffusers", "ray", "plotly")
_DISTRIBUTION = "spuraudit"
_TREE = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"
#: An extra for developers: no part of it is needed by a scan.
_DEVELOPERS = "dev"


def packages() -> list[Check]:
    """The packages of SHOWN, and every other requirement that is absent or too old. What is required blocks."""
    from packaging.utils import canonicalize_name

    needed: dict[str, Requirement] = {}
    optional: dict[str, tuple[Requirement, list[str]]] = {}
    for extra, listed in declared().items():
        for one in listed:
            name = str(canonicalize_name(one.name))
            if not extra:
                needed[name] = one
            else:
                optional.setdefault(name, (one, []))[1].append(extra)
    names = [*SHOWN, *(name for name in needed if name not in SHOWN and _problem(needed[name]) is not None)]
    return [
        _required(needed[name]) if name in needed else _optional(name, *optional.get(name, (None, [])))
        for name in names
    ]


def declared() -> Declared:
    """Requirements of spuraudit by extra; "" holds those of every installation.

    From pyproject.toml where the package is run from its source tree: an editable installation keeps the metadata of
    the day it was made.
    """
    from packaging.requirements import Requirement

    if _TREE.is_file():
        project = tomllib.loads(_TREE.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == _DISTRIBUTION:
            texts = {"": project.get("dependencies", []), **project.get("optional-dependencies", {})}
            texts.pop(_DEVELOPERS, None)
            return {extra: [Requirement(text) for text in listed] for extra, listed in texts.items()}
    try:
        listed = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or []]
        extras = metadata.metadata(_DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return {}
    found: Declared = {"": [one for one in listed if _applies(one, "")]}
    for extra in extras:
        if extra != _DEVELOPERS:
            found[extra] = [one for one in listed if _applies(one, extra) and not _applies(one, "")]
    return found


def _applies(one: Requirement, extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _problem(one: Requirement) -> str | None:
    """`not installed`, or which version would do; None where all is well."""
    version = _installed(one.name)
    if version is None:
        return "not installed"
    return None if one.specifier.contains(version, prereleases=True) else f"{version}, but {one.specifier} is needed"


def _required(one: Requirement) -> Check:
    problem = _problem(one)
    if problem is None:
        return Check("versions", one.name, "ok", _installed(one.name) or "")
    absent = problem == "not installed"
    hint = f"pip install '{one}'"
    return Check("versions", one.name, "missing" if absent else "warning", problem, hint, blocks=absent)


def _optional(name: str, one: Requirement | None, extras: list[str]) -> Check:
    problem = _problem(one) if one is not None else None if _installed(name) else "not installed"
    if problem is None:
        return Check("versions", name, "ok", _installed(name) or "")
    status: Status = "missing" if problem == "not installed" else "warning"
    if not extras:
        return Check("versions", name, status, problem, f"pip install {name}")
    hint = " or ".join(f"pip install 'spuraudit[{extra}]'" for extra in extras)
    return Check("versions", name, status, f"{problem}; only the extra {' or '.join(extras)} needs it", hint)
