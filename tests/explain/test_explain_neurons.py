"""Where neurons peak, and which networks have neurons that can be pruned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import toys
from torch import nn

from spuraudit.errors import ModelError
from spuraudit.explain.neurons import Peaks, refuse_without_neurons
from spuraudit.models.feature_grid import feature_grid


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_peaks_are_those_of_a_sorted_list_whatever_the_batch(batch: int) -> None:
    features = torch.randint(0, 4, (7, 5, 2, 3), generator=torch.Generator().manual_seed(0)).float()  # many ties
    peaks = Peaks.none(5)
    for first in range(0, 7, batch):
        peaks = peaks.with_images(features[first : first + batch], first, 3)
    for channel in range(5):
        cells = [(features[image, channel].flatten().tolist(), image) for image in range(7)]
        strongest = sorted((-max(values), image, values.index(max(values))) for values, image in cells)[:3]
        found = zip(*(part[channel].tolist() for part in peaks), strict=True)
        assert [(-value, image, cell) for value, image, cell in found] == strongest


def look(network: nn.Module, size: int = 64) -> None:
    model = _model(network, size)
    grid = feature_grid(model, (size, size))
    refuse_without_neurons(model, grid, torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def _model(network: nn.Module, size: int) -> toys.Model:
    made = toys.as_model(network, outputs=3)
    geometry = made.record.preprocess.geometry.model_copy(update={"height": size, "width": size})
    preprocess = made.record.preprocess.model_copy(update={"geometry": geometry})
    return replace(made, record=made.record.model_copy(update={"preprocess": preprocess}))


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_networks_that_pool_before_one_linear_layer_have_neurons(name: str) -> None:
    torch.manual_seed(0)
    look(timm.create_model(name, num_classes=3))


@pytest.mark.parametrize("name", ["test_vit", "ghostnet_050"])
def test_others_are_refused(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **({"img_size": 64} if name == "test_vit" else {}))
    with pytest.raises(ModelError, match="does not read the channels"):
        look(network)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
