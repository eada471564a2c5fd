"""Maps of a feature grid that can be trained on: Grad-CAM and its un-averaged form, as tensors with a graph.

Not scaled, not resized, of many images at once. For pictures to look at there is `grad_cam`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from spuraudit.errors import ModelError, UsageError

if TYPE_CHECKING:
    from typing import Any

    from torch import Tensor, nn

    from spuraudit.models.feature_grid import FeatureGrid


def forward_with_features(network: nn.Module, grid: FeatureGrid, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) normalised inputs -> logits (B, K), and the output of the grid's layer as the layer gave it.

    One pass, of a network in whatever mode it is. The logits depend on the output, so both gradients by it and losses
    made of it can be had; `grid.read(output)` is a view beside that path, and has no gradient. What follows the layer
    works on a copy, so that an activation in place leaves the output alone. Where nothing in front of the layer is
    trained the output is where the graph begins. No hook remains, also after an error.
    Raises ModelError where the output has another shape than the grid's, or the layer did not run exactly once.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        grid.read(output)  # refuses other shapes
        if torch.is_grad_enabled() and not output.requires_grad:
            output = output.detach().requires_grad_()
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(grid.layer).register_forward_hook(keep)
    try:
        logits: Tensor = network(inputs)
    finally:
        handle.remove()
    if len(kept) != 1:
        raise ModelError(
            f"The layer {grid.layer!r} ran {len(kept)} times in one pass; a map needs one run.",
            "Find the grid of this network with `feature_grid`, in the mode in which it is used.",
        )
    return logits, kept[0]


def class_activation(
    logits: Tensor,
    output: Tensor,
    grid: FeatureGrid,
    classes: Tensor,
    *,
    relu: bool = True,
    create_graph: bool = False,
) -> Tensor:
    """Grad-CAM of one class per image, not scaled: (B, rows, columns), at least float32.

    Selvaraju et al. 2017, equations 1 and 2: the channels, each weighted with the mean over the cells of the gradient
    of the class's logit, summed; `relu` then drops what speaks against the class. logits (B, K): of the network, or
    any scores made from them. output: from the same pass, see `forward_with_features`. classes (B,) int64, a column of
    logits each. A map belongs to its image alone as long as the network treats images apart (batch normalisation in
    eval mode). create_graph: the map can be trained on, weights included; without it the map is a plain number per
    cell. The graph of the logits stays either way.
    Raises UsageError where the classes do not fit, or the logits do not depend on the output.
    """
    gradient, features = _gradient_and_features(chosen(logits, classes), output, grid, create_graph)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return _finished((weights * features).sum(dim=1), relu, create_graph)


def element_activation(
    scores: Tensor, output: Tensor, grid: FeatureGrid, *, relu: bool = False, create_graph: bool = False
) -> Tensor:
    """Gradient times activation at each cell, summed over the channels: (B, rows, columns), at least float32.

    The Grad-CAM without the mean over cells (HiResCAM, Draelos & Carin 2020): it sees weights that differ from place to
    place, as those of a linear layer on a flattened map do. scores (B,), one number per image:

        chosen(logits, classes)          the class's logit
        (signs * logits).sum(dim=1)      all of them: with random signs +-1, the mean of the map's square is the sum of
                                         the squares of the maps of all logits. This holds without `relu` only.

    The rest, and errors, as of `class_activation`.
    """
    gradient, features = _gradient_and_features(scores, output, grid, create_graph)
    return _finished((gradient * features).sum(dim=1), relu, create_graph)


def chosen(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of one class per image: (B, K) and (B,) int64 -> (B,). Raises UsageError where they do not fit."""
    if classes.shape != logits.shape[:1]:
        raise UsageError(
            f"A map explains one class per image; got {len(logits)} images and classes of shape {tuple(classes.shape)}."
        )
    return logits.gather(1, classes[:, None])[:, 0]


def _gradient_and_features(
    scores: Tensor, output: Tensor, grid: FeatureGrid, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Both (B, channels, rows, columns); reduced precision is widened before anything is multiplied."""
    if not (scores.requires_grad and output.requires_grad):
        raise UsageError("A map needs a pass with gradients; this one ran under no_grad or inference_mode.")
    (gradient,) = torch.autograd.grad(
        scores.sum(), output, create_graph=create_graph, retain_graph=True, allow_unused=True
    )
    if gradient is None:
        raise UsageError(
            f"The scores do not depend on the given output of {grid.layer!r}.",
            "Give the output itself, from the pass of the scores; a view or a copy of it will not do.",
        )
    wide = torch.promote_types(output.dtype, torch.float32)
    return grid.read(gradient).to(wide), grid.read(output).to(wide)


def _finished(maps: Tensor, relu: bool, create_graph: bool) -> Tensor:
    maps = maps.relu() if relu else maps
    # Half a graph, through the features and not through the weights, would train on a wrong gradient without a word.
    return maps if create_graph else maps.detach()
