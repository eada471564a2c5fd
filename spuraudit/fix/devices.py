"""Where a training runs: one device in this process, or several, a process each, through Lightning Fabric."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessException

from spuraudit.errors import SpurauditError, UsageError
from spuraudit.fix.curve import Curve
from spuraudit.fix.loop import Training, fine_tune
from spuraudit.models.precision import resolve_precision
from spuraudit.runs.progress import Silent

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from spuraudit.fix.state import TrainingFolder
    from spuraudit.runs.progress import Progress

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def check_devices(count: int, device: torch.device, batch_size: int) -> None:
    """Raises UsageError for devices that are not there, and for batches that cannot be spread over them."""
    there = torch.cuda.device_count() if device.type == "cuda" else None
    if count < 1 or (there is not None and count > there):
        raise UsageError(f"{count} devices were asked for; there are {there or 1}.", "Choose --devices accordingly.")
    if device.type == "mps" and count > 1:
        raise UsageError("There is one MPS device.", "Leave --devices out.")
    if batch_size < count:
        raise UsageError(f"A batch of {batch_size} images cannot be spread over {count} devices.", "Set batch_size.")


def train_on(devices: int, training: Training, folder: TrainingFolder, progress: Progress) -> Curve:
    """Carry out a training (see `loop.fine_tune`) on so many devices of the model's kind.

    Several: each holds the network and takes its part of every batch, and their gradients are averaged. What the
    network learnt comes back through the folder. Errors as of `fine_tune`, whichever process met them, and UsageError
    for a precision that the device does not compute in.
    """
    if not training.steps:
        return Curve(len(training.class_map.outputs))
    device = training.model.device
    precision = resolve_precision(training.feed.settings.precision, device)
    if devices == 1:
        index = [device.index or 0] if device.type == "cuda" else 1
        fabric = Fabric(accelerator=device.type, devices=index, precision=_PRECISIONS[precision])
        return fine_tune(training, folder, fabric, progress)
    fabric = Fabric(accelerator=device.type, devices=devices, strategy="ddp_spawn", precision=_PRECISIONS[precision])
    progress.say(f"Training {training.name} on {devices} devices: {training.steps} steps, in processes of their own.")
    # A process gets the network from shared memory of the CPU, and finds its own device.
    at_home = replace(training.model, network=training.model.network.cpu(), device=torch.device("cpu"))
    refusals: SimpleQueue[SpurauditError] = torch.multiprocessing.get_context("spawn").SimpleQueue()
    work = partial(_one_of_several, training=replace(training, model=at_home), folder=folder, refusals=refusals)
    try:
        fabric.launch(work)
    except ProcessException as error:
        if refusals.empty():
            raise  # a crash, with the traceback of its process
        raise refusals.get() from error
    finally:
        training.model.network.to(device)
    return folder.finished(training.model.network)


def _one_of_several(
    fabric: Fabric, training: Training, folder: TrainingFolder, refusals: SimpleQueue[SpurauditError]
) -> None:
    # A copy: on a CPU all processes would update the one network that lies in shared memory.
    network = copy.deepcopy(training.model.network).to(fabric.device)
    model = replace(training.model, network=network, device=fabric.device)
    own = replace(folder, writes=fabric.is_global_zero)
    try:
        fine_tune(replace(training, model=model), own, fabric, Silent())
    except SpurauditError as error:
        refusals.put(error)
        raise  # so that the processes that wait for this one are ended
    own.keep_final(model.network)
