"""A training on disk: the state to go on from, the last good weights, the best ones."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from spuraudit.errors import RunError
from spuraudit.fix.curve import Curve
from spuraudit.record.folder import write_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

_STATE, _GOOD, _BEST, _FINAL = "state.pt", "last_good.pt", "best.pt", "final.pt"


@dataclass
class State:
    """Everything a next step depends on. `scaler` of float16."""

    step: int
    network: nn.Module
    optimizer: Any
    schedule: Any
    scaler: Any
    curve: Curve

    def dump(self, training: str) -> bytes:
        """As torch.save writes it."""
        return _bytes(
            {
                "training": training,
                "step": self.step,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
                "scaler": None if self.scaler is None else self.scaler.state_dict(),
                "curve": json.dumps(self.curve.dump()),
            }
        )

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `dump` wrote, in place."""
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(content["schedule"])
        if self.scaler is not None:
            self.scaler.load_state_dict(content["scaler"])
        self.step, self.curve = content["step"], Curve.of(json.loads(content["curve"]))


@dataclass(frozen=True)
class TrainingFolder:
    """Where a training keeps itself. `writes`: one process of several does."""

    path: Path
    writes: bool = True

    def save(self, state: State, training: str) -> None:
        """The state to go on from, of a training with this hash."""
        self._write(_STATE, state.dump(training))

    def resume(self, state: State, training: str) -> None:
        """Take over what an earlier call saved, where there is anything. Raises RunError for another training's."""
        file = self.path / _STATE
        if not file.is_file():
            return
        content = _read(file)
        if content["training"] != training:
            raise RunError(
                f"{file}: the state of a training on other images (or with other settings).",
                "Delete the folder of the fix to train anew.",
            )
        state.restore(content)

    def keep_good(self, network: nn.Module) -> None:
        """Weights of a healthy epoch."""
        self._write(_GOOD, _bytes(network.state_dict()))

    def keep_best(self, network: nn.Module) -> None:
        """Weights of the best epoch so far."""
        self._write(_BEST, _bytes(network.state_dict()))

    def keep_final(self, network: nn.Module) -> None:
        """The result, for the process that asked for it."""
        self._write(_FINAL, _bytes(network.state_dict()))

    def finished(self, network: nn.Module) -> Curve:
        """Take over the result that another process wrote, and what it saw on the way."""
        network.load_state_dict(_read(self.path / _FINAL))
        return Curve.of(json.loads(_read(self.path / _STATE)["curve"]))

    @property
    def last_good(self) -> Path | None:
        """The file of `keep_good`, where there is one."""
        file = self.path / _GOOD
        return file if file.is_file() else None

    def best_weights(self) -> dict[str, Tensor] | None:
        """Of `keep_best`; None where nothing was selected."""
        file = self.path / _BEST
        return _read(file) if file.is_file() else None

    def _write(self, name: str, content: bytes) -> None:
        if self.writes:
            write_bytes(self.path / name, content)


def _bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise RunError(f"{file}: not a state of a training.", "Delete the run folder and start again.") from error
    return content
