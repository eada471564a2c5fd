"""How a fine-tuning goes, whatever its method: the same for a fix and for its control."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from torch import optim

from spuraudit.errors import did_you_mean
from spuraudit.record.base import Part

#: What a model is chosen by on the validation split, higher is better. `accuracy`: mean over classes.
Measure = Literal["accuracy", "worst_group", "core_accuracy", "rcs"]
Start = Literal["model", "new-head", "scratch"]


class TrainingSettings(Part):
    """Optimiser, schedule, batches, augmentation, and when to stop.

    Defaults are for fine-tuning a delivered model with a few hundred to a few thousand images; a training from scratch
    wants more epochs and a larger learning rate.
    """

    epochs: float = Field(default=3, gt=0, description="Passes over the training images; steps are rounded.")
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps, in place of epochs.")
    batch_size: int = Field(default=32, ge=1, description="Images per optimiser step.")
    accumulate: int = Field(default=1, ge=1, description="Parts a batch is computed in, where it does not fit whole.")
    optimizer: str = Field(default="AdamW", description="A class of torch.optim.")
    optimizer_args: dict[str, Any] = Field(default_factory=dict, description="More of its arguments, as momentum.")
    lr: float = Field(default=1e-4, gt=0, description="Learning rate at the start of the schedule.")
    weight_decay: float = Field(default=1e-4, ge=0, description="Of the optimiser; Adam counts twice the L2 weight.")
    schedule: str | None = Field(
        default="CosineAnnealingLR",
        description="A class of torch.optim.lr_scheduler, stepped after every step; or none.",
    )
    schedule_args: dict[str, Any] = Field(default_factory=dict, description="Its arguments, as gamma.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="Of products and convolutions.")
    batch_norm: Literal["frozen", "train"] = Field(
        default="frozen",
        description="frozen: statistics of the start are kept and used, as at test time. From scratch it is train.",
    )
    clip_norm: float | None = Field(default=None, gt=0, description="Largest norm of the gradient; none: no limit.")
    flip: bool = Field(default=True, description="Mirror half of the images, with their masks.")
    crop: float = Field(default=1.0, gt=0, le=1, description="Smallest area of a random crop, with its masks; 1: none.")
    select: Measure | None = Field(
        default=None, description="Keep the epoch that is best by this on validation images."
    )
    patience: int | None = Field(default=None, ge=1, description="Stop after so many epochs without a better one.")

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, name: str) -> str:
        known = [key for key, value in vars(optim).items() if isinstance(value, type) and key != "Optimizer"]
        if name not in known:
            raise ValueError(f"no optimiser {name!r} in torch.optim. {did_you_mean(name, known)}".strip())
        if name in ("LBFGS", "SparseAdam", "Muon"):
            raise ValueError(f"{name} cannot train a network of dense layers step by step; use AdamW or SGD")
        return name

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, name: str | None) -> str | None:
        if name in (None, "none", "constant"):
            return None
        known = [key for key in vars(optim.lr_scheduler) if key.endswith(("LR", "Restarts", "Lambda"))]
        if name not in known:
            raise ValueError(f"no schedule {name!r} in torch.optim.lr_scheduler. {did_you_mean(name, known)}".strip())
        return name

    @model_validator(mode="after")
    def _patience_needs_a_measure(self) -> Self:
        if self.patience is not None and self.select is None:
            raise ValueError(
                "patience needs a measure to watch: set select to accuracy, worst_group, core_accuracy or rcs"
            )
        return self

    def starting(self, start: Start) -> TrainingSettings:
        """Random weights have no statistics to keep: there batch norm trains its own, unless it was set."""
        if start != "scratch" or "batch_norm" in self.model_fields_set:
            return self
        return self.model_copy(update={"batch_norm": "train"})

    def total_steps(self, images: int) -> int:
        """Optimiser steps for so many training images."""
        if self.steps is not None:
            return self.steps
        exact = self.epochs * steps_per_epoch(images, self.batch_size)
        return max(1, round(exact))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches of an epoch. A last batch of a single image is left out: it has no statistics of its own."""
    whole, rest = divmod(images, batch_size)
    return max(1, whole + (rest > 1))
