"""CRAYON-Pruning: neurons that were called irrelevant are cut off, as columns of the last layer set to 0.

Same as masking the channels before they are pooled; the model stays an ordinary checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch

from spuraudit.errors import DataError, FixError, SpurauditError
from spuraudit.fix.head import find_head
from spuraudit.fix.methods.base import images_with_core
from spuraudit.fix.methods.crayon_answers import core_on_cells
from spuraudit.fix.methods.grids import grid_of, lacks_neurons
from spuraudit.models.feature_grid import activations
from spuraudit.record.annotations import Annotations, read_annotations
from spuraudit.record.relevance import NO_UP_TO, YES_FROM, relevant_neurons
from spuraudit.runs.progress import stage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spuraudit.fix.job import Job
    from spuraudit.fix.objective import Backward
    from spuraudit.models.model import Model


@dataclass(frozen=True)
class Pruned:
    """Neurons (k,) int64 that the linear layer of this name does not read."""

    layer: str
    neurons: Tensor

    def prune(self, network: nn.Module) -> None:
        """Set their columns to 0."""
        with torch.no_grad():
            self._weight(network)[:, self.neurons] = 0

    def keeping(self, network: nn.Module, backward: Backward) -> Backward:
        """`backward`, after which the columns have no gradient.

        A weight of 0 whose gradient was always 0 stays 0 under every optimiser of torch: its moments are 0, and weight
        decay takes a share of 0.
        """

        def kept(loss: Tensor) -> None:
            backward(loss)
            gradient = self._weight(network).grad
            if gradient is not None:
                gradient[:, self.neurons] = 0

        return kept

    def _weight(self, network: nn.Module) -> Tensor:
        weight = network.get_submodule(self.layer).weight
        assert isinstance(weight, torch.Tensor)
        return weight


class Relevance(NamedTuple):
    """keep (D,) bool, and where that comes from."""

    keep: Tensor
    notes: tuple[str, ...]


def pruned(model: Model, relevance: Relevance) -> Pruned:
    """Cut the irrelevant neurons of a model off, in place. Raises FixError where none would be left."""
    if not relevance.keep.any():
        raise FixError(
            f"All {len(relevance.keep)} neurons of the last layer are irrelevant: nothing would be left.",
            "Use crayon-attention, which keeps all neurons.",
        )
    cut = Pruned(find_head(model).name, (~relevance.keep).nonzero()[:, 0])
    cut.prune(model.network)
    return cut


def lacks_relevance(job: Job) -> str | None:
    """Why no neuron could be judged; None where they can."""
    if job.start == "scratch":
        return "neurons were judged in the delivered model; a training from scratch has others (use --start model)."
    try:
        given = _neurons_given(job)
    except SpurauditError as error:
        return f"{error.message} {error.hint or ''}".strip()
    if given is None and not images_with_core(job):
        return (
            "no answers about neurons are given (--annotations FOLDER, made with spuraudit annotate --neurons), and no "
            "training image has a core mask to derive them from."
        )
    return lacks_neurons(job)


def find_relevance(job: Job, top: int) -> Relevance:
    """From answers about the neurons' patches, else from masks over the `top` images where each is most active."""
    grid, given = grid_of(job.model), _neurons_given(job)
    if given is None:
        keep = _by_masks(job, top)
        how = (
            f"Nobody judged the neurons: derived from masks, by the share of a neuron's activation on the object in "
            f"its {top} strongest images (from {YES_FROM:g} on yes, up to {NO_UP_TO:g} no); a neuron with as many yes "
            "as no stays."
        )
    else:
        keep = torch.from_numpy(relevant_neurons(given.neurons, grid.channels))
        judged = len({answer.neuron for answer in given.neurons})
        how = f"{judged} of {grid.channels} neurons were judged by their patches; the others stay."
    cut = f"{int((~keep).sum())} of {grid.channels} neurons of {grid.layer} are irrelevant."
    return Relevance(keep, (how, cut))


def _neurons_given(job: Job) -> Annotations | None:
    """Annotations with answers about neurons. Raises DataError where they are about another model's."""
    given = None if job.annotations is None else read_annotations(job.annotations)
    if given is None or not given.neurons:
        return None
    made = None if given.about is None else given.about.model
    if made is not None and made.sha256 != job.model.record.sha256:
        raise DataError(
            f"{job.annotations}: its neurons are those of {made.name}; {job.model.record.name} has others.",
            "Annotate this model, or use crayon-attention: answers about maps can be transferred.",
        )
    return given


class Strongest(NamedTuple):
    """Of each neuron its strongest images so far: peak (D, k) largest activation, share (D, k) of its positive
    activation that lies on the core."""

    peak: Tensor
    share: Tensor

    def with_images(self, features: Tensor, cores: Tensor, most: int) -> Strongest:
        """After more images, (B, D, rows, columns) and (B, rows, columns); at most `most` stay, earlier ones first."""
        active = features.clamp_min(0)
        total = active.sum(dim=(2, 3))
        share = (active * cores[:, None]).sum(dim=(2, 3)) / total.clamp_min(torch.finfo(total.dtype).tiny)
        peak = torch.cat([self.peak, active.amax(dim=(2, 3)).t()], dim=1)
        order = peak.sort(dim=1, descending=True, stable=True).indices[:, :most]
        return Strongest(peak.gather(1, order), torch.cat([self.share, share.t()], dim=1).gather(1, order))

    @property
    def relevant(self) -> Tensor:
        """(D,) bool: as many yes as no, or more; images where a neuron is not active do not count."""
        active = self.peak > 0
        votes = ((self.share >= YES_FROM) & active).long() - ((self.share <= NO_UP_TO) & active).long()
        return votes.sum(dim=1) >= 0


def _by_masks(job: Job, top: int) -> Tensor:
    grid, size = grid_of(job.model), job.machine.batch_size
    rows = [row for row in job.train if row.has_core]
    strongest = Strongest(torch.empty(grid.channels, 0), torch.empty(grid.channels, 0))
    samples = job.samples(rows)
    with stage(job.progress, "Judging neurons", len(rows), "images"):
        while some := list(islice(samples, size)):
            features = activations(job.model, grid, torch.stack([sample.pixels for sample in some])).cpu()
            cores = torch.stack([core_on_cells(sample, grid) for sample in some])
            strongest = strongest.with_images(features, cores, top)
            job.progress.advance(len(some))
    return strongest.relevant
