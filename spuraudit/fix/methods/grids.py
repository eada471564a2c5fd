"""What the methods on heat maps need of a network: a feature grid, and a last layer that reads its channels."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from spuraudit.errors import ModelError
from spuraudit.explain.neurons import refuse_without_neurons
from spuraudit.fix.head import find_head
from spuraudit.models.feature_grid import FeatureGrid, feature_grid

if TYPE_CHECKING:
    from torch import nn

    from spuraudit.fix.job import Job
    from spuraudit.models.model import Model

#: What was found, or why nothing was: finding a grid takes passes, and every method on maps asks for it.
_FOUND: WeakKeyDictionary[nn.Module, FeatureGrid | str] = WeakKeyDictionary()


def grid_of(model: Model) -> FeatureGrid:
    """The last feature grid, of a delivered model and of all that start from it. Raises ModelError without one."""
    found = _searched(model)
    if isinstance(found, str):
        raise ModelError(found, "rrr, corm and swap work on every network.")
    return found


def lacks_grid(model: Model) -> str | None:
    """Why a model has no feature grid; None where it has."""
    found = _searched(model)
    return found if isinstance(found, str) else None


def lacks_neurons(job: Job) -> str | None:
    """Why the model's last layer does not read the channels of its grid one by one; None where it does."""
    missing = lacks_grid(job.model)
    if missing is not None:
        return missing
    grid = grid_of(job.model)
    try:
        features = find_head(job.model).layer.in_features
        if features != grid.channels:
            return (
                f"the last layer of {job.model.record.name} reads {features} features, its last feature grid has "
                f"{grid.channels} channels ({grid.layer}): a neuron is no column of that layer."
            )
        (sample,) = job.samples(job.train[:1])
        refuse_without_neurons(job.model, grid, sample.pixels[None])
    except ModelError as error:
        return error.message
    return None


def _searched(model: Model) -> FeatureGrid | str:
    if model.network not in _FOUND:
        try:
            _FOUND[model.network] = feature_grid(model)
        except ModelError as error:
            _FOUND[model.network] = error.message
    return _FOUND[model.network]
