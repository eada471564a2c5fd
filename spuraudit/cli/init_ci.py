"""What `spuraudit init --ci` writes: the files of examples/ci, filled in for somebody's own model, data and gates."""

from __future__ import annotations

import os
import shlex
import string
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.cli.yaml_text import EDIT, comment, flow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spuraudit.cli.run_origin import Origin


class System(StrEnum):
    """What a file is for."""

    GITHUB = "github"
    GITLAB = "gitlab"
    PRE_COMMIT = "pre-commit"


#: The file of a system in templates/ci and examples/ci.
FILES = {System.GITHUB: "github.yml", System.GITLAB: "gitlab.yml", System.PRE_COMMIT: "pre-commit-config.yaml"}
#: From the root of the repository. The file of pre-commit is shared by all hooks, so its text is only shown.
PLACES = {System.GITHUB: ".github/workflows/spuraudit.yml", System.GITLAB: ".gitlab/spuraudit.yml"}
CANDIDATE = "runs/candidate"
"""Where the scan of a CI job writes its run."""
_FETCHED = ("timm:", "hf-hub:", "open_clip:", "zoo:")
_WIDTH = 119


@dataclass(frozen=True)
class Filling:
    """What the templates are filled with. Paths are relative to the root of the repository.

    scan: the command that writes `run`. judges: whether it exits with 1 where a gate fails. stored: the run that the
    hook judges. about: a paragraph at the head of each file, by system.
    """

    scan: str
    run: str
    config: str
    judges: bool
    stored: str
    about: dict[System, str]


def filling(output: Path, folder: Path | None, origin: Origin | None, *, keep: bool) -> Filling:
    """For the config file `output`. `folder`, `origin`: the run that it is written from; keep: it is there already."""
    from spuraudit.gates import load_config

    root = repository(output)
    config = output.resolve().relative_to(root).as_posix()
    stored = None if folder is None else _inside(folder, root)
    typed = () if origin is None else origin.typed
    if keep:
        said = load_config(output)
        return own(config, said.model, said.data, typed, stored)
    if origin is not None:
        return own(config, origin.model.text, origin.data.text, typed, stored)
    return own(config, None, None, typed, stored)


def own(config: str, model: str | None, data: str | None, typed: tuple[str, ...], stored: str | None) -> Filling:
    """For the model and data that a config file names; None: it is yet to be edited. `typed`: more options of scan."""
    fetched = ("--allow-download",) if model is not None and model.startswith(_FETCHED) else ()
    words = ("spuraudit", "scan", "--config", config, "-o", CANDIDATE, *fetched, *typed)
    what = "the model and the data" if model is None or data is None else f"{model} and {data}"
    reads = f"The scan reads {what} that {config} names: files of them are in the repository, or a step fetches them."
    if model is not None and data is not None:
        reads = f"The scan reads {what}, as {config} says: files are in the repository, or a step fetches them."
    judged = stored or CANDIDATE
    return Filling(
        scan=shlex.join(words),
        run=CANDIDATE,
        config=config,
        judges=True,
        stored=judged,
        about={
            System.GITHUB: f"{reads} Those in Git LFS need `with: {{lfs: true}}` at actions/checkout.",
            System.GITLAB: f"{reads} A failed gate ends the scan with 1; `gate` says then which, and ends the job.",
            System.PRE_COMMIT: f"The hook judges {judged}: keep its scan.json in git, and its observations where gates "
            "limit a drop.",
        },
    )


def rendered(system: System, filling: Filling) -> str:
    """The text of a system's file. Nothing in a name can end its line, its word or, on GitHub, be an expression."""
    from spuraudit.resources import templates_dir

    scan, config = filling.scan, filling.config
    gate = shlex.join(["spuraudit", "gate", filling.run, "--config", config])
    if system is System.GITLAB and filling.judges:
        scan += " || { code=$?; [ $code -eq 1 ] || exit $code; }"
    if system is System.GITHUB:
        scan, config = (text.replace("${{", "${{ '${{' }}") for text in (scan, config))
    text = (templates_dir() / "ci" / FILES[system]).read_text(encoding="utf-8")
    return _Template(text).substitute(
        about="\n".join(comment(filling.about[system], width=_WIDTH)),
        scan=flow(scan),
        run=filling.run,
        config=flow(config),
        gate=flow(f"{gate} --junit junit.xml --markdown comment.md"),
        args=flow([filling.stored, "--config", config]),
    )


def places(systems: Sequence[System], output: Path) -> dict[System, Path]:
    """Where the files of the systems go that have one of their own, as somebody here would type it."""
    root = repository(output)
    return {system: _near(root / PLACES[system], root) for system in systems if system in PLACES}


def steps(texts: Mapping[System, str]) -> list[str]:
    """What is left to do by hand, given the text for each system."""
    said = []
    if System.GITLAB in texts:
        said.append(f"Add to .gitlab-ci.yml:  include: [{{local: {PLACES[System.GITLAB]}}}]")
    if System.PRE_COMMIT in texts:
        item = texts[System.PRE_COMMIT].partition("repos:\n")[2]
        said.append(f"Add to .pre-commit-config.yaml, below its `repos:`\n\n{item}")
    said.append(
        f"For CI, in the lines marked {EDIT}: for OWNER, write whose copy of spuraudit on GitHub is used; for REF, a "
        "tag or commit of it."
    )
    return said


def repository(config: Path) -> Path:
    """The root of the git repository around a config file, where CI systems look; outside one, its folder."""
    folder = config.resolve().parent
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def _inside(path: Path, root: Path) -> str | None:
    """A path from the root, with forward slashes; None where it lies elsewhere."""
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _near(path: Path, root: Path) -> Path:
    """As somebody in this repository would type it."""
    return Path(os.path.relpath(path)) if Path.cwd().resolve().is_relative_to(root) else path


class _Template(string.Template):
    """`@@{name}`: dollar signs and braces are GitHub's and the shell's."""

    delimiter = "@@"
