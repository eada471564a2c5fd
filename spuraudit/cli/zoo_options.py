"""What the options of `spuraudit zoo` mean: models, shares, storage, who answers."""

from __future__ import annotations

import re
from contextlib import closing, nullcontext
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from spuraudit.record.zoo_file import Zoo
    from spuraudit.runs.storage import Storage
    from spuraudit.runs.zoo import Executor, Share
    from spuraudit.runs.zoo_job import ZooItem


def items_of(found: Zoo, groups: list[str], models: list[str], preset: str | None) -> tuple[ZooItem, ...]:
    """Entries of the zoo file, in its order, then everything else that was named."""
    from spuraudit.runs.recording import without_folders
    from spuraudit.runs.zoo_job import ZooItem

    known = {entry.id for entry in found.entries}
    others = [model for model in models if model not in known]
    for other in others:
        if ":" not in other and not Path(other).exists():
            hint = did_you_mean(other, known) or "See spuraudit zoo --list, or give a file, timm:NAME, ..."
            raise UsageError(f"{found.file.name} has no model {other!r}, and there is no such file.", hint)
    ids = [model for model in models if model in known]
    entries = found.select(groups, ids) if groups or ids or not others else ()
    items = [
        ZooItem(
            entry.id,
            entry.name,
            f"zoo:{found.file.absolute()}#{entry.id}{f'@{preset}' if preset else ''}",
            entry.group,
            entry.class_map.absolute() if entry.class_map is not None else None,
            entry.licence,
            entry.published,
            entry.shown_spec,
        )
        for entry in entries
    ]
    taken = {item.id for item in items}
    for other in others:
        name = without_folders(other)
        if Path(other).is_file():
            name = Path(other).name.removesuffix(".tar").rsplit(".", 1)[0]
        own = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
        # Files of one name in several folders are several models.
        numbered = (f"{own}-{number}" for number in count(2))
        free = next(id_ for id_ in chain([own], numbered) if id_ not in taken)
        taken.add(free)
        items.append(ZooItem(free, name if free == own else free, absolute(other)))
    return tuple(items)


def absolute(spec: str) -> str:
    """A path from the root on, since other processes work elsewhere; anything else as it is."""
    source = re.match(r"(local-dir:|open_clip:[^,]*,)(.*)", spec)
    word, name = (source[1], source[2]) if source is not None else ("", spec)
    path = Path(name).expanduser()
    return word + str(path.absolute()) if path.exists() else spec


def share_of(shard: str | None, merge: bool) -> Share | None:
    from spuraudit.runs.zoo import Share

    if merge and shard is not None:
        raise UsageError("--merge concludes, --shard answers a share.", "Give one of them.")
    if merge:
        return Share(0, 1)  # nothing of it
    if shard is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {shard!r}: expected I/N with I from 1 to N.", "For example --shard 1/16")
    return Share(int(found[1]), int(found[2]))


def executor_of(
    name: str,
    address: str | None,
    workers: int | None,
    gpus: float | None,
    storage: Storage | None,
    share: Share | None,
) -> AbstractContextManager[Executor]:
    from spuraudit.runs.zoo import Here

    if name not in ("here", "ray"):
        raise UsageError(f"--executor {name!r}: unknown.", "Use here or ray.")
    if name == "ray":
        if share is not None:
            raise UsageError("Ray hands out the shards itself: --shard and --merge have no effect.", "Leave them out.")
        from spuraudit.runs.zoo_ray import OnRay

        return closing(OnRay(address, workers, gpus, storage=storage))
    idle = {"--ray-address": address, "--ray-workers": workers, "--gpus-per-worker": gpus}
    for flag, value in idle.items():
        if value is not None:
            raise UsageError(f"{flag} has no effect here.", "Add --executor ray, or leave it out.")
    return nullcontext(Here(share, storage))
