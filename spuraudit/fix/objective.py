"""What a step of a fine-tuning minimises. The plain one is cross-entropy: the control of every fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from spuraudit.fix.batch import Batch
    from spuraudit.fix.learner import Learner

    Backward = Callable[[Tensor], None]


class Outcome(NamedTuple):
    """Of a pass over B images, without graphs: the loss's terms, weighted, means over the B; logits (B, outputs).

    The plain term is named 'loss'; others are the method's own.
    """

    terms: dict[str, Tensor]
    logits: Tensor


@dataclass(frozen=True)
class Objective:
    """Cross-entropy. A method's own objective shows the images otherwise, or adds terms, or both.

    whole_batch: whether `show` looks at other images of the batch, so that a batch spread over devices is made whole on
    each.
    """

    whole_batch: ClassVar[bool] = False

    @property
    def twice(self) -> bool:
        """Whether terms are gradients themselves, so that passes must be differentiable twice."""
        return False

    def show(self, batch: Batch) -> Batch:
        """What the network sees of a batch; keyed on `batch.key`."""
        return batch

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        """Passes over some images of a shown batch. backward(loss) adds the gradients of a mean over them.

        It may be called more than once. Each term must be a mean over the images given, so that its mean over a step's
        images is that of the whole step, however it is divided. A term that is 0 for lack of images that it is about
        may be left out: it counts as 0 for these images where other parts of the step have it.
        """
        logits = learner.logits(batch.pixels)
        loss = learner.losses(logits, batch.labels).mean()
        backward(loss)
        return Outcome({"loss": loss.detach()}, logits.detach())

    def check(self, step: int, terms: dict[str, float]) -> str | None:
        """Called after each step with its terms. A sentence for the record, where there is one to say.

        Raises FixError where going on would be pointless.
        """
        del step, terms
        return None
