"""Which models of a zoo share a pass: those that are shown the same pictures, as many as fit in memory together."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from spuraudit.errors import DataError, ModelError, SpurauditError
from spuraudit.runs.answering import same_pictures
from spuraudit.runs.loader import Kept
from spuraudit.runs.prepare import Scan, arrange, prepare_scan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model
    from spuraudit.runs.progress import Progress
    from spuraudit.runs.zoo_job import ZooItem, ZooJob

#: Share of the free memory that weights may take; pictures and activations need the rest.
_SHARE = 0.5
#: Where the system does not say how much memory is free.
_UNKNOWN = 4 * 2**30


@dataclass(frozen=True)
class Groups:
    """Groups of models that share a pass, and why the others cannot be audited, by id."""

    groups: tuple[tuple[ZooItem, ...], ...]
    failed: Mapping[str, Exception]


def survey(job: ZooJob, dataset: Dataset, beside: int, progress: Progress) -> Groups:
    """Load every model once, see what it is shown and how large it is, and let it go again.

    beside: processes that will share this machine's memory, each with a group of its own.
    """
    sizes: dict[tuple[object, ...], list[tuple[ZooItem, int]]] = {}
    failed: dict[str, Exception] = {}
    budget = job.memory
    progress.begin("Looking at the models", len(job.items), "models")
    for item in job.items:
        try:
            model, mapped = job.load(item, dataset)
            scan = arrange(model, mapped, job.settings, job.machine)
        except Exception as error:
            failed[item.id] = error
        else:
            budget = budget or free_memory(model.device) // beside
            sizes.setdefault(same_pictures(scan), []).append((item, weight_bytes(model)))
        progress.advance(1)
    progress.end(finished=True)
    groups = tuple(group for members in sizes.values() for group in within(members, budget or 0))
    return Groups(groups, failed)


def within(members: Sequence[tuple[ZooItem, int]], budget: int) -> list[tuple[ZooItem, ...]]:
    """Members (with their bytes) in order, cut so that each group fits the budget; one alone may exceed it."""
    groups: list[list[ZooItem]] = []
    taken = 0
    for item, size in members:
        if not groups or taken + size > budget:
            groups.append([])
            taken = 0
        groups[-1].append(item)
        taken += size
    return [tuple(group) for group in groups]


def prepare_group(
    job: ZooJob, group: Sequence[ZooItem], dataset: Dataset, progress: Progress
) -> tuple[dict[str, Scan], dict[str, Exception]]:
    """Prepared scans, and why the others cannot be audited, by id. Clean images are decoded once for all."""
    scans: dict[str, Scan] = {}
    failed: dict[str, Exception] = {}
    kept, pictures = Kept(), None
    for item in group:
        try:
            model, mapped = job.load(item, dataset)
            shown = same_pictures(arrange(model, mapped, job.settings, job.machine))
            pictures = pictures or shown
            if shown != pictures and len(group) > 1:
                raise ModelError(f"{item.spec}: the file has changed since the run began.", "Run the command again.")
            progress.say(f"{item.name}: {model.record.arch}")
            scans[item.id] = prepare_scan(model, mapped, job.settings, job.machine, progress, kept)
        except DataError:  # classes and masks fit, as the survey has seen: an image cannot be read
            raise
        except Exception as error:
            failed[item.id] = error
    return scans, failed


def weight_bytes(model: Model) -> int:
    """Memory of the weights and buffers."""
    state = [*model.network.parameters(), *model.network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in state)


def free_memory(device: torch.device) -> int:
    """Bytes that weights may take on a device: half of what is free now."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _available()
    return int(_SHARE * free)


def _available() -> int:
    """Memory of the machine that programs could still get; what only caches files counts."""
    with suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN


def reason_of(error: Exception) -> str:
    """Why a model failed, and the way out, in one text."""
    if isinstance(error, SpurauditError):
        return f"{error.message} {error.hint}" if error.hint else error.message
    first = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {first[:300]}"
