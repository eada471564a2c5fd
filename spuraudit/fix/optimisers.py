"""Optimiser and schedule of torch by name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from torch import optim

from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from spuraudit.fix.settings import TrainingSettings


def make_optimizer(settings: TrainingSettings, parameters: Sequence[nn.Parameter]) -> optim.Optimizer:
    """`settings.optimizer` over the parameters.

    Raises UsageError for arguments that it refuses, and for those that are settings of their own.
    """
    kind: Any = getattr(optim, settings.optimizer)
    for name in ("lr", "weight_decay"):
        if name in settings.optimizer_args:
            raise _twice(name, getattr(settings, name), "optimizer_args", name, settings.optimizer_args[name])
    arguments = {"lr": settings.lr, "weight_decay": settings.weight_decay, **settings.optimizer_args}
    if "weight_decay" not in inspect.signature(kind).parameters:
        del arguments["weight_decay"]
        if settings.weight_decay:
            raise UsageError(f"{settings.optimizer} knows no weight decay.", "Set weight_decay=0.")
    try:
        made: optim.Optimizer = kind(parameters, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{settings.optimizer} refuses {_shown(arguments)}: {error}", "See optimizer_args.") from error
    return made


def make_schedule(settings: TrainingSettings, optimizer: optim.Optimizer, steps: int) -> Any:
    """`settings.schedule`, stepped once per step; None: constant. Its length is the training's where it has one.

    Raises UsageError for arguments that it refuses, or that nothing would read.
    """
    if settings.schedule is None:
        if settings.schedule_args:
            raise UsageError(
                f"There is no schedule (none) that schedule_args could go to: {_shown(settings.schedule_args)}.",
                "Leave schedule_args out, or name a schedule, such as schedule=StepLR.",
            )
        return None
    if "max_lr" in settings.schedule_args and "lr" in settings.model_fields_set:
        # Both schedules that take it set all rates by their own arguments.
        raise _twice("lr", settings.lr, "schedule_args", "max_lr", settings.schedule_args["max_lr"])
    kind: Any = getattr(optim.lr_scheduler, settings.schedule)
    arguments = dict(settings.schedule_args)
    known = inspect.signature(kind).parameters
    lengths = {"T_max": steps, "total_steps": steps, "total_iters": steps, "max_lr": settings.lr}
    for name, value in lengths.items():
        # A rate or a length that the schedule must be given, and that the training already states.
        if name in known and name not in arguments and "steps_per_epoch" not in arguments:
            arguments[name] = value
    try:
        return kind(optimizer, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{settings.schedule} refuses {_shown(arguments)}: {error}", "See schedule_args.") from error


def _twice(name: str, value: object, where: str, key: str, other: object) -> UsageError:
    return UsageError(
        f"{name} is given twice: as {name}={value} and as {where}.{key}={other}.",
        f"Leave {where}.{key} out; {name} is a setting of its own.",
    )


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"
