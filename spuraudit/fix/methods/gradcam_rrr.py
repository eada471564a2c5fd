"""GradCAM-RRR: the heat map must vanish on the marked region (Hagos, Curran & Mac Namee 2022, equation 2).

As published it does nothing where the last layer weighs every place by itself, as in the paper's own network: the mean
of the weights over places hides the region, the map is 0 there, and so is the loss. Such a training is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from spuraudit.errors import FixError
from spuraudit.explain.activation_maps import class_activation, element_activation
from spuraudit.fix.job import Prepared
from spuraudit.fix.losses.right_reasons import MapNorm, map_penalty, on_cells
from spuraudit.fix.methods.base import Method, Options
from spuraudit.fix.methods.grids import grid_of, lacks_grid
from spuraudit.fix.methods.marked import counted, lacks_region, mean_of_marked, note_of_region, signs_of
from spuraudit.fix.objective import Objective, Outcome
from spuraudit.fix.settings import steps_per_epoch

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.fix.batch import Batch
    from spuraudit.fix.job import Job
    from spuraudit.fix.learner import Learner
    from spuraudit.fix.objective import Backward
    from spuraudit.models.feature_grid import FeatureGrid

#: So many batches are judged, and so many of them may see nothing of the region.
_JUDGED, _BLIND = 10, 0.9
#: Below this a batch sees nothing. A scaled map in a region of 2 % of the image gives it at 0.7 % of its largest value;
#: maps that are not scaled may be small by their unit.
_NOTHING: dict[str, float] = {"max": 1e-6, "min-max": 1e-6, "none": 1e-12}
_ELEMENT = {"norm": "none", "relu": False}


class GradcamRrrOptions(Options):
    """Of `gradcam-rrr`."""

    form: Literal["grad-cam", "element"] = Field(
        default="grad-cam",
        description="The map: grad-cam, of the true class (the paper's); element, gradient times activation at each "
        "place, of all logits with random signs, which sees weights that differ from place to place.",
    )
    norm: MapNorm = Field(
        default="max", description="How a map is scaled (the paper does not say): max; none, the default of element."
    )
    relu: bool = Field(
        default=True, description="Whether only evidence for the class counts (paper: yes); no by default for element."
    )
    weight: float = Field(
        default=1.0, gt=0, description="Of the squared map in the region, mean over cells (paper: 1)."
    )
    region: str = Field(
        default="auto",
        description="Where the map must vanish: auto (a run's findings, else spurious features, else background), "
        "background, spurious, or a spurious feature.",
    )

    @model_validator(mode="before")
    @classmethod
    def _element_is_plain(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("form") == "element":
            return {**_ELEMENT, **given}
        return given


@dataclass(frozen=True)
class GradcamRrrObjective(Objective):
    """Cross-entropy plus weight * mean over the marked images of the mean over cells of (M o norm(map))^2.

    judged: of the first so many batches the explanation loss is looked at.
    """

    options: GradcamRrrOptions
    grid: FeatureGrid
    judged: int
    #: Explanation losses of the first steps, None for a step without a marked image.
    seen: list[float | None] = field(default_factory=list, compare=False)
    #: The mean is over the marked images of the whole step.
    whole_batch: ClassVar[bool] = True

    @property
    def twice(self) -> bool:
        """The weights of a map are gradients."""
        return True

    def show(self, batch: Batch) -> Batch:
        """The images as they are."""
        return counted(batch)

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        """Both terms, of one pass; the explanation's only where one of these images is marked."""
        logits, output = learner.logits_and_features(batch.pixels, self.grid)
        loss = learner.losses(logits, batch.labels).mean()
        region = on_cells(batch.region, (self.grid.rows, self.grid.columns))
        penalties = map_penalty(self._maps(learner, logits, output, batch), region, self.options.norm)
        explanation = self.options.weight * mean_of_marked(penalties, batch)
        backward(loss + explanation)
        terms = {"loss": loss.detach()}
        if bool(batch.has_region.any()):
            terms["explanation"] = explanation.detach()
        return Outcome(terms, logits.detach())

    def _maps(self, learner: Learner, logits: Tensor, output: Tensor, batch: Batch) -> Tensor:
        relu = self.options.relu
        if self.options.form == "element":
            scores = (signs_of(batch, logits.shape[1]) * logits).sum(dim=1)
            return element_activation(scores, output, self.grid, relu=relu, create_graph=True)
        classes = learner.class_logits(logits)
        return class_activation(classes, output, self.grid, batch.labels, relu=relu, create_graph=True)

    def check(self, step: int, terms: dict[str, float]) -> str | None:
        """Stop where the map sees nothing of the region; else say once what the loss began with.

        A training that is resumed has the verdict behind it: it falls before the first state is saved.
        Raises FixError.
        """
        if step == 0:
            self.seen.clear()
        if step >= self.judged or step != len(self.seen):
            return None
        value = terms.get("explanation")
        self.seen.append(None if value is None else value / self.options.weight)
        known = [value for value in self.seen if value is not None]
        if len(self.seen) < self.judged or not known:
            return None
        nothing = _NOTHING[self.options.norm]
        blind = sum(value < nothing for value in known)
        if blind > _BLIND * len(known):
            raise self._sees_nothing(blind, known, nothing)
        mean = sum(known) / len(known)
        return f"The explanation loss began at {known[0]:.3g}; mean of the first {len(known)} batches {mean:.3g}."

    def _sees_nothing(self, blind: int, known: list[float], nothing: float) -> FixError:
        values = ", ".join(f"{value:.2g}" for value in known)
        element = "" if self.options.form == "element" else ", or form=element, which keeps what each place weighs"
        return FixError(
            f"gradcam-rrr: the chosen map does not see the marked region. The explanation loss is below {nothing:g} on "
            f"{blind} of the first {len(known)} batches ({values}): this would be plain training.",
            f"Use rrr, the gradient by the pixels{element}. Or the model does not read the region at all: scan it.",
        )


@dataclass(frozen=True)
class GradcamRrr(Method):
    """The Grad-CAM of the true class may not lie on the marked region."""

    name: ClassVar[str] = "gradcam-rrr"
    title: ClassVar[str] = "right for the right reasons, with heat maps"
    source: ClassVar[str] = "Hagos, Curran & Mac Namee 2022, equation 2"
    needs: ClassVar[str] = "masks, or --from-run; a feature grid"
    reads: ClassVar[tuple[str, ...]] = ("from_run",)
    options_type: ClassVar[type[Options]] = GradcamRrrOptions

    def lacks(self, job: Job) -> str | None:
        """A marked region, and a feature grid."""
        assert isinstance(self.options, GradcamRrrOptions)
        return lacks_region(job, self.options.region) or lacks_grid(job.model)

    def prepare(self, job: Job) -> Prepared:
        """The start, with the region marked in each image."""
        options = self.options
        assert isinstance(options, GradcamRrrOptions)
        grid = grid_of(job.model)
        # No state is saved before the end of an epoch or the fiftieth step.
        judged = min(_JUDGED, job.steps, steps_per_epoch(len(job.train), job.settings.batch_size))
        notes = (note_of_region(job, options.region), f"Maps of {grid.describe()}.")
        objective = GradcamRrrObjective(options, grid, judged)
        return Prepared(job.started(), objective, region=job.region(options.region), notes=notes)
