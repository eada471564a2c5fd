"""Last linear layers, new ones in their place, and starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import toys
from fix.trainings import Smooth, job_of, same_weights, seeded
from torch import nn

from spuraudit.data.dataset import Dataset
from spuraudit.errors import FixError, ModelError
from spuraudit.fix.head import find_head, penultimate, started
from spuraudit.fix.job import Prepared
from spuraudit.models import architectures
from spuraudit.models.model import Model
from spuraudit.record.geometry import Geometry

HEADS = {
    "resnet18": ("fc", {}, 64),
    "mobilenetv2_050": ("classifier", {}, 64),
    "vit_tiny_patch16_224": ("head", {"img_size": 64}, 64),
    "convnext_atto": ("head.fc", {}, 64),
    "torchvision:resnet18": ("fc", {}, 64),
    "paper_cnn": ("classifier", {"width": 3}, 28),
}


def model_of(arch: str, outputs: int = 5) -> Model:
    """With drawn weights."""
    _, kwargs, side = HEADS.get(arch, ("", {}, 64))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = architectures.create(arch, {**kwargs, "num_classes": outputs})
    model = toys.as_model(network) if side == 28 else _sized(network, side, outputs)
    record = model.record.model_copy(update={"arch": arch, "kwargs": {**kwargs, "num_classes": outputs}})
    return Model(model.network, record, model.device)


def _sized(network: nn.Module, side: int, outputs: int) -> Model:
    model = toys.as_model(network, outputs=outputs)
    preprocess = model.record.preprocess.model_copy(
        update={"geometry": Geometry(height=side, width=side, crop_pct=1.0)}
    )
    return Model(model.network, model.record.model_copy(update={"preprocess": preprocess}), model.device)


def pixels_of(model: Model) -> torch.Tensor:
    geometry = model.record.preprocess.geometry
    return torch.rand(2, 3, geometry.height, geometry.width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("arch", HEADS)
def test_the_head_is_found_and_can_be_drawn_anew(arch: str) -> None:
    model = model_of(arch)
    twin = {name: value.clone() for name, value in model.network.state_dict().items()}
    head = find_head(model)
    assert head.name == HEADS[arch][0]
    features = penultimate(model, head, pixels_of(model))
    assert torch.allclose(head.layer(features), model.logits(pixels_of(model)), atol=1e-5)
    new = started(model, "new-head", 2, 0)
    assert new.record.num_classes == 2
    assert new.logits(pixels_of(model)).shape == (2, 2)
    layer = find_head(new).layer
    assert 0 < layer.weight.abs().max() <= layer.in_features**-0.5
    assert torch.equal(penultimate(new, find_head(new), pixels_of(model)), features)
    fresh = architectures.create(arch, {**HEADS[arch][1], "num_classes": 2})
    fresh.load_state_dict(new.network.state_dict(), strict=True)
    assert torch.allclose(fresh.eval()(new.normalise(pixels_of(model))), new.logits(pixels_of(model)), atol=1e-5)
    again, other = started(model, "new-head", 2, 0), started(model, "new-head", 2, 1)
    assert same_weights(again.network, new.network)
    assert not same_weights(other.network, new.network)
    assert all(torch.equal(value, twin[name]) for name, value in model.network.state_dict().items())
    assert model.record.num_classes == 5


def test_a_new_head_is_at_rest() -> None:
    network = started(model_of("paper_cnn"), "new-head", 2, 0).network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("arch", ["resnet18", "vit_tiny_patch16_224", "paper_cnn"])
def test_from_scratch_is_drawn_by_seed(arch: str) -> None:
    model = model_of(arch)
    state = torch.get_rng_state()
    one, again, other = (started(model, "scratch", 5, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert same_weights(one.network, again.network)
    assert not same_weights(one.network, other.network)
    assert not same_weights(one.network, model.network)
    assert started(model, "scratch", 3, 0).logits(pixels_of(model)).shape == (2, 3)
    assert same_weights(started(model, "model", 5, 0).network, model.network)


def test_a_network_of_code_is_reset_layer_by_layer() -> None:
    model = toys.as_model(seeded(Smooth), outputs=3)
    model = Model(model.network, model.record.model_copy(update={"source": "code"}), model.device)
    assert not same_weights(started(model, "scratch", 3, 0).network, model.network)
    constant = toys.as_model(toys.Constant())
    own = Model(constant.network, constant.record.model_copy(update={"source": "code"}), constant.device)
    with pytest.raises(FixError, match="nothing says how bias is drawn"):
        started(own, "scratch", 3, 0)


def test_a_convolution_is_no_linear_head() -> None:
    model = _sized(timm.create_model("test_resnet", num_classes=4), 64, 4)
    assert find_head(model).name == "fc"
    convolution = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelError, match="no linear layer whose output its logits are"):
        find_head(toys.as_model(convolution))


def test_an_early_model_answers_in_its_own_classes(tmp_path: Path) -> None:
    """The data say that output 2, 0, 1 of the delivered model are the classes; an early one has its own outputs."""
    folder = toys.draw(tmp_path / "data", toys.Toy(train=20))
    content = toys.description(toys.Toy(train=20))
    content["classes"] = [{"name": n, "outputs": [(k + 2) % 3]} for k, n in enumerate(toys.NAMES[:3])]
    toys.write_yaml(folder, content)
    dataset: Dataset = toys.open_dataset(str(folder))
    job = job_of(toys.as_model(seeded(toys.PaperCNN, 3, 8), outputs=3), dataset, tmp_path)
    job = job.__class__(**{**vars(job), "settings": job.settings.model_copy(update={"lr": 3e-3, "flip": False})})
    early = job.early("new-head", 6)
    labels = torch.tensor([row.label for row in job.train])
    assert (job.predicted(early, job.train) == labels).float().mean() > 0.9


def test_features_of_a_job(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(toys.as_model(seeded(Smooth), outputs=3), tagged, tmp_path)
    features = job.features(job.model, job.train)
    assert features.shape == (30, 54)
    logits = features @ job.model.network.fc.weight.T + job.model.network.fc.bias
    assert torch.equal(logits.argmax(dim=1), job.predicted(job.model, job.train))
    assert job.predicted(job.model, ()).shape == (0,)
    assert Prepared(job.started()).steps is None
