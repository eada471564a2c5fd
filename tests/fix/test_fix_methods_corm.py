"""corm: where the noise is, when there is none, and the saliency term's gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fix.trainings import feed_of, job_of, same_weights, settings, smooth

from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import Dataset
from spuraudit.errors import UsageError
from spuraudit.fix.batch import Batch
from spuraudit.fix.catalogue import make_method
from spuraudit.fix.learner import Learner
from spuraudit.fix.methods.corm import CormObjective, CormOptions
from spuraudit.models.class_map import class_map
from spuraudit.models.model import Model

CPU = torch.device("cpu")
MAP = class_map([None] * 3, ["a", "b", "c"], 3, "all")


def batch_of(dataset: Dataset, step: int = 0, half: bool = True) -> Batch:
    """With the left half of each image as its core."""
    (batch,) = feed_of(dataset, settings(flip=False)).batches(CPU, step, step + 1)
    if not half:
        return batch
    left = torch.zeros(28, 28)
    left[:, :14] = 1
    samples = tuple(Sample(s.row, s.pixels, {**s.masks, "object": left}) for s in batch.samples)
    return replace(batch, samples=samples)


def shown(batch: Batch, **options: Any) -> torch.Tensor:
    return CormObjective(CormOptions(**{"withhold": 0.0, **options})).show(batch).pixels - batch.pixels


def test_noise_lies_outside_the_core_and_within_the_range(tagged: Dataset) -> None:
    batch = batch_of(tagged)
    change = shown(batch, sigma=0.25)
    assert (change[..., :14] == 0).all()
    assert 0.1 < change[..., 14:].std() < 0.26
    pixels = batch.pixels + shown(batch, sigma=5.0)
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert len({round(float(one.sum()), 4) for one in change}) == len(batch)


def test_a_dilated_core_grows(tagged: Dataset) -> None:
    change = shown(batch_of(tagged), dilation=3)
    assert (change[..., :17] == 0).all()
    assert (change[..., 17] != 0).any()


def test_without_a_mask_there_is_no_noise(tagged: Dataset) -> None:
    batch = batch_of(tagged)
    bare = replace(batch.samples[0].row, masks=())
    samples = (Sample(bare, batch.samples[0].pixels, {}), *batch.samples[1:])
    change = shown(replace(batch, samples=samples), sigma=0.25)
    assert (change[0] == 0).all()
    assert (change[1] != 0).any()


def test_whole_batches_are_withheld_by_keys(tagged: Dataset) -> None:
    batch = batch_of(tagged)
    noised = [
        shown(replace(batch, key=(0, step)), withhold=0.3).abs().flatten(1).amax(dim=1) > 0 for step in range(300)
    ]
    assert all(bool(one.all()) or not bool(one.any()) for one in noised)
    assert abs(sum(bool(one.any()) for one in noised) / 300 - 0.7) < 0.08
    assert (shown(batch, withhold=1.0) == 0).all()
    assert torch.equal(shown(batch), shown(batch))
    assert not torch.equal(shown(batch), shown(replace(batch, key=(0, 99))))


def test_a_device_sees_the_noise_of_its_images(tagged: Dataset) -> None:
    batch = batch_of(tagged)
    assert torch.equal(shown(batch.taken(1, 2)), shown(batch)[1::2])


def doubled() -> tuple[Model, Learner]:
    model = smooth()
    model.network.double().requires_grad_(True)
    return model, Learner.of(model, MAP)


def by_samples(model: Model, batch: Batch, weight: float) -> list[torch.Tensor]:
    """Gradients of mean cross-entropy + weight * mean ||(1 - c) o g||^2: images one by one, pixels one by one."""
    parameters = list(model.network.parameters())
    total = torch.zeros((), dtype=torch.float64)
    for number, sample in enumerate(batch.samples):
        x = batch.pixels[number].double().clone().requires_grad_()
        logits = model.network(x[None])[0]
        loss = -(logits[sample.row.label] - torch.log(torch.exp(logits).sum()))
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        penalty = torch.zeros((), dtype=torch.float64)
        for channel in range(3):
            penalty = penalty + (((1 - sample.masks["object"].double()) * gradient[channel]) ** 2).sum()
        total = total + (loss + weight * penalty) / len(batch)
    return list(torch.autograd.grad(total, parameters))


@pytest.mark.parametrize("rms", [None, 1e-4])
def test_gradients_equal_those_of_single_images(
    tagged: Dataset, rms: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # a learner's logits are float32 otherwise
    model, learner = doubled()
    batch = batch_of(tagged)
    batch = batch.shown(batch.pixels.double())
    expected = by_samples(model, batch, 50.0)
    plain = by_samples(model, batch, 0.0)
    CormObjective(CormOptions(weight=50.0), rms).accumulate(learner, batch, lambda loss: loss.backward())
    found = [parameter.grad for parameter in model.network.parameters()]
    assert max(float((a - b).abs().max()) for a, b in zip(plain, expected, strict=True)) > 1e-4
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert torch.allclose(one, other, rtol=1e-6 if rms is None else 1e-3, atol=1e-9 if rms is None else 1e-5)


def test_the_check_leaves_the_start_as_it_is(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path, settings(batch_norm="train"))
    prepared = make_method("corm", {"weight": 1.0}).prepare(job)
    assert same_weights(prepared.model.network, job.started().network)


def test_frozen_the_check_leaves_the_start_as_it_is(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path)
    prepared = make_method("corm", {"weight": 1.0}).prepare(job)
    assert same_weights(prepared.model.network, job.started().network)
    assert any("agree" in note or "differences" in note for note in prepared.notes)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_differences_need_float32(tagged: Dataset, tmp_path: Path, precision: str) -> None:
    asked = make_method("corm", {"weight": 1.0, "derivative": "difference"})
    job = job_of(smooth(), tagged, tmp_path, settings(precision=precision))
    with pytest.raises(UsageError, match=f"needs precision=fp32: {precision}") as caught:
        asked.check_options(job)
    assert "derivative=double or auto" in (caught.value.hint or "")
    for derivative in ("auto", "double"):
        make_method("corm", {"weight": 1.0, "derivative": derivative}).check_options(job)
    exact = job_of(smooth(), tagged, tmp_path)
    asked.check_options(exact)
    assert asked.prepare(exact).notes[-1] == "Saliency by differences."


def test_in_reduced_precision_auto_is_double_backward(tagged: Dataset, tmp_path: Path) -> None:
    method = make_method("corm", {"weight": 1.0})
    assert method.prepare(job_of(smooth(), tagged, tmp_path)).notes[-1] == "Saliency by differences."
    reduced = job_of(smooth(), tagged, tmp_path, settings(precision="bf16"))
    assert method.prepare(reduced).notes[-1] == "Saliency by double backward."


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"part": 0.25}, "part has no effect with weight=0"),
        ({"derivative": "auto", "weight": 0}, "derivative has no effect with weight=0"),
        ({"sigma": 0, "weight": 1, "withhold": 0.5}, "withhold has no effect with sigma=0"),
        ({"sigma": 0.5, "withhold": 1}, "sigma has no effect with withhold=1"),
        ({"sigma": 0, "dilation": 2}, "dilation has no effect with neither noise nor a saliency term"),
        ({"withhold": 1, "dilation": 2}, "dilation has no effect"),
        ({"sigma": 0, "weight": 1, "part": 0.25, "derivative": "double", "dilation": 2}, None),
        ({"sigma": 0.5, "withhold": 0.2, "dilation": 2}, None),
    ],
)
def test_options_of_a_term_that_is_off(
    tagged: Dataset, tmp_path: Path, options: dict[str, Any], idle: str | None
) -> None:
    job, method = job_of(smooth(), tagged, tmp_path), make_method("corm", options)
    if idle is None:
        method.check_options(job)
        return
    with pytest.raises(UsageError, match=idle):
        method.check_options(job)
