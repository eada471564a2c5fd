"""CRAYON (Lee et al. 2024): learn from yes and no about a model's own heat maps and neurons.

Attention keeps the map near an original one that was called relevant, and away from one that was not. Pruning cuts off
neurons that were called irrelevant and trains the last layer. Both: pruned first, then the whole network by attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from spuraudit.errors import FixError
from spuraudit.explain.activation_maps import class_activation
from spuraudit.fix.job import Prepared
from spuraudit.fix.losses.crayon import Denominator, attention_loss
from spuraudit.fix.methods.base import Method, Options
from spuraudit.fix.methods.crayon_answers import Answered, find_answers, lacks_answers
from spuraudit.fix.methods.crayon_neurons import Pruned, find_relevance, lacks_relevance, pruned
from spuraudit.fix.methods.grids import grid_of
from spuraudit.fix.objective import Objective, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.fix.batch import Batch
    from spuraudit.fix.job import Job
    from spuraudit.fix.learner import Learner
    from spuraudit.fix.objective import Backward
    from spuraudit.models.feature_grid import FeatureGrid

_SOURCE = "Lee et al. 2024 (CRAYON)"
#: Of the authors' code for Waterbirds.
_CODE = {"alpha": 1e7, "beta": 2e5}


class AttentionOptions(Options):
    """Of `crayon-attention`.

    Beside a cross-entropy that is a mean over images, alpha is the weight of the mean over all relevant images of the
    training set, beta that of the mean over the irrelevant ones: an image's own weight grows as its answer is rarer,
    as in the paper's alpha/|R| and beta/|I|.
    """

    alpha: float = Field(
        default=10.0,
        ge=0,
        description="Of the share of the map outside a relevant one. A start value, to be tuned on validation images: "
        "on drawn shapes 100 turned the evidence of both classes around and 10 helped. With crayon-code: 1e7.",
    )
    beta: float = Field(
        default=1.0,
        ge=0,
        description="Of the share of the map inside an irrelevant one, the part that ruins models. A fiftieth of alpha "
        "(the paper's ratio) helped most on drawn shapes; where nearly all answers are no, that does nothing. With "
        "crayon-code: 2e5.",
    )
    compat: Literal["none", "crayon-code"] = Field(
        default="none",
        description="crayon-code: as the authors' code for Waterbirds, whose overlaps are shares of the original map's "
        "part and whose alpha/|R| stands beside one cross-entropy per image.",
    )

    @model_validator(mode="before")
    @classmethod
    def _weights_of_the_code(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("compat") == "crayon-code":
            return {**_CODE, **given}
        return given


class PruningOptions(Options):
    """Of `crayon-pruning`."""

    top: int = Field(
        default=20,
        ge=1,
        description="Images of each neuron by which masks judge it, where nobody did (the authors' code collects 20; "
        "the paper shows 3).",
    )


class CrayonOptions(PruningOptions, AttentionOptions):
    """Of `crayon`: those of both."""


@dataclass(frozen=True)
class PruningObjective(Objective):
    """Cross-entropy; pruned neurons stay so."""

    pruned: Pruned

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        """As plain training, without a gradient at pruned columns."""
        return super().accumulate(learner, batch, self.pruned.keeping(learner.network, backward))


@dataclass(frozen=True)
class AttentionObjective(Objective):
    """Cross-entropy plus equation 4; weights: per image with a yes, and with a no, beside its cross-entropy."""

    grid: FeatureGrid
    answered: Answered
    weights: tuple[float, float]
    by: Denominator
    pruned: Pruned | None = None

    @property
    def twice(self) -> bool:
        """The weights of a map are gradients."""
        return True

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        """Both terms, of one pass."""
        logits, output = learner.logits_and_features(batch.pixels, self.grid)
        loss = learner.losses(logits, batch.labels).mean()
        attention = self._attention(learner.class_logits(logits), output, batch)
        if self.pruned is not None:
            backward = self.pruned.keeping(learner.network, backward)
        backward(loss + attention)
        return Outcome({"loss": loss.detach(), "attention": attention.detach()}, logits.detach())

    def _attention(self, scores: Tensor, output: Tensor, batch: Batch) -> Tensor:
        original = self.answered.of(batch)
        current = class_activation(scores, output, self.grid, batch.labels, create_graph=True)
        # Sums over the batch's answered images, over all of its images: the mean of one weighted term per image.
        alpha, beta = (weight / len(batch) for weight in self.weights)
        return attention_loss(current, *original, alpha=alpha, beta=beta, by=self.by, annotated=(1, 1))


def attention(job: Job, options: AttentionOptions, cut: Pruned | None = None) -> tuple[AttentionObjective, Answered]:
    """The objective with its maps and answers. Errors as of `find_answers`."""
    grid = grid_of(job.model)
    answered = find_answers(job, grid)
    code = options.compat == "crayon-code"
    # The paper adds alpha/|R| per relevant image to a sum over N images; over their mean that is N alpha'/|R|.
    images = 1 if code else len(job.train)
    weights = (options.alpha * images / max(1, answered.yes), options.beta * images / max(1, answered.no))
    return AttentionObjective(grid, answered, weights, "original" if code else "current", cut), answered


@dataclass(frozen=True)
class CrayonAttention(Method):
    """Maps stay where they were relevant and leave where they were not."""

    name: ClassVar[str] = "crayon-attention"
    title: ClassVar[str] = "learning from yes and no about heat maps"
    source: ClassVar[str] = f"{_SOURCE}, equations 1 to 4"
    needs: ClassVar[str] = "yes/no answers to heat maps (--annotations), or core masks; a feature grid"
    reads: ClassVar[tuple[str, ...]] = ("annotations",)
    options_type: ClassVar[type[Options]] = AttentionOptions

    def lacks(self, job: Job) -> str | None:
        """Answers about maps, or masks; a feature grid."""
        return lacks_answers(job)

    def prepare(self, job: Job) -> Prepared:
        """The start, with the original maps."""
        assert isinstance(self.options, AttentionOptions)
        objective, answered = attention(job, self.options)
        return Prepared(job.started(), objective, notes=answered.notes)


@dataclass(frozen=True)
class CrayonPruning(Method):
    """Neurons that look at the wrong thing are cut off, and the last layer is trained again."""

    name: ClassVar[str] = "crayon-pruning"
    title: ClassVar[str] = "cutting off irrelevant neurons"
    source: ClassVar[str] = f"{_SOURCE}, section IV-C"
    needs: ClassVar[str] = (
        "yes/no answers to neurons (--annotations), or core masks; pooled channels before the last layer"
    )
    reads: ClassVar[tuple[str, ...]] = ("annotations",)
    options_type: ClassVar[type[Options]] = PruningOptions

    def lacks(self, job: Job) -> str | None:
        """Answers about neurons, or masks; a last layer that reads the channels of the grid one by one."""
        return lacks_relevance(job)

    def prepare(self, job: Job) -> Prepared:
        """The start without its irrelevant neurons. Raises FixError where all are relevant."""
        assert isinstance(self.options, PruningOptions)
        relevance = find_relevance(job, self.options.top)
        if relevance.keep.all():
            raise FixError(
                f"There is nothing to prune: all {len(relevance.keep)} neurons of the last layer count as relevant.",
                "Use crayon-attention, which trains where the maps look.",
            )
        model = job.started()
        cut = pruned(model, relevance)
        return Prepared(
            model,
            PruningObjective(cut),
            trained=_OfLayer(cut.layer),
            notes=(*relevance.notes, "Only the last layer is trained."),
        )


@dataclass(frozen=True)
class _OfLayer:
    """Whether a parameter is of this layer."""

    layer: str

    def __call__(self, name: str) -> bool:
        return name.rpartition(".")[0] == self.layer


@dataclass(frozen=True)
class Crayon(Method):
    """Pruned, then trained as by attention."""

    name: ClassVar[str] = "crayon"
    title: ClassVar[str] = "pruning, then attention"
    source: ClassVar[str] = f"{_SOURCE}, pruning and attention"
    needs: ClassVar[str] = "as crayon-attention and crayon-pruning"
    reads: ClassVar[tuple[str, ...]] = ("annotations",)
    options_type: ClassVar[type[Options]] = CrayonOptions

    def lacks(self, job: Job) -> str | None:
        """What either lacks."""
        return lacks_relevance(job) or lacks_answers(job)

    def prepare(self, job: Job) -> Prepared:
        """The start without its irrelevant neurons, with the original maps."""
        assert isinstance(self.options, CrayonOptions)
        relevance = find_relevance(job, self.options.top)
        model = job.started()
        cut = None if relevance.keep.all() else pruned(model, relevance)
        objective, answered = attention(job, self.options, cut)
        alone = () if cut else ("There is nothing to prune: this is crayon-attention.",)
        return Prepared(model, objective, notes=(*relevance.notes, *alone, *answered.notes))
