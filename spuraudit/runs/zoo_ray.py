"""The shards of a zoo run on a Ray cluster: placement, GPU shares and retries are Ray's work.

Parts on shared storage are the truth: Ray hands out units and brings back nothing but reasons of failure.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spuraudit.errors import RunError, SpurauditError, UsageError
from spuraudit.record.zoo_file import FILES_VARIABLE
from spuraudit.runs.loader import Kept
from spuraudit.runs.patch_sweep import sweep_of
from spuraudit.runs.progress import stage
from spuraudit.runs.zoo import Finished, Group
from spuraudit.runs.zoo_units import Unit, carry_out, units_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spuraudit.runs.answering import Begun
    from spuraudit.runs.progress import Progress
    from spuraudit.runs.storage import Storage

#: A worker or machine that dies costs the unit it was at; so often it is tried again.
_RETRIES = 3
#: What a worker needs to know of this process's environment.
_CARRIED = (FILES_VARIABLE, "SPURAUDIT_ZOO", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME")


@dataclass
class _Open:
    """A group of which units are still out."""

    group: Group
    units: int
    errors: dict[str, str] = field(default_factory=dict)


class OnRay:
    """Hands units to a cluster: one that runs already, or one of `workers` processes started for this run.

    gpus: GPUs per unit, also fractions; cpus: cores per unit. Use it with `closing`.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        gpus: float | None = None,
        cpus: float = 1.0,
        storage: Storage | None = None,
    ) -> None:
        """Raises UsageError where Ray is not installed, RunError where the cluster cannot be reached."""
        self._ray = _ray()
        self._storage = storage
        local = workers or os.cpu_count() or 1
        where: dict[str, Any] = {"address": address} if address else {"address": "local", "num_cpus": local * cpus}
        known = {name: os.environ[name] for name in _CARRIED if name in os.environ}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                **where,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": known},
            )
        except Exception as error:  # connections, versions, ports: Ray has many kinds
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"The Ray cluster {address or 'of this machine'} cannot be used: {first[:200]}",
                "Check --ray-address, and that Python and Ray have the same versions on all machines.",
            ) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in the place of the command line's
        resources = self._ray.cluster_resources()
        gpus = (1.0 if resources.get("GPU") else 0.0) if gpus is None else gpus
        if gpus > resources.get("GPU", 0.0):
            self.close()
            raise UsageError(
                f"--gpus-per-worker {gpus:g}: the cluster has {resources.get('GPU', 0.0):g} GPUs.",
                "Ask for less, a fraction perhaps.",
            )
        self._workers = max(1, int(resources.get("CPU", local) // cpus))
        # Machines of a cluster are used whole; processes beside each other share this one's cores and memory.
        self._threads = torch.get_num_threads() if address else max(1, torch.get_num_threads() // local)
        self.beside = local if not address else max(1, int(1 / gpus)) if gpus else 1
        self._task = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES, retry_exceptions=[OSError])(
            carry_out
        )
        self._out: dict[Any, _Open] = {}

    def submit(self, group: Group, progress: Progress) -> Iterator[Finished]:
        """Hand out the group's units; the cluster loads the models itself, so this process lets them go."""
        hollow = Group(group.job, {id_: _without_network(begun) for id_, begun in group.begun.items()})
        todo = tuple(sorted({number for begun in group.begun.values() for number in begun.todo}))
        found = {id_: sweep_of(begun.scan) for id_, begun in group.begun.items()}
        sweeps = tuple((id_, sweep) for id_, sweep in found.items() if sweep is not None)
        units = units_of(Unit(group.job, todo, self._threads, sweeps, self._storage), self._workers)
        if not units:
            yield Finished(hollow, {})
            return
        one = _Open(hollow, len(units))
        self._out.update({self._task.remote(unit): one for unit in units})
        progress.say(f"{len(units)} units for {self._workers} workers.")

    def drain(self, progress: Progress) -> Iterator[Finished]:
        """Groups as they are finished."""
        with stage(progress, "On Ray", len(self._out), "units"):
            while self._out:
                (ready,), _ = self._ray.wait(list(self._out), num_returns=1)
                one = self._out.pop(ready)
                one.errors.update(self._result(ready))
                one.units -= 1
                progress.advance(1)
                if not one.units:
                    yield Finished(one.group, one.errors)

    def close(self) -> None:
        """Leave the cluster; one that was started for this run ends."""
        self._ray.shutdown()

    def _result(self, ready: Any) -> dict[str, str]:
        try:
            failed: dict[str, str] = self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, SpurauditError):
                raise cause from None
            raise RunError(
                f"A unit ended with {type(cause).__name__}: {cause}",
                "Run the same command again: it resumes where it stopped.",
            ) from error
        except self._ray.exceptions.RayError as error:
            raise RunError(
                f"A unit was lost {1 + _RETRIES} times: {str(error).splitlines()[0][:200]}",
                "Look at the memory of the machines; run the same command again: it resumes where it stopped.",
            ) from error
        return failed


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(_RETRIES))  # else a unit that needs too much is tried for ever
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed.", "pip install 'spuraudit[ray]'") from None
    return ray


def _without_network(begun: Begun) -> Begun:
    """What concluding needs: record, tables and geometry."""
    model = replace(begun.scan.model, network=nn.Identity())
    return replace(begun, scan=replace(begun.scan, model=model, kept=Kept()))
