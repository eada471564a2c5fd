"""Answers that are not plain logits: what is taken from them, and that the head gives the right probabilities."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from model_networks import as_model, build
from torch import Tensor, nn

from spuraudit.errors import ModelError
from spuraudit.models.class_map import Head, class_map
from spuraudit.models.device import resolve_device
from spuraudit.models.heads import AsClassifier, WatchSigmoids, as_classifier
from spuraudit.models.loading import load
from spuraudit.models.mc_dropout import Draw, answers_of_passes, draw_masks, mc_logits, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spuraudit.models.model import Model

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Linear(nn.Module):
    """A linear classifier of 16x16 images whose logits `answer` wraps up."""

    def __init__(self, answer: Callable[[Tensor], Any], outputs: int = 5) -> None:
        super().__init__()
        self.classifier = nn.Linear(3 * 16 * 16, outputs)
        with torch.no_grad():
            drawn = torch.randn(outputs, 768, generator=torch.Generator().manual_seed(2))
            self.classifier.weight.copy_(drawn / 8)
            self.classifier.bias.zero_()
        self.answer = answer

    def plain(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x.flatten(1))
        return logits

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.plain(x))


class Pair(NamedTuple):
    """As torchvision's networks with auxiliary classifiers answer."""

    logits: Tensor
    aux_logits: Tensor


@dataclass
class Answer:
    """An answer with fields."""

    features: Tensor
    scores: Tensor


def wrapped(network: nn.Module, head: Head = "softmax") -> nn.Module:
    """As loading does it: from one image, with the sigmoids of the pass."""
    with torch.inference_mode(), WatchSigmoids() as watch:
        answer = network(IMAGES[:1])
    return as_classifier(network, answer, head, watch.results)


def features(logits: Tensor) -> Tensor:
    return logits.repeat(1, 3)


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (lambda z: {"features": features(z), "logits": z}, "'logits'"),
        (lambda z: OrderedDict(out=z, aux=z + 1), "'out'"),
        (lambda z: {"output": z}, "'output'"),
        (lambda z: {"pred": -z, "scores": z}, "'scores'"),
        (lambda z: {"pred": z, "loss": z.sum()}, "'pred'"),
        (lambda z: {"cls": z, "map": z[..., None, None].repeat(1, 1, 2, 2)}, "'cls'"),
        (lambda z: Pair(z, features(z)), ".logits"),
        (lambda z: Answer(features(z), z), ".scores"),
        (lambda z: (z,), "item 0"),
        (lambda z: [z.argmax(dim=1), z, z - 1], "item 1 of the network's answer, a list, the first of 2"),
        (lambda z: (z[..., None, None].repeat(1, 1, 7, 7), z), "item 1"),
    ],
)
def test_logits_are_found_in_an_answer_of_several_parts(answer: Callable[[Tensor], Any], note: str) -> None:
    network = Linear(answer)
    found = wrapped(network)
    assert isinstance(found, AsClassifier)
    assert torch.equal(found(IMAGES), network.plain(IMAGES))
    assert len(found.notes) == 1
    assert note in found.notes[0]


def test_a_model_output_of_transformers() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    network = Linear(lambda z: outputs.ImageClassifierOutput(logits=z, hidden_states=(z, z)))
    assert torch.equal(wrapped(network)(IMAGES), network.plain(IMAGES))


def test_spatial_logits_are_flattened() -> None:
    network = Linear(lambda z: z[:, :, None, None])
    found = wrapped(network)
    assert torch.equal(found(IMAGES), network.plain(IMAGES))
    assert isinstance(found, AsClassifier)
    assert found.notes == ("The logits are a map of 1x1 places: flattened.",)


@pytest.mark.parametrize("answer", [lambda z: z, lambda z: z.log_softmax(dim=1), lambda z: z.half()])
def test_whoever_answers_with_logits_is_left_alone(answer: Callable[[Tensor], Tensor]) -> None:
    network = Linear(answer)
    assert wrapped(network) is network


def test_modules_of_a_plain_network_keep_their_names() -> None:
    network = build("test_resnet")
    with torch.inference_mode():
        assert as_classifier(network, network(torch.rand(1, 3, 64, 64))) is network


