"""A folder without the record of a scan: what it is instead, and which scans lie in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from spuraudit.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ARMS = ("fixed", "control", "before")
"""The scans of a fix; the one that is meant most often first."""
_SHOWN = 4


def no_scan_in(folder: Path) -> RunError:
    """Of a folder without scan.json, to be raised where a scan is asked for. What it advises to give exists."""
    plan = folder / "plan.json"
    if (folder / "zoo.json").is_file() or (folder / "zoo-plan.json").is_file():
        finished = (folder / "zoo.json").is_file()
        return _other(folder, "`spuraudit zoo`", sorted(folder.glob("models/*")), finished)
    if (folder / "fix.json").is_file() or _is_of_fix(plan):
        return _other(folder, "`spuraudit fix`", [folder / arm for arm in _ARMS], (folder / "fix.json").is_file())
    methods = sorted(one.parent for one in folder.glob("*/plan.json") if _is_of_fix(one))
    scans = [method / arm for arm in _ARMS for method in methods]
    if (folder / "trials.json").is_file():
        return _other(folder, "several fixes", scans, finished=True)
    if plan.is_file():
        return RunError(
            f"{folder}: this scan is unfinished (no scan.json).",
            "Run the same `spuraudit scan` command again: it resumes where it stopped.",
        )
    scans += sorted(one.parent for one in folder.glob("*/scan.json"))
    hint = f"Give {_listed(scans)}." if _there(scans) else "Give a run folder, as printed by `spuraudit scan`."
    return RunError(f"{folder}: no run here (no scan.json).", hint)


def _other(folder: Path, what: str, candidates: Sequence[Path], finished: bool) -> RunError:
    hint = f"Give a scan in it: {_listed(candidates)}." if _there(candidates) else "It holds no finished scan."
    resume = "" if finished else " It is unfinished: the command that made it resumes."
    return RunError(f"{folder}: a folder of {what}, not of a scan.", hint + resume)


def _there(candidates: Sequence[Path]) -> list[str]:
    return [str(one) for one in candidates if (one / "scan.json").is_file()]


def _listed(candidates: Sequence[Path]) -> str:
    scans = _there(candidates)
    more = f" or {len(scans) - _SHOWN:,} more" if len(scans) > _SHOWN else ""
    return f"{', '.join(scans[:_SHOWN])}{more}"


def _is_of_fix(plan: Path) -> bool:
    """Whether a plan.json is that of a fix: a scan trains nothing."""
    try:
        content = json.loads(plan.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "training" in content
