"""Other ways to ask the same weights: normalisations share the network, paddings share its tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from model_networks import as_model, build
from torch import Tensor, nn

from spuraudit.cli.scan_options import key_values, overrides
from spuraudit.models.alternatives import NORMALISATIONS, normalisations, paddings
from spuraudit.models.architectures import create
from spuraudit.models.model import Model


def known(arch: str, **kwargs: Any) -> Model:
    """A model whose record says how its network was built."""
    model = as_model(build(arch, **kwargs), 64)
    record = model.record.model_copy(update={"arch": arch, "kwargs": {"num_classes": 10, **kwargs}})
    return replace(model, record=record)


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_every_usual_normalisation_but_the_one_in_use() -> None:
    model = as_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), 2)
    assert [found.model.record.preprocess.mean for found in normalisations(model)] == [m for m, _ in NORMALISATIONS]
    for mean, std in NORMALISATIONS:
        preprocess = model.record.preprocess.model_copy(update={"mean": mean, "std": std})
        used = replace(model, record=model.record.model_copy(update={"preprocess": preprocess}))
        others = [(a.model.record.preprocess.mean, a.model.record.preprocess.std) for a in normalisations(used)]
        assert others == [pair for pair in NORMALISATIONS if pair != (mean, std)]


def test_a_normalisation_shares_the_network_and_leaves_the_model_alone() -> None:
    model = as_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), 2)
    before = model.record.model_dump()
    for other in normalisations(model):
        assert other.model.network is model.network
        assert other.model.record.preprocess.geometry == model.record.preprocess.geometry
    assert model.record.model_dump() == before


def test_the_flags_of_a_normalisation_are_understood_by_the_command_line() -> None:
    for other in normalisations(as_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), 2)):
        _, mean, _, std = other.flags.split()
        given = overrides(mean, std, None, None, None, None)
        assert given.mean == pytest.approx(other.model.record.preprocess.mean, abs=1e-8)
        assert given.std == pytest.approx(other.model.record.preprocess.std, abs=1e-8)


@pytest.mark.parametrize(
    ("arch", "kwargs", "padding"),
    [
        ("mobilenetv2_050", {}, "same"),
        ("mobilenetv2_050", {"pad_type": "same"}, ""),
        ("tf_mobilenetv3_small_minimal_100", {}, ""),
    ],
)
def test_the_other_padding(arch: str, kwargs: dict[str, str], padding: str, pixels: Tensor) -> None:
    model = known(arch, **kwargs)
    (other,) = paddings(model)
    assert other.model.record.kwargs == {"num_classes": 10, **kwargs, "pad_type": padding}
    option, given = other.flags.split(" ", 1)
    assert option == "--model-kwargs"
    assert key_values([given.strip('"')]) == {"pad_type": padding}
    expected = create(arch, {"num_classes": 10, **kwargs, "pad_type": padding}).eval()
    expected.load_state_dict(model.network.state_dict())
    own, theirs = model.logits(pixels), other.model.logits(pixels)
    assert torch.allclose(theirs, replace(model, network=expected).logits(pixels), atol=1e-5)
    assert not torch.allclose(theirs, own, atol=1e-3)
    assert not other.model.network.training
    assert not any(parameter.requires_grad for parameter in other.model.network.parameters())


def test_a_padding_takes_no_memory_for_weights() -> None:
    model = known("mobilenetv2_050")
    (other,) = paddings(model)
    mine = {parameter.data_ptr() for parameter in model.network.parameters()}
    assert {parameter.data_ptr() for parameter in other.model.network.parameters()} == mine


@pytest.mark.parametrize("arch", ["resnet18", "paper_cnn"])
def test_an_architecture_without_the_argument_has_no_other_padding(arch: str) -> None:
    assert list(paddings(known(arch))) == []


def test_a_network_that_its_name_does_not_rebuild_has_no_other_padding() -> None:
    model = known("mobilenetv2_050")
    wrapped = replace(model, network=nn.Sequential(model.network))
    assert list(paddings(wrapped)) == []
    assert list(paddings(replace(model, record=model.record.model_copy(update={"arch": "my_code.py:build"})))) == []
    changed = known("mobilenetv2_050")
    changed.network.bn1.act = nn.Identity()
    assert list(paddings(changed)) == []