@pytest.mark.parametrize("shape", [lambda z: z, lambda z: z[:, 0], lambda z: z.squeeze(), lambda z: (z, None)])
@pytest.mark.parametrize("ending", [lambda z: z, torch.sigmoid, Tensor.sigmoid, F.sigmoid, nn.Sigmoid()])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_one_output_is_a_binary_classifier(
    shape: Callable[[Tensor], Any], ending: Callable[[Tensor], Tensor], head: Head
) -> None:
    network = Linear(lambda z: shape(ending(z)), outputs=1)
    found = wrapped(network, head)
    positive = network.plain(IMAGES)[:, 0].sigmoid()
    assert isinstance(found, AsClassifier)
    assert any("One output: a binary classifier" in note for note in found.notes)
    for images in (IMAGES, IMAGES[:1]):
        mapping = class_map([None, None], ["no", "yes"], 2, "all", head)
        answers = mapping.answer(found(images))
        expected = positive[: len(images)]
        torch.testing.assert_close(answers.probabilities, torch.stack([1 - expected, expected], dim=1))
        assert answers.predicted.tolist() == (expected >= 0.5).long().tolist()


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    ("ending", "note"),
    [
        (lambda z: z.softmax(dim=1), "sum"),
        (lambda z: {"out": z.softmax(dim=1)}, "sum"),
        (lambda z: z.log_softmax(dim=1).exp(), "sum"),
    ],
)
def test_probabilities_come_back_as_they_were(ending: Callable[[Tensor], Any], note: str, head: Head) -> None:
    network = Linear(ending)
    found = wrapped(network, head)
    assert isinstance(found, AsClassifier)
    assert note in found.notes[-1]
    answers = class_map([None] * 5, list("abcde"), 5, "all", head).answer(found(IMAGES))
    torch.testing.assert_close(answers.probabilities, network.plain(IMAGES).softmax(dim=1), rtol=1e-4, atol=1e-6)


def test_probabilities_of_zero_stay_finite() -> None:
    network = Linear(lambda z: (1000 * z).softmax(dim=1))
    for head in ("softmax", "sigmoid"):
        logits = wrapped(network, head)(IMAGES)
        assert torch.isfinite(logits).all()
        assert torch.equal(logits.argmax(dim=1), network.plain(IMAGES).argmax(dim=1))


def test_log_probabilities_of_labels() -> None:
    network = Linear(lambda z: z.log_softmax(dim=1))
    found = wrapped(network, "sigmoid")
    torch.testing.assert_close(found(IMAGES).sigmoid(), network.plain(IMAGES).softmax(dim=1), rtol=1e-4, atol=1e-6)
    assert isinstance(found, AsClassifier)
    assert "--head softmax is probably meant" in found.notes[0]


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_sigmoids_of_labels_are_taken_back(head: Head) -> None:
    network = Linear(lambda z: {"scores": z.sigmoid()})
    found = wrapped(network, head)
    torch.testing.assert_close(found(IMAGES), network.plain(IMAGES), rtol=1e-3, atol=1e-4)
    assert isinstance(found, AsClassifier)
    assert ("--head sigmoid" in found.notes[1]) == (head == "softmax")


