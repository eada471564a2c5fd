"""Maps, patches and pictures of a network whose Grad-CAM can be written down by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from PIL import Image
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.errors import DataError, ModelError
from spuraudit.runs.annotating import Asked, Explained, explain
from spuraudit.runs.prepare import Machine


class Pooled(nn.Module):
    """Cells of 4x4 pixels, averaged over the image and read by one linear layer: (B, 3, 28, 28) -> (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())
        self.classifier = nn.Linear(8, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
            self.features[0].bias[:7] = 1
            self.features[0].bias[7] = -100  # a neuron that is never active

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.draw(tmp_path_factory.mktemp("toy"), toys.Toy(train=5, test=2))


def made(data: Path, asked: Asked | None = None, batch: int = 4) -> Explained:
    dataset = open_dataset(str(data))
    return explain(toys.as_model(Pooled()), dataset, asked or Asked(), Machine(batch, 1))


def pixels_of(data: Path, image: str) -> Tensor:
    return torch.tensor(np.asarray(Image.open(data / "images" / f"{image}.png"))).permute(2, 0, 1)[None] / 255


def test_maps_are_the_grad_cam_of_the_true_class(data: Path) -> None:
    found, network = made(data), Pooled()
    assert [image.id for image in found.about.images] == [
        f"{name}/train-{number:03d}" for name in toys.NAMES[:3] for number in range(5)
    ]
    assert found.maps.shape == (15, 7, 7)
    assert found.maps.dtype == np.float32
    for image, map_ in zip(found.about.images, found.maps, strict=True):
        assert image.output == image.label
        features = network.features(pixels_of(data, image.id))[0]
        # The gradient of a mean over 49 cells, averaged over them: the layer's weight over 49.
        weights = network.classifier.weight[image.label] / 49
        expected = (weights[:, None, None] * features).sum(dim=0).relu()
        np.testing.assert_allclose(map_, expected.detach().numpy(), rtol=1e-5, atol=1e-8)
    assert found.maps.max() > 0
    assert len({float(map_.max()) for map_ in found.maps}) > 5  # not divided by their maxima


def test_maps_of_the_models_own_answer(data: Path) -> None:
    found, network = made(data, Asked(explains="prediction")), Pooled()
    outputs = [int(network(pixels_of(data, image.id)).argmax()) for image in found.about.images]
    assert [image.output for image in found.about.images] == outputs
    assert outputs != [image.label for image in found.about.images]
    assert found.about.explains == "prediction"
    assert found.about.id != made(data).about.id


def test_of_several_outputs_the_strongest_is_explained(data: Path) -> None:
    dataset, network = open_dataset(str(data)), Pooled()
    classes = tuple(replace(info, outputs=((0, 1), (2,), ())[info.index]) for info in dataset.classes)
    rows = tuple(row for row in dataset.images if row.label < 2)
    dataset = replace(dataset, classes=classes[:2], images=rows)
    found = explain(toys.as_model(network), dataset, Asked(), Machine(4, 1))
    for image in found.about.images:
        logits = network(pixels_of(data, image.id))[0]
        assert image.output == (int(logits[:2].argmax()) if image.label == 0 else 2)


@pytest.mark.parametrize("batch", [1, 15])
def test_the_batch_size_does_not_matter(data: Path, batch: int) -> None:
    one, other = made(data, Asked(patches=3)), made(data, Asked(patches=3), batch)
    np.testing.assert_allclose(one.maps, other.maps, rtol=1e-5, atol=1e-8)
    assert [patch[:2] for patch in one.patches] == [patch[:2] for patch in other.patches]
    assert one.pictures == other.pictures


def test_images_are_taken_evenly_over_classes_of_the_train_split(data: Path) -> None:
    found = made(data, Asked(images=6))
    assert [image.label for image in found.about.images] == [0, 0, 1, 1, 2, 2]
    assert (found.about.data.split, found.about.data.available) == ("train", 15)
    assert all("train" in image.id for image in found.about.images)
    assert made(data, Asked(split="test")).about.data.split == "test"
    with pytest.raises(DataError, match="no split 'trian'"):
        made(data, Asked(split="trian"))


def test_patches_are_where_neurons_are_most_active(data: Path) -> None:
    found, network = made(data, Asked(patches=2)), Pooled()
    features = torch.cat([network.features(pixels_of(data, image.id)) for image in found.about.images]).detach()
    assert found.about.neurons == 8
    assert {patch.neuron for patch in found.patches} <= set(range(7))
    assert len(found.patches) > 8
    names = [image.id for image in found.about.images]
    for neuron in {patch.neuron for patch in found.patches}:
        strongest = features[:, neuron].flatten(1).amax(dim=1).sort(descending=True).values[:2]
        own = [patch for patch in found.patches if patch.neuron == neuron]
        for patch, value in zip(own, strongest.tolist(), strict=False):
            assert patch.activation == pytest.approx(value, rel=1e-5)
            place = patch.place
            there = features[names.index(place.image), neuron, place.row - 1, place.column - 1]
            assert float(there) == pytest.approx(value, rel=1e-5)


def test_core_masks_come_in_the_same_cells(data: Path, tmp_path: Path) -> None:
    found = made(data)
    expected = np.zeros((7, 7))
    expected[2:5, 2:5] = 1  # the object of the toys: pixels 8 to 20 are cells 2 to 5
    np.testing.assert_allclose(found.cores, np.broadcast_to(expected, (15, 7, 7)), atol=1e-6)
    bare = made(toys.draw(tmp_path, toys.Toy(train=1, test=1, masks=False)))
    assert np.isnan(bare.cores).all()


def test_small_pictures_keep_their_pixels(data: Path) -> None:
    found = made(data)
    stored = np.asarray(Image.open(io.BytesIO(found.pictures[3])))
    original = np.asarray(Image.open(data / "images" / f"{found.about.images[3].id}.png"))
    np.testing.assert_array_equal(stored, original)


def test_an_overflow_is_not_shown_to_people(data: Path) -> None:
    network = Pooled()
    network.classifier.weight.data[:] = torch.inf
    with pytest.raises(ModelError, match="NaN"):
        explain(toys.as_model(network), open_dataset(str(data)), Asked(), Machine(4, 1))
