"""Neurons of the penultimate layer: channels of the feature grid that the last layer reads one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from spuraudit.errors import ModelError

if TYPE_CHECKING:
    from spuraudit.models.feature_grid import FeatureGrid
    from spuraudit.models.model import Model

#: Channels that are switched off to see what the last layer reads of them.
_TRIED = 4


class Peaks(NamedTuple):
    """Of each neuron the images where it is most active, strongest first.

    activation (C, k) float32; image (C, k) int64 counted over all images seen; cell (C, k) int64, row by row from 0.
    """

    activation: Tensor
    image: Tensor
    cell: Tensor

    @classmethod
    def none(cls, channels: int) -> Peaks:
        """Before any image was seen."""
        empty = torch.empty(channels, 0, dtype=torch.int64)
        return cls(empty.float(), empty, empty)

    def with_images(self, features: Tensor, first: int, most: int) -> Peaks:
        """After more images, (B, C, rows, columns), the first of which has the number `first`; at most `most` stay.

        Of equal activations the earlier image counts, so that the batch size does not matter.
        """
        strongest, cell = features.flatten(2).float().cpu().max(dim=2)
        number = torch.arange(first, first + len(features)).expand(features.shape[1], -1)
        activation = torch.cat([self.activation, strongest.t()], dim=1)
        order = activation.sort(dim=1, descending=True, stable=True).indices[:, :most]
        return Peaks(
            activation.gather(1, order),
            torch.cat([self.image, number], dim=1).gather(1, order),
            torch.cat([self.cell, cell.t()], dim=1).gather(1, order),
        )


def refuse_without_neurons(model: Model, grid: FeatureGrid, pixels: Tensor) -> None:
    """Raise ModelError unless the last layer reads each channel of the grid as one feature, so that it can be pruned.

    pixels: (1, 3, H, W). The channels that are most active are switched off one at a time: what changes most before the
    last linear layer has to be the feature of the same number. True of CNNs that pool before one linear layer; a vision
    transformer mixes the channels in between.
    """
    seen: list[Tensor] = []
    tried: list[int] = []

    def switch_off(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        cells = grid.read(changed)
        active = cells[0].float().abs().mean(dim=(1, 2)).topk(min(_TRIED, grid.channels))
        tried[:] = active.indices[active.values > 0].tolist()
        for image, channel in enumerate(tried, start=1):
            cells[image, channel] = 0
        return changed

    def look(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0])

    linear = [module for module in model.network.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_pre_hook(look) for module in linear]
    handles.append(model.network.get_submodule(grid.layer).register_forward_hook(switch_off))
    try:
        with model.computing():
            model.network(model.normalise(pixels.expand(1 + min(_TRIED, grid.channels), -1, -1, -1)))
    finally:
        for handle in handles:
            handle.remove()
    features = seen[-1].flatten(1).float() if seen else torch.empty(0, 0)
    change = (features[1 : 1 + len(tried)] - features[:1]).abs()
    if features.shape[1:] != (grid.channels,) or change.argmax(dim=1).tolist() != tried:
        raise ModelError(
            f"{model.record.name}: its last layer does not read the channels of {grid.layer} one by one, "
            "so that neurons cannot be judged by their patches.",
            "Leave --neurons out: yes and no about maps work for every network.",
        )