def test_a_sigmoid_inside_a_network_is_no_ending() -> None:
    network = Linear(lambda z: z * z.sigmoid())
    assert wrapped(network) is network


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda z: z[:, :, None].repeat(1, 1, 4), r"the shape \(1, 5, 4\), not with at least two logits"),
        (lambda z: z[:, :, None, None].repeat(1, 1, 2, 2), r"the shape \(1, 5, 2, 2\), not"),
        (lambda z: z[0], r"a tensor of the shape \(5,\), not"),
        (lambda z: z.argmax(dim=1), r"a tensor of the shape \(1,\) and the type int64, not"),
        (lambda z: (features(z), z), r"a tuple, .* item 0 of the shape \(1, 15\) or item 1 of the shape \(1, 5\)"),
        (lambda z: {"a": z, "b": features(z)}, r"a dict, .* 'a' of the shape \(1, 5\) or 'b' of the shape \(1, 15\)"),
        (lambda z: {"boxes": z[0], "labels": z.argmax(dim=1)}, "nothing looks like logits.*'boxes' of the shape"),
        (lambda z: Answer(z[0], z[0]), r"a Answer in which nothing .*\.features of the shape \(5,\)"),
        (lambda _z: {}, "a dict in which nothing looks like logits"),
        (lambda _z: None, "a NoneType in which nothing"),
    ],
)
def test_what_cannot_be_told(answer: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        wrapped(Linear(answer))
    assert caught.value.hint


class Dropping(nn.Module):
    """Dropout before its classifier, and an answer of several parts, or of one output."""

    def __init__(self, answer: Callable[[Tensor], Any], outputs: int) -> None:
        super().__init__()
        self.body = Linear(answer, outputs)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Any:
        return self.body.answer(self.body.classifier(self.dropout(x.flatten(1))))


@pytest.mark.parametrize(
    ("answer", "outputs", "evaluation"),
    [
        (lambda z: {"logits": z}, 5, "linear head"),
        (lambda z: z.softmax(dim=1), 5, "linear head"),
        (lambda z: z, 1, "expanded"),
        (lambda z: z.sigmoid().squeeze(1), 1, "expanded"),
    ],
)
def test_dropout_passes_of_a_wrapped_network_equal_whole_passes(
    answer: Callable[[Tensor], Any], outputs: int, evaluation: str
) -> None:
    network = Dropping(answer, outputs).eval()
    model = as_model(wrapped(network), 16, max(2, outputs))
    plan = prepare(model, IMAGES[:2])
    assert plan.evaluation == evaluation
    answers = torch.cat(list(answers_of_passes(model, plan, IMAGES, [Draw(3, 4)], 6)))
    (mask,) = draw_masks(plan, 3, 6)
    with torch.no_grad():
        features_in = model.normalise(IMAGES).flatten(1)
        passes = torch.stack([network.body.classifier(features_in * one.view(-1)) for one in mask])
    expected = passes.softmax(dim=-1) if outputs > 1 else torch.cat([1 - passes.sigmoid(), passes.sigmoid()], dim=-1)
    torch.testing.assert_close(answers[1:].softmax(dim=-1), expected, rtol=1e-4, atol=1e-5)
    whole = mc_logits(model, plan, IMAGES, (mask,))
    torch.testing.assert_close(whole.softmax(dim=-1), expected, rtol=1e-4, atol=1e-5)


SOURCE = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, ending):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 1 if ending == "binary" else 3)
        self.ending = ending

    def forward(self, x):
        z = self.head(self.body(x))
        if self.ending == "tuple":
            return z, self.body(x).unsqueeze(2)
        return z.softmax(1) if self.ending == "softmax" else torch.sigmoid(z).squeeze(1)

def build(ending):
    torch.manual_seed(0)
    cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, 32, 32), "crop_pct": 1.0}
    return Network(ending), cfg
"""


def loaded(folder: Path, ending: str) -> Model:
    file = folder / "network.py"
    file.write_text(SOURCE)
    return load(f"{file}:build", kwargs={"ending": ending}, device="cpu", trust_code=True)


@pytest.mark.parametrize(
    ("ending", "outputs", "note"),
    [("tuple", 3, "item 0"), ("softmax", 3, "look like probabilities"), ("binary", 2, "One output")],
)
def test_a_loaded_model_says_what_was_done(tmp_path: Path, ending: str, outputs: int, note: str) -> None:
    model = loaded(tmp_path, ending)
    assert model.device == resolve_device("cpu")
    assert model.record.num_classes == outputs
    assert any(note in text for text in model.record.notes)
    images = torch.rand(3, 3, 32, 32)
    logits = model.logits(images)
    assert logits.shape == (3, outputs)
    assert isinstance(model.network, AsClassifier)
    inner = model.network.network
    with torch.no_grad():
        plain = inner.head(inner.body(model.normalise(images)))
    expected = plain.softmax(dim=1) if outputs == 3 else torch.cat([1 - plain.sigmoid(), plain.sigmoid()], dim=1)
    torch.testing.assert_close(logits.softmax(dim=1), expected, rtol=1e-4, atol=1e-5)
