"""The one fine-tuning loop: every plan, its control, and the early models of some methods.

A step is a function of its number, the weights and the optimiser's state: images, augmentation, noise and dropout are
keyed on (seed, step). So a training that was killed goes on from its last state to the same weights, and several
devices, each with a part of every batch, take the same steps as one, up to rounding and dropout.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from spuraudit.errors import FixError
from spuraudit.fix.curve import Curve
from spuraudit.fix.learner import Learner, in_training
from spuraudit.fix.losses.gradients import twice_differentiable
from spuraudit.fix.optimisers import make_optimizer, make_schedule
from spuraudit.fix.state import State
from spuraudit.perturb.draws import key_of
from spuraudit.runs.progress import stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricOptimizer
    from torch import Tensor

    from spuraudit.fix.batch import Batch
    from spuraudit.fix.feed import Feed
    from spuraudit.fix.objective import Objective, Outcome
    from spuraudit.fix.state import TrainingFolder
    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.model import Model
    from spuraudit.runs.progress import Progress

    Validate = Callable[[Model], float]

#: Steps between two states on disk: what a kill may cost.
SAVE_EVERY = 50


@dataclass(frozen=True)
class Training:
    """What is trained on what.

    The model's network is trained in place. trained: by name, which parameters are; None: all. validate: the measure
    that selects an epoch. delivered: it knows the classes already, so its first epoch can be a collapse.
    """

    name: str
    model: Model
    class_map: ClassMap
    feed: Feed
    objective: Objective
    steps: int
    trained: Callable[[str], bool] | None = None
    validate: Validate | None = None
    delivered: bool = False

    @property
    def sha256(self) -> str:
        """Of images and their order, steps, settings and seed: what a state on disk must agree with."""
        feed = self.feed
        known = [self.steps, feed.seed, feed.settings.model_dump(mode="json"), [row.id for row in feed.rows]]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def fine_tune(training: Training, folder: TrainingFolder, fabric: Fabric, progress: Progress) -> Curve:
    """Carry out a training, or finish what an earlier call began in the folder; the model is left in eval mode.

    Where a measure selects, the network ends with the weights of its best epoch. Returns what was seen on the way.
    Raises FixError on a loss that is not finite, a model that collapsed, or an objective that has nothing to work on.
    """
    network = training.model.network
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(training.trained is None or training.trained(name))
    try:
        curve = _Run(training, folder, fabric, progress).carry_out()
    finally:
        network.requires_grad_(False).eval()
    fabric.barrier()  # one process writes what all read
    best = folder.best_weights()
    if best is not None:
        network.load_state_dict(best)
    return curve


class _Run:
    """A training under way."""

    def __init__(self, training: Training, folder: TrainingFolder, fabric: Fabric, progress: Progress) -> None:
        self.training, self.folder, self.fabric, self.progress = training, folder, fabric, progress
        self.settings = training.feed.settings
        self.learner = Learner.of(training.model, training.class_map, fabric.autocast)
        optimizer = make_optimizer(self.settings, self.learner.parameters)
        schedule = make_schedule(self.settings, optimizer, training.steps)
        self.optimizer = cast("_FabricOptimizer", fabric.setup_optimizers(optimizer))
        scaler = getattr(fabric.strategy.precision, "scaler", None)
        curve = Curve(len(training.class_map.outputs), training.feed.even)
        self.state = State(0, self.learner.network, optimizer, schedule, scaler, curve)
        folder.resume(self.state, training.sha256)

    def carry_out(self) -> Curve:
        """All steps that are left."""
        training, feed, state = self.training, self.training.feed, self.state
        whole = training.objective.whole_batch
        among = (0, 1) if whole else (self.fabric.global_rank, self.fabric.world_size)
        with stage(self.progress, f"Training {training.name}", training.steps, "steps"):
            self.progress.advance(state.step)
            if state.curve.stopped is not None:
                return state.curve
            for batch in feed.batches(training.model.device, state.step, training.steps, among):
                self._step(batch)
                state.step += 1
                self.progress.advance(1)
                if state.step % feed.epoch == 0 or state.step == training.steps:
                    self._end_epoch()
                    if state.curve.stopped is not None:
                        break
                elif state.step % SAVE_EVERY == 0:
                    self.folder.save(state, self.training.sha256)
        return state.curve

    def _step(self, batch: Batch) -> None:
        """Gradients of a batch, part by part, then one update."""
        clock, cpu = time.perf_counter(), time.process_time()
        step, objective = self.state.step, self.training.objective
        # Dropout draws from here on: a function of the step, not of what was drawn before it.
        torch.manual_seed(key_of(self.training.feed.seed, "step", step, self.fabric.global_rank) & 0xFFFFFFFF)
        twice = twice_differentiable() if objective.twice else nullcontext()
        self.optimizer.zero_grad()
        try:
            with in_training(self.learner.network, self.settings.batch_norm), twice:
                batch = objective.show(batch)
                if objective.whole_batch:
                    batch = batch.taken(self.fabric.global_rank, self.fabric.world_size)
                outcomes = [self._pass(part, batch.whole) for part in batch.parts(self.settings.accumulate)]
        except torch.OutOfMemoryError as error:
            raise FixError(
                f"{self.training.name}: a batch of {len(batch)} images does not fit in the memory of "
                f"{self.training.model.device}.",
                "Compute it in parts (--set accumulate=4: the same step, but for batch norm), or lower --train-batch.",
            ) from error
        terms, answers = self._seen(outcomes)
        self._refuse_non_finite(terms)
        self._agree()
        if self.settings.clip_norm is not None:
            self.fabric.clip_gradients(self.learner.network, self.optimizer, max_norm=self.settings.clip_norm)
        self.optimizer.step()
        if self.state.schedule is not None:
            self.state.schedule.step()
        epoch = self.state.curve.open
        epoch.count(*answers)
        epoch.add(terms, time.perf_counter() - clock, time.process_time() - cpu)
        self._say(objective.check(step, terms))

    def _seen(self, outcomes: Sequence[tuple[Batch, Outcome]]) -> tuple[dict[str, float], tuple[Tensor, Tensor]]:
        """Mean terms over the step's images, and (predicted, labels) of each, on all devices the same.

        A term that a part leaves out counts as 0 for its images, as its gradient does; one of no part stays absent.
        """
        own = [
            (
                len(part),
                {name: float(value) for name, value in outcome.terms.items()},
                self.learner.class_logits(outcome.logits).argmax(dim=1).cpu(),
                part.labels.cpu(),
            )
            for part, outcome in outcomes
        ]
        if self.fabric.world_size > 1:
            of_all: list[list[tuple[int, dict[str, float], Tensor, Tensor]]] = [[]] * self.fabric.world_size
            torch.distributed.all_gather_object(of_all, own)
            own = [one for of_one in of_all for one in of_one]
        sums: dict[str, float] = {}
        for count, values, _, _ in own:
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * count
        images = sum(count for count, *_ in own)
        means = {name: value / images for name, value in sums.items()}
        return means, (torch.cat([one[2] for one in own]), torch.cat([one[3] for one in own]))

    def _pass(self, part: Batch, whole: int) -> tuple[Batch, Outcome]:
        # The mean over ranks that follows divides by their number.
        share = len(part) * self.fabric.world_size / whole

        def backward(loss: Tensor) -> None:
            self.fabric.backward(loss * share)

        return part, self.training.objective.accumulate(self.learner, part, backward)

    def _agree(self) -> None:
        """Every device takes the mean of all gradients. A wrapper (DDP) could not follow second derivatives."""
        if self.fabric.world_size == 1:
            return
        for parameter in self.learner.parameters:
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = cast("Tensor", self.fabric.all_reduce(own, reduce_op="mean"))

    def _end_epoch(self) -> None:
        """Validation, the collapse check, the states on disk."""
        training, state = self.training, self.state
        epoch = state.curve.open
        bad = [name for name, value in self.learner.network.state_dict().items() if not _finite(value)]
        if bad:
            raise self._error(f"the weights are not finite ({bad[0]})", state.step, epoch.terms)
        ruin = state.curve.ruin(training.steps, delivered=training.delivered)
        if ruin is not None:
            raise self._error(f"the model collapsed: {ruin}", state.step, epoch.terms)
        if training.validate is not None:
            self.learner.network.eval()
            better = state.curve.close(state.step, training.validate(training.model))
        else:
            better = state.curve.close(state.step, None)
        if epoch.collapse is None:
            self.folder.keep_good(self.learner.network)
        if better:
            self.folder.keep_best(self.learner.network)
        patience = self.settings.patience
        if patience is not None and state.curve.epochs_since_best >= patience and state.step < training.steps:
            state.curve.stopped = f"Stopped after step {state.step}: {patience} epochs without a better one."
            self._say(state.curve.stopped)
        self.folder.save(state, training.sha256)
        self.progress.say(epoch.line(training.name, training.steps))

    def _refuse_non_finite(self, terms: dict[str, float]) -> None:
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            # A term of the steps before may have ruined this one, which lacks it.
            seen = {**self.state.curve.open.terms, **terms}
            raise self._error(f"{' and '.join(bad)} is not finite", self.state.step + 1, seen)

    def _error(self, what: str, step: int, terms: Mapping[str, float]) -> FixError:
        good = self.folder.last_good
        kept = f" The weights of the last good epoch are in {good}." if good else ""
        own = " and ".join(name for name in terms if name != "loss")
        weight = f", or the weight of the method's own term ({own})" if own else ""
        return FixError(
            f"{self.training.name} stopped at step {step} of {self.training.steps}: {what}.{kept}",
            f"Lower the learning rate (lr){weight}.",
        )

    def _say(self, text: str | None) -> None:
        if text is not None:
            self.state.curve.notes.append(text)
            self.progress.say(text)


def _finite(weights: Tensor) -> bool:
    return not weights.is_floating_point() or bool(torch.isfinite(weights).all())
