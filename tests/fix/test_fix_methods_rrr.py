"""rrr and gradcam-rrr as methods: values over a step, the side of the mask, and the map that sees nothing."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from fix import halves
from fix.loss_networks import Smooth, smooth, uniform
from fix.steps import MARKED, SIDE, assert_learns, batch_of, explained, learner_of, step
from oracles import fix_losses as oracle
from oracles.fix_methods import mean_of_marked
from torch import Tensor, nn

from spuraudit.data import open_dataset
from spuraudit.errors import FixError, UsageError
from spuraudit.fix.job import Prepared
from spuraudit.fix.methods.gradcam_rrr import GradcamRrr, GradcamRrrObjective, GradcamRrrOptions
from spuraudit.fix.methods.marked import counted, signs_of
from spuraudit.fix.methods.rrr import Rrr, RrrObjective, RrrOptions
from spuraudit.fix.objective import Objective
from spuraudit.models.paper_cnn import PaperCNN


def given() -> tuple[Smooth, Tensor, Tensor]:
    return smooth(SIDE), uniform(6, 3, SIDE, SIDE), uniform(6, SIDE, SIDE, seed=1)


def vector(network: Smooth) -> oracle.Vector:
    def logits(image: oracle.Floats) -> oracle.Floats:
        with torch.no_grad():
            found: oracle.Floats = network(torch.from_numpy(image)[None])[0].numpy()
        return found

    return logits


def signed(logits: oracle.Vector, signs: oracle.Floats) -> oracle.Scalar:
    return lambda image: float((signs * logits(image)).sum())


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", ["random-logits", "log-probabilities"])
def test_rrr_equals_a_literal_one(form: str, parts: int) -> None:
    network, pixels, regions = given()
    batch, learner = batch_of(pixels, regions), learner_of(network)
    objective = RrrObjective(RrrOptions.model_validate({"form": form, "weight": 0.3}))
    terms, _ = step(objective, learner, batch, parts)
    values, logits, signs = [], vector(network), signs_of(batch, 4).double().numpy()
    for i in range(6):
        x, region = pixels[i].numpy(), regions[i].numpy()
        if form == "log-probabilities":
            values.append(oracle.rrr(logits, x, region))
        else:
            values.append(oracle.energy(oracle.derivative(signed(logits, signs[i]), x), region))
    losses = [-oracle.log_probabilities(list(logits(pixels[i].numpy())))[i % 4] for i in range(6)]
    assert terms["gradient"] == pytest.approx(0.3 * mean_of_marked(values, MARKED), rel=1e-5)
    assert terms["loss"] == pytest.approx(sum(losses) / 6, rel=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    ("form", "norm", "relu"),
    [("grad-cam", "max", True), ("grad-cam", "min-max", False), ("element", "none", False), ("element", "max", True)],
)
def test_gradcam_rrr_equals_a_literal_one(form: str, norm: str, relu: bool, parts: int) -> None:
    network, pixels, regions = given()
    batch = batch_of(pixels, regions)
    options = GradcamRrrOptions.model_validate({"form": form, "norm": norm, "relu": relu, "weight": 2.0})
    terms, _ = step(GradcamRrrObjective(options, network.grid, 1), learner_of(network), batch, parts)
    maps = explained(network, pixels, form, signs_of(batch, 4), relu)
    cells = [oracle.on_cells(region.numpy(), 3, 3) for region in regions]
    values = [oracle.map_loss(heat, cell, norm) for heat, cell in zip(maps, cells, strict=True)]
    expected = 2 * mean_of_marked(values, MARKED)
    assert expected > 1e-6
    assert terms["explanation"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda _: RrrObjective(RrrOptions()),
        lambda network: GradcamRrrObjective(GradcamRrrOptions(relu=False), network.grid, 1),
    ],
)
def test_parts_do_not_change_a_step(make: Callable[[Smooth], Objective]) -> None:
    """Although the parts have two, one and one marked images."""
    network, pixels, regions = given()
    batch, learner = batch_of(pixels, regions), learner_of(network)
    (whole, gradients), (parted, again) = (step(make(network), learner, batch, parts) for parts in (1, 3))
    assert whole == pytest.approx(parted, rel=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(gradients, again, strict=True))
    plain = step(Objective(), learner, batch, 1)[1]
    assert max(float((a - b).abs().max()) for a, b in zip(gradients, plain, strict=True)) > 1e-4


def test_parameters_learn_from_it() -> None:
    """min-max and no norm; the largest value of max is held fixed, so that its gradient is not that of its value."""
    network, pixels, regions = given()
    batch, learner = batch_of(pixels, regions), learner_of(network)
    assert_learns(RrrObjective(RrrOptions()), learner, batch, "gradient")
    for form, norm in (("grad-cam", "min-max"), ("element", "none")):
        options = GradcamRrrOptions.model_validate({"form": form, "norm": norm, "relu": False})
        assert_learns(GradcamRrrObjective(options, network.grid, 1), learner, batch, "explanation")


def test_objectives_travel_to_other_processes(tmp_path: Path) -> None:
    job = tag_job(tmp_path, blind_cnn())
    for method in (Rrr(RrrOptions()), GradcamRrr(GradcamRrrOptions())):
        prepared = method.prepare(job)
        assert pickle.loads(pickle.dumps((prepared.objective, prepared.region)))[0] == prepared.objective


def test_a_step_without_a_region_is_plain() -> None:
    network, pixels, regions = given()
    batch, learner = batch_of(pixels, regions, [False] * 6), learner_of(network)
    plain, gradients = step(Objective(), learner, batch, 1)
    for objective in (RrrObjective(RrrOptions()), GradcamRrrObjective(GradcamRrrOptions(), network.grid, 1)):
        terms, found = step(objective, learner, batch, 2)
        assert terms["loss"] == pytest.approx(plain["loss"], rel=1e-6)
        assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(found, gradients, strict=True))


def test_signs_are_drawn_anew_for_each_image_and_step() -> None:
    _, pixels, regions = given()
    batch = batch_of(pixels, regions)
    signs = signs_of(batch, 64)
    assert {value for row in signs.tolist() for value in row} == {-1.0, 1.0}
    assert len({tuple(row) for row in signs.tolist()}) == 6
    assert torch.equal(signs, torch.cat([signs_of(part, 64) for part in counted(batch).parts(3)]))
    assert not torch.equal(signs, signs_of(replace(batch, key=(3, 6)), 64))


@pytest.mark.parametrize("half", ["left", "right"])
@pytest.mark.parametrize(
    ("method", "kind", "lr"),
    [
        (Rrr(RrrOptions(weight=10.0)), halves.Board, 0.001),
        (Rrr(RrrOptions(form="log-probabilities", weight=10.0)), halves.Board, 0.001),
        (GradcamRrr(GradcamRrrOptions(weight=3.0)), halves.Halves, 0.01),
        (GradcamRrr(GradcamRrrOptions.model_validate({"form": "element", "weight": 1e3})), halves.Halves, 0.01),
    ],
)
def test_the_marked_half_is_read_no_more(
    tmp_path: Path, method: Rrr | GradcamRrr, kind: Callable[[float, float], nn.Module], lr: float, half: str
) -> None:
    """The start reads the marked half more, and plain training leaves it so."""
    network = kind(8.0, 5.0) if half == "left" else kind(5.0, 8.0)
    settings = halves.QUICK.model_copy(update={"lr": lr})
    job = halves.job(tmp_path / "runs", halves.draw(tmp_path / "data", half), network, settings=settings)
    assert method.lacks(job) is None
    prepared, control = method.prepare(job), Prepared(job.started())
    job.fit("control", control)
    assert halves.reads_left(control.model) == pytest.approx(float(half == "left"), abs=0.1)
    curve = job.fit("fix", prepared)
    assert halves.reads_left(prepared.model) == (half == "right")
    assert curve.epochs[-1].accuracy == 1
    assert halves.reads_left(job.model) == (half == "left")  # the delivered one is as it was


def test_a_background_is_the_other_side_of_the_core(tmp_path: Path) -> None:
    settings = halves.QUICK.model_copy(update={"lr": 0.001})
    data = halves.draw(tmp_path / "data", "right", role="core")
    job = halves.job(tmp_path / "runs", data, halves.Board(8.0, 5.0), settings=settings)
    prepared = Rrr(RrrOptions(weight=10.0)).prepare(job)
    job.fit("fix", prepared)
    assert halves.reads_left(prepared.model) == 0


def test_options_default_with_the_form() -> None:
    assert RrrOptions().weight == 0.1
    assert RrrOptions.model_validate({"form": "log-probabilities"}).weight == 0.01
    assert RrrOptions.model_validate({"form": "log-probabilities", "weight": 2}).weight == 2
    element = GradcamRrrOptions.model_validate({"form": "element"})
    assert (element.norm, element.relu) == ("none", False)
    assert (GradcamRrrOptions().norm, GradcamRrrOptions().relu) == ("max", True)


def blind_cnn() -> PaperCNN:
    """Reads the tag, with weights whose mean over places is below 0, so that their Grad-CAM is 0 after the ReLU."""
    network = PaperCNN(num_classes=3, width=3, img_size=28)
    tag = toys.TAG[1:-1, 1:-1]
    with torch.no_grad():
        network.conv.weight.zero_()
        for channel in range(3):
            network.conv.weight[channel, channel, 1, 1] = 1.0
        network.conv.bias = nn.Parameter(torch.zeros(3))
        weight = torch.full((3, 3, 26, 26), -0.02)
        for k in range(3):
            weight[k, k, tag] = 0.5
        network.classifier.weight.copy_(weight.flatten(1))
        network.classifier.bias.zero_()
    return network


def tag_job(tmp_path: Path, network: nn.Module, **settings: Any) -> Any:
    dataset = open_dataset(str(toys.draw(tmp_path / "data", toys.Toy(train=20, tag=True))))
    given = halves.QUICK.model_copy(update={"lr": 1e-4, **settings})
    return halves.job(tmp_path / "runs", dataset, network, settings=given)


@pytest.mark.parametrize("settings", [{"batch_size": 4}, {"batch_size": 16}, {"steps": 2}])
def test_the_published_map_sees_nothing_and_training_stops(tmp_path: Path, settings: dict[str, Any]) -> None:
    job = tag_job(tmp_path, blind_cnn(), **settings)
    prepared = GradcamRrr(GradcamRrrOptions()).prepare(job)
    with pytest.raises(FixError, match="does not see the marked region") as stopped:
        job.fit("fix", prepared)
    batches = {4: 10, 16: 4}[settings.get("batch_size", 16)] if "steps" not in settings else 2
    assert f"on {batches} of the first {batches} batches (0, 0" in stopped.value.message
    assert stopped.value.hint is not None
    assert "Use rrr" in stopped.value.hint
    assert "form=element" in stopped.value.hint
    with pytest.raises(FixError, match="does not see"):  # nothing was saved that would get round it
        job.fit("fix", GradcamRrr(GradcamRrrOptions()).prepare(job))


def test_the_variant_that_sees_it_says_so_once(tmp_path: Path) -> None:
    job = tag_job(tmp_path, blind_cnn())
    prepared = GradcamRrr(GradcamRrrOptions.model_validate({"form": "element"})).prepare(job)
    curve = job.fit("fix", prepared)
    (note,) = curve.notes
    assert note.startswith("The explanation loss began at ")
    assert "first 4 batches" in note


def objective(judged: int = 3) -> GradcamRrrObjective:
    return GradcamRrrObjective(GradcamRrrOptions(weight=10), smooth(SIDE).grid, judged)


def test_the_check_does_not_misfire() -> None:
    resumed = objective()
    assert [resumed.check(step, {"loss": 1.0, "explanation": 0.0}) for step in (2, 3, 50)] == [None] * 3
    repaired = objective()
    assert [repaired.check(step, {"explanation": value}) for step, value in enumerate((0.1, 0.0, 0.0))][:2] == [
        None
    ] * 2
    unmarked = objective()
    assert [unmarked.check(step, {"loss": 1.0}) for step in range(9)] == [None] * 9
    some = objective()
    said = [some.check(step, terms) for step, terms in enumerate(({"loss": 1.0}, {"explanation": 5.0}, {}, {}))]
    assert said == [None, None, "The explanation loss began at 0.5; mean of the first 1 batches 0.5.", None]


def test_the_check_begins_anew_with_a_training() -> None:
    again = objective()
    for _ in range(2):
        assert [again.check(step, {"explanation": 0.0}) for step in (0, 1)] == [None, None]
        with pytest.raises(FixError, match=r"on 3 of the first 3 batches \(0, 0, 0\)"):
            again.check(2, {"explanation": 0.0})


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    bare = halves.job(tmp_path / "runs", halves.draw(tmp_path / "bare", None), halves.Halves())
    for method in (Rrr(RrrOptions()), GradcamRrr(GradcamRrrOptions())):
        assert method.lacks(bare) == (
            "no training image has a mask, and no scan is given (--from-run RUN) whose findings mark a region."
        )
    marked = halves.job(tmp_path / "runs", halves.draw(tmp_path / "left", "left"), halves.Halves())
    assert Rrr(RrrOptions(region="background")).lacks(marked) == (
        "no training image has a core mask, which region=background needs."
    )
    assert Rrr(RrrOptions(region="left")).lacks(marked) is None
    with pytest.raises(UsageError, match="no region 'lft'"):
        Rrr(RrrOptions(region="lft")).lacks(marked)


def test_a_network_without_a_grid_is_told_so(tmp_path: Path) -> None:
    job = tag_job(tmp_path, toys.Mixture())
    lack = GradcamRrr(GradcamRrrOptions()).lacks(job)
    assert lack is not None
    assert "No layer of toy gives a grid" in lack
    assert Rrr(RrrOptions()).lacks(job) is None
