"""CoRM: core risk minimisation (Singla, Moayeri & Feizi 2022, section 7), by noise, by saliency, or by both."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field

from spuraudit.errors import UsageError
from spuraudit.fix.job import Prepared
from spuraudit.fix.learner import Learner, in_training
from spuraudit.fix.losses.differences import agreement, as_loss, by_differences, by_double_backward
from spuraudit.fix.losses.gradients import twice_differentiable
from spuraudit.fix.losses.saliency import saliency_penalty
from spuraudit.fix.methods.base import Method, Options, classes_without_core, images_with_core
from spuraudit.fix.objective import Objective, Outcome
from spuraudit.perturb.dilation import dilate
from spuraudit.perturb.draws import key_of, normal, rng_of
from spuraudit.perturb.noise import add_noise

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.fix.batch import Batch
    from spuraudit.fix.job import Job
    from spuraudit.fix.loop import Training
    from spuraudit.fix.objective import Backward

#: Steps that finite differences are tried with; networks differ in which is best.
_STEPS = (1e-3, 3e-4, 1e-4)


class CormOptions(Options):
    """Of `corm`."""

    sigma: float = Field(default=0.25, ge=0, description="Of the noise, in [0, 1] pixels; 0: none (the evaluation's).")
    withhold: float = Field(default=0.5, ge=0, le=1, description="Share of batches without noise (paper: e.g. 0.5).")
    weight: float = Field(default=0.0, ge=0, description="Of the saliency term; 0: none. None is printed in the paper.")
    part: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of a batch that the saliency term looks at; a quarter halves its cost.",
    )
    dilation: int = Field(default=0, ge=0, description="Radius the core grows by, pixels; the paper's training has 0.")
    derivative: Literal["auto", "double", "difference"] = Field(
        default="auto", description="Of the saliency term: exact, by differences, or these where they agree at first."
    )


def core_of(batch: Batch, radius: int) -> Tensor:
    """c: (B, H, W) soft, 1 = core; 1 everywhere for an image without core masks."""

    def core(sample: Sample) -> Tensor | None:
        return None if sample.core is None else dilate(sample.core, radius) if radius else sample.core

    return batch.masks(core, absent=1.0)


@dataclass(frozen=True)
class CormObjective(Objective):
    """Cross-entropy on images noised outside the core, plus weight * mean of ||(1 - c) o grad_x loss||^2."""

    options: CormOptions
    #: Step of the finite differences that give the saliency term's gradient; None: double backward.
    rms: float | None = None

    @property
    def twice(self) -> bool:
        """The saliency term is a gradient."""
        return self.options.weight > 0

    def show(self, batch: Batch) -> Batch:
        """x + sigma z o (1 - c), clamped to [0, 1]; a coin per batch withholds the noise (paper: whole batches)."""
        options = self.options
        seed, step = batch.key
        if options.sigma == 0 or rng_of(seed, "corm", step).random() < options.withhold:
            return batch
        keys = [key_of(seed, "corm", step, place) for place in batch.places]
        noise = normal(keys, tuple(batch.pixels.shape[1:])).to(batch.pixels.device)
        outside = 1 - core_of(batch, options.dilation)
        return batch.shown(add_noise(batch.pixels, outside, noise, options.sigma))

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        """Both terms; the gradient of the saliency term at the image as it is shown."""
        if not self.options.weight:
            return super().accumulate(learner, batch, backward)
        looked = max(1, round(self.options.part * len(batch)))
        first, rest = batch.cut(looked)
        core = core_of(first, self.options.dilation)
        if self.rms is not None:
            return self._by_differences(learner, first, rest, core, backward)
        pixels = first.pixels.detach().requires_grad_()
        logits = learner.logits(pixels)
        losses = learner.losses(logits, first.labels)
        saliency = self.options.weight * saliency_penalty(losses, pixels, core).mean()
        if len(rest):
            others = learner.logits(rest.pixels)
            losses = torch.cat([losses, learner.losses(others, rest.labels)])
            logits = torch.cat([logits, others])
        backward(losses.mean() + saliency)
        return Outcome({"loss": losses.mean().detach(), "saliency": saliency.detach()}, logits.detach())

    def _by_differences(self, learner: Learner, first: Batch, rest: Batch, core: Tensor, backward: Backward) -> Outcome:
        assert self.rms is not None
        kept: list[Tensor] = []

        def loss_sum(pixels: Tensor) -> Tensor:
            logits = learner.logits(pixels)
            kept.append(logits.detach())
            return learner.losses(logits, first.labels).sum()

        parameters = learner.parameters
        found = by_differences(loss_sum, first.pixels, core, parameters, rms=self.rms)
        images, weight = len(first) + len(rest), self.options.weight
        backward(as_loss(parameters, found.mixed(1 / images, weight / len(first))))
        total, logits = found.losses, kept[0]
        if len(rest):
            others = learner.logits(rest.pixels)
            plain = learner.losses(others, rest.labels).sum()
            backward(plain / images)
            total, logits = total + plain.detach(), torch.cat([logits, others.detach()])
        return Outcome({"loss": total / images, "saliency": weight * found.penalty / len(first)}, logits)


@dataclass(frozen=True)
class Corm(Method):
    """Noise where the object is not, so that it cannot be relied on; and a penalty on looking there."""

    name: ClassVar[str] = "corm"
    title: ClassVar[str] = "core risk minimisation"
    source: ClassVar[str] = "Singla, Moayeri & Feizi 2022, section 7"
    needs: ClassVar[str] = "core masks"
    options_type: ClassVar[type[Options]] = CormOptions

    def check_options(self, job: Job) -> None:
        """As of every method; none may be given whose term is off, and differences need float32."""
        super().check_options(job)
        options = self.options
        assert isinstance(options, CormOptions)
        for name, why in _idle(options).items():
            if name in options.model_fields_set:
                raise UsageError(f"corm: {name} has no effect with {why}.", f"Leave out {name}, or change the other.")
        precision = job.settings.precision
        if options.derivative == "difference" and precision != "fp32":
            raise UsageError(
                f"corm: derivative=difference needs precision=fp32: {precision} is coarser than the differences.",
                "Use precision=fp32, or derivative=double or auto.",
            )

    def lacks(self, job: Job) -> str | None:
        """Core masks."""
        if images_with_core(job):
            return None
        return "no training image has a core mask: without one corm is plain training (c = 1 everywhere)."

    def prepare(self, job: Job) -> Prepared:
        """The start, with the derivative that the first batch allows."""
        options = self.options
        assert isinstance(options, CormOptions)
        known = images_with_core(job)
        notes = [f"{known} of {len(job.train)} training images have a core mask; on the others c = 1: no noise."]
        bare = classes_without_core(job)
        if bare:
            notes.append(
                f"No core mask in {len(bare)} of {len(job.dataset.classes)} classes ({', '.join(bare[:5])}): noise is "
                "never added there, so that noise itself tells them apart. Give them masks, or use sigma=0."
            )
        model = job.started()
        objective = CormObjective(options)
        if options.weight:
            check = compare_derivatives(job.training("check", Prepared(model, objective)), objective)
            trusted = check.agree and job.settings.precision == "fp32"
            differences = options.derivative == "difference" or (options.derivative == "auto" and trusted)
            objective = CormObjective(options, check.rms if differences else None)
            notes += [check.sentence, f"Saliency by {'differences' if differences else 'double backward'}."]
        return Prepared(model, objective, notes=tuple(notes))


def _idle(options: CormOptions) -> dict[str, str]:
    """Options that nothing reads beside the others, and why."""
    idle: dict[str, str] = {}
    if not options.weight:
        idle |= dict.fromkeys(("part", "derivative"), "weight=0 (no saliency term)")
    if not options.sigma:
        idle["withhold"] = "sigma=0 (no noise)"
    elif options.withhold == 1:
        idle["sigma"] = "withhold=1 (no batch has noise)"
    if not options.weight and (not options.sigma or options.withhold == 1):
        idle["dilation"] = "neither noise nor a saliency term"
    return idle


class DerivativeCheck(NamedTuple):
    """On the first batch: do finite differences and double backward give the saliency term the same gradient?"""

    #: The step of the differences, as a root mean square in [0, 1] pixels: the one that agrees best.
    rms: float
    cosine: float
    ratio: float
    #: The weighted term over the cross-entropy.
    share: float

    @property
    def agree(self) -> bool:
        """Direction within 0.001, length within 2 %."""
        return self.cosine >= 0.999 and abs(self.ratio - 1) <= 0.02

    @property
    def sentence(self) -> str:
        """For the record."""
        return (
            f"First batch: the saliency term is {100 * self.share:.2g} % of the cross-entropy; its gradient by "
            f"differences against double backward: cosine {self.cosine:.4f}, length ratio {self.ratio:.3f}."
        )


def compare_derivatives(training: Training, objective: CormObjective) -> DerivativeCheck:
    """Both gradients of the first batch, of a copy of the network as the training will have it."""
    model = replace(training.model, network=copy.deepcopy(training.model.network))
    settings = training.feed.settings
    batch = objective.show(next(training.feed.batches(model.device, 0, 1))).parts(settings.accumulate)[0]
    learner = Learner.of(model, training.class_map)
    core = core_of(batch, objective.options.dilation)
    model.network.requires_grad_(True)

    def loss_sum(pixels: Tensor) -> Tensor:
        return learner.losses(learner.logits(pixels), batch.labels).sum()

    with in_training(model.network, settings.batch_norm), twice_differentiable():
        torch.manual_seed(0)
        exact = by_double_backward(loss_sum, batch.pixels, core, learner.parameters)
        tried = []
        for rms in _STEPS:
            torch.manual_seed(0)
            near = by_differences(loss_sum, batch.pixels, core, learner.parameters, rms=rms)
            tried.append((agreement(exact.of_penalty, near.of_penalty), rms))
    found, rms = max(tried)
    share = objective.options.weight * float(exact.penalty / exact.losses.clamp_min(1e-12))
    return DerivativeCheck(rms, found.cosine, found.ratio, share)
