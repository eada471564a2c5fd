"""RRR: right for the right reasons (Ross, Hughes & Doshi-Velez 2017), with the gradient by the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from spuraudit.fix.job import Prepared
from spuraudit.fix.losses.right_reasons import log_probability_penalty, random_logits_penalty
from spuraudit.fix.methods.base import Method, Options
from spuraudit.fix.methods.marked import counted, lacks_region, mean_of_marked, note_of_region, signs_of
from spuraudit.fix.objective import Objective, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.fix.batch import Batch
    from spuraudit.fix.job import Job
    from spuraudit.fix.learner import Learner
    from spuraudit.fix.objective import Backward

Form = Literal["random-logits", "log-probabilities"]
#: Of each form on decoyed Fashion-MNIST: the largest weight that repaired without ruining the model.
_WEIGHTS: dict[str, float] = {"random-logits": 0.1, "log-probabilities": 0.01}


class RrrOptions(Options):
    """Of `rrr`."""

    form: Form = Field(
        default="random-logits",
        description="What the gradient is of: random-logits, all logits with random signs, which repairs; "
        "log-probabilities, their sum over all classes (Ross et al., equation 1), which ruins sure models.",
    )
    weight: float = Field(
        default=_WEIGHTS["random-logits"],
        ge=0,
        description="Of the squared gradient, summed over the region's pixels and colours, beside a mean cross-entropy "
        "in nats; pixels in [0, 1]. 0.1, and 0.01 for log-probabilities: measured on decoyed Fashion-MNIST, with a "
        "region of 16 pixels and 10 classes; a larger region or more classes may want less. The authors' code "
        "halves the square: its l2_grads is twice this weight.",
    )
    region: str = Field(
        default="auto",
        description="Where the gradient must vanish: auto (a run's findings, else spurious features, else background), "
        "background, spurious, or a spurious feature.",
    )

    @model_validator(mode="before")
    @classmethod
    def _weight_of_the_form(cls, given: Any) -> Any:
        if isinstance(given, dict) and "weight" not in given and given.get("form") in _WEIGHTS:
            return {**given, "weight": _WEIGHTS[given["form"]]}
        return given


@dataclass(frozen=True)
class RrrObjective(Objective):
    """Cross-entropy plus weight * mean over the marked images of ||M o d/dx score||^2."""

    options: RrrOptions
    #: The mean is over the marked images of the whole step.
    whole_batch: ClassVar[bool] = True

    @property
    def twice(self) -> bool:
        """The penalty is of a gradient."""
        return True

    def show(self, batch: Batch) -> Batch:
        """The images as they are."""
        return counted(batch)

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        """Both terms."""
        pixels = batch.pixels.detach().requires_grad_()
        logits = learner.logits(pixels)
        loss = learner.losses(logits, batch.labels).mean()
        penalty = self.options.weight * mean_of_marked(self._penalties(learner, logits, pixels, batch), batch)
        backward(loss + penalty)
        return Outcome({"loss": loss.detach(), "gradient": penalty.detach()}, logits.detach())

    def _penalties(self, learner: Learner, logits: Tensor, pixels: Tensor, batch: Batch) -> Tensor:
        if self.options.form == "random-logits":
            return random_logits_penalty(logits, pixels, batch.region, signs_of(batch, logits.shape[1]))
        softmax = learner.class_map.head == "softmax"
        logs = logits.log_softmax(dim=1) if softmax else torch.nn.functional.logsigmoid(logits)
        return log_probability_penalty(logs, pixels, batch.region)


@dataclass(frozen=True)
class Rrr(Method):
    """No logit may react to the marked region."""

    name: ClassVar[str] = "rrr"
    title: ClassVar[str] = "right for the right reasons"
    source: ClassVar[str] = "Ross, Hughes & Doshi-Velez 2017, equation 1; random-logits: this tool"
    needs: ClassVar[str] = "masks, or --from-run"
    reads: ClassVar[tuple[str, ...]] = ("from_run",)
    options_type: ClassVar[type[Options]] = RrrOptions

    def lacks(self, job: Job) -> str | None:
        """A marked region."""
        assert isinstance(self.options, RrrOptions)
        return lacks_region(job, self.options.region)

    def prepare(self, job: Job) -> Prepared:
        """The start, with the region marked in each image."""
        options = self.options
        assert isinstance(options, RrrOptions)
        notes = (note_of_region(job, options.region),)
        return Prepared(job.started(), RrrObjective(options), region=job.region(options.region), notes=notes)
