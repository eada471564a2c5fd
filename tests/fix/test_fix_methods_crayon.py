"""crayon-attention, crayon-pruning and both: where answers come from, what is learned, what stays cut off."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import toys
from fix import halves
from fix.loss_networks import smooth, uniform
from fix.steps import SIDE, assert_learns, batch_of, explained, learner_of, step
from oracles import crayon_answers as answers_oracle
from oracles import fix_methods as oracle
from torch import Tensor, nn

from spuraudit.errors import DataError, FixError
from spuraudit.fix.batch import Batch, View
from spuraudit.fix.job import Job, Prepared
from spuraudit.fix.learner import Learner
from spuraudit.fix.methods.crayon import (
    AttentionObjective,
    AttentionOptions,
    Crayon,
    CrayonAttention,
    CrayonOptions,
    CrayonPruning,
    PruningOptions,
)
from spuraudit.fix.methods.crayon_answers import Answered, find_answers, original_maps
from spuraudit.fix.methods.crayon_neurons import Strongest, find_relevance
from spuraudit.fix.methods.grids import grid_of
from spuraudit.fix.settings import TrainingSettings
from spuraudit.record.annotation_tables import (
    ANSWERS_FILE,
    NEURONS_FILE,
    Answer,
    NeuronAnswer,
    write_answers,
    write_neuron_answers,
)
from spuraudit.record.annotations import write_folder
from spuraudit.record.base import Part
from spuraudit.record.relevance import derive
from spuraudit.runs.annotating import Asked, explain

ANSWERS = ("yes", "no", None, "no", "yes", "no")
ATTENTION, PRUNING, BOTH = (
    CrayonAttention(AttentionOptions()),
    CrayonPruning(PruningOptions()),
    Crayon(CrayonOptions()),
)


def answered(maps: Tensor) -> Answered:
    some = [i for i, answer in enumerate(ANSWERS) if answer]
    relevant = torch.tensor([ANSWERS[i] == "yes" for i in some])
    return Answered(tuple(f"{i}.png" for i in some), maps[some].float(), relevant)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("by", ["current", "original"])
def test_attention_equals_a_literal_one(by: Any, parts: int) -> None:
    network, pixels, maps = smooth(SIDE), uniform(6, 3, SIDE, SIDE), uniform(6, 3, 3, seed=4)
    # 20 training images, of which 5 and 8 have an answer.
    objective = AttentionObjective(network.grid, answered(maps), (3.0 * 20 / 5, 7.0 * 20 / 8), by)
    terms, _ = step(objective, learner_of(network), batch_of(pixels, pixels[:, 0]), parts)
    now = explained(network, pixels, "grad-cam", torch.ones(6, 4), relu=True)
    before = [maps[i].numpy() for i in range(6)]
    expected = oracle.attention(list(now), before, ANSWERS, alpha=3, beta=7, counts=(20, 5, 8), by=by)
    assert expected > 1
    assert terms["attention"] == pytest.approx(expected, rel=1e-4)


def test_parts_do_not_change_a_step() -> None:
    network, pixels, maps = smooth(SIDE), uniform(6, 3, SIDE, SIDE), uniform(6, 3, 3, seed=4)
    objective = AttentionObjective(network.grid, answered(maps), (12.0, 8.0), "current")
    batch, learner = batch_of(pixels, pixels[:, 0]), learner_of(network)
    (_, whole), (_, parted) = step(objective, learner, batch, 1), step(objective, learner, batch, 3)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(whole, parted, strict=True))


def test_parameters_learn_from_it() -> None:
    network, pixels, maps = smooth(SIDE), uniform(6, 3, SIDE, SIDE), uniform(6, 3, 3, seed=4)
    objective = AttentionObjective(network.grid, answered(maps), (12.0, 8.0), "current")
    assert_learns(objective, learner_of(network), batch_of(pixels, pixels[:, 0]), "attention")


def test_weights_are_those_of_the_paper_beside_a_mean(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), halves.Halves())
    verdicts: dict[Answer, range] = {"yes": range(5), "no": range(5, 13), "maybe": range(13, 15)}
    said: dict[str, Answer] = {job.train[k].id: answer for answer, places in verdicts.items() for k in places}
    write_answers(tmp_path / "said.csv", said)
    job = replace(job, annotations=tmp_path / "said.csv")
    objective = CrayonAttention(AttentionOptions(alpha=6, beta=3)).prepare(job).objective
    assert isinstance(objective, AttentionObjective)
    assert objective.weights == (6 * 32 / 5, 3 * 32 / 8)
    code = CrayonAttention(AttentionOptions.model_validate({"compat": "crayon-code"})).prepare(job).objective
    assert isinstance(code, AttentionObjective)
    assert (code.weights, code.by) == ((1e7 / 5, 2e5 / 8), "original")


def test_options_of_the_code_can_be_overridden() -> None:
    code = CrayonOptions.model_validate({"compat": "crayon-code", "beta": 7})
    assert (code.alpha, code.beta, code.top) == (1e7, 7, 20)
    assert (CrayonOptions().alpha, CrayonOptions().beta) == (10, 1)


def delivered(half: str) -> nn.Module:
    """Reads the half by far more than the other: no map is in doubt."""
    return halves.Halves(8.0, 2.0) if half == "left" else halves.Halves(2.0, 8.0)


@pytest.mark.parametrize("half", ["left", "right"])
@pytest.mark.parametrize(
    "method",
    [CrayonAttention(AttentionOptions(alpha=100, beta=50)), Crayon(CrayonOptions(alpha=100, beta=50))],
    ids=["attention", "both"],
)
def test_a_model_learns_to_look_at_the_core(tmp_path: Path, method: Any, half: str) -> None:
    """Its maps lie on the other half, which masks call wrong; where they lie on the core they stay there."""
    wrong = {"left": "right", "right": "left"}[half]
    settings = halves.QUICK.model_copy(update={"steps": 60, "lr": 0.005})
    for reads in (wrong, half):
        folder = tmp_path / reads
        job = halves.job(folder, halves.draw(folder / "data", half, "core"), delivered(reads), settings=settings)
        assert method.lacks(job) is None
        prepared = method.prepare(job)
        assert any("derived from masks" in note for note in prepared.notes)
        counts = (0, 32) if reads == wrong else (32, 0)
        assert prepared.notes[-1] == (
            f"Of 32 training images, {counts[0]} have a relevant map and {counts[1]} an irrelevant one."
        )
        curve = job.fit("fix", prepared)
        assert halves.reads_left(prepared.model) == (half == "left")
        assert curve.epochs[-1].accuracy == 1
        control = Prepared(job.started())
        job.fit("control", control)
        assert halves.reads_left(control.model) == (reads == "left")


def views(job: Job, view: View) -> Batch:
    samples = list(job.samples(job.train[:6]))
    return Batch.of(samples, [view] * 6, range(6), (0, 0), 6)


def test_stored_maps_follow_the_mirror(tmp_path: Path) -> None:
    """A network that treats all places alike maps a mirrored image to the mirrored map: the loss is the same."""
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", "left", "core"), delivered("left"))
    prepared = ATTENTION.prepare(job)
    objective = prepared.objective
    assert isinstance(objective, AttentionObjective)
    prepared.model.network.requires_grad_(True)
    learner = learner_like(job, prepared)
    plain, mirrored = views(job, View()), views(job, View(mirrored=True))
    terms = [step(objective, learner, batch, 1)[0]["attention"] for batch in (plain, mirrored)]
    assert terms[0] == pytest.approx(terms[1], rel=1e-5)
    seen = [objective.answered.of(batch).maps for batch in (plain, mirrored)]
    assert torch.equal(seen[0].flip(-1), seen[1])
    assert float(seen[0][:, :, :3].sum()) > 3 * float(seen[0][:, :, 4:].sum())
    assert terms[0] < 0.5 * step(objective, learner, crossed(mirrored), 1)[0]["attention"]


def learner_like(job: Job, prepared: Prepared) -> Learner:
    return Learner.of(prepared.model, job.class_map(prepared.model))


def crossed(batch: Batch) -> Batch:
    """The same pixels, said to be as stored."""
    return replace(batch, views=(View(),) * len(batch))


def test_stored_maps_follow_a_crop() -> None:
    """Also one that cuts through cells."""
    maps = torch.zeros(1, 4, 4)
    maps[:, :, 2:] = 1
    pixels = uniform(1, 3, SIDE, SIDE)
    batch = replace(batch_of(pixels, pixels[:, 0], [True]), views=(View(crop=(0.0, 0.375, 1.0, 0.5)),))
    found = Answered(("0.png",), maps, torch.tensor([True])).of(batch).maps[0]
    # Columns 0.375 to 0.875 of the image, where the map steps up at 0.5: a quarter of the crop.
    assert torch.allclose(found, torch.tensor([0.0, 1.0, 1.0, 1.0]).expand(4, 4), atol=0.05)


def test_images_without_an_answer_teach_nothing() -> None:
    network, pixels, maps = smooth(SIDE), uniform(6, 3, SIDE, SIDE), uniform(6, 3, 3, seed=4)
    nobody = Answered(("other.png",), maps[:1].float(), torch.tensor([True]))
    terms, _ = step(
        AttentionObjective(network.grid, nobody, (5.0, 5.0), "current"),
        learner_of(network),
        batch_of(pixels, pixels[:, 0]),
        2,
    )
    assert terms["attention"] == 0


def annotated(folder: Path, job: Job, answers: dict[str, Any], network: nn.Module | None = None) -> Job:
    """The job with a folder as `spuraudit annotate` writes it, of its own model or of another network's."""
    model = job.model if network is None else toys.as_model(network, "another")
    if network is not None:
        model = replace(model, record=model.record.model_copy(update={"sha256": "1" * 64}))
    made = explain(model, job.dataset, Asked())
    write_folder(folder, made.about, made.maps)
    write_answers(folder / ANSWERS_FILE, answers)
    return replace(job, annotations=folder)


def test_answers_come_with_the_maps_they_are_about(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), delivered("left"))
    ids = [row.id for row in job.train]
    job = annotated(tmp_path / "answers", job, {ids[0]: "yes", ids[3]: "no", ids[4]: "maybe", ids[5]: "no"})
    assert ATTENTION.lacks(job) is None
    found = find_answers(job, grid_of(job.model))
    assert found.ids == (ids[0], ids[3], ids[5])
    assert found.relevant.tolist() == [True, False, False]
    own = original_maps(job, grid_of(job.model), [job.train[i] for i in (0, 3, 5)])
    assert torch.allclose(found.maps, own.maps, atol=1e-6)
    assert found.notes == ("Of 32 training images, 1 have a relevant map and 2 an irrelevant one.",)


def test_answers_are_transferred_with_their_maps_and_resized(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), delivered("left"))
    ids = [row.id for row in job.train]
    other = halves.Halves(2.0, 8.0, cells=14)
    job = annotated(tmp_path / "answers", job, {ids[0]: "no"}, other)
    found = find_answers(job, grid_of(job.model))
    assert found.maps.shape == (1, 7, 7)
    assert float(found.maps[:, :, 4:].sum()) > 3 * float(found.maps[:, :, :3].sum())  # the other model's
    assert found.notes[0] == "Answers and maps were made with another model (another) and are transferred."
    assert found.notes[1] == "The stored maps have 14x14 cells; they were resized to 7x7 (bilinear)."


def test_a_table_of_answers_takes_the_delivered_models_maps(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), delivered("left"))
    ids = [row.id for row in job.train]
    write_answers(tmp_path / "answers.csv", {ids[2]: "no", "elsewhere": "yes"})
    job = replace(job, annotations=tmp_path / "answers.csv")
    assert ATTENTION.lacks(job) is None
    found = find_answers(job, grid_of(job.model))
    assert found.ids == (ids[2],)
    assert torch.equal(found.maps, original_maps(job, grid_of(job.model), [job.train[2]]).maps)
    assert found.notes[0] == "1 answers are about images that are not trained on; they are left out."
    assert found.notes[1] == "The answers come without maps: those of toy were made for them."


def test_neurons_are_judged_as_by_a_literal_one() -> None:
    features = uniform(9, 5, 3, 3, seed=2).float() * 2 - 0.7
    cores = (uniform(9, 3, 3, seed=5) > 0.55).float()
    features[:, 3] = -1  # never active: stays
    for top in (1, 4, 20):
        strongest = Strongest(torch.empty(5, 0), torch.empty(5, 0))
        for part in (slice(4), slice(4, 9)):
            strongest = strongest.with_images(features[part], cores[part], top)
        expected = oracle.relevant(features.double().numpy(), cores.double().numpy(), top)
        assert strongest.relevant.tolist() == expected
        assert expected[3]


SETTINGS = TrainingSettings(steps=30, batch_size=8, lr=0.01, weight_decay=0.1)


@pytest.mark.parametrize("half", ["left", "right"])
@pytest.mark.parametrize("method", [PRUNING, BOTH])
@pytest.mark.parametrize("more", [{}, {"accumulate": 2, "clip_norm": 1.0}, {"optimizer": "Adadelta", "lr": 1.0}])
def test_pruned_columns_stay_zero(tmp_path: Path, method: Any, half: str, more: dict[str, Any]) -> None:
    """The neurons of the other half are cut off, and no optimiser or weight decay brings them back."""
    job = halves.job(
        tmp_path,
        halves.draw(tmp_path / "data", half, "core"),
        delivered({"left": "right", "right": "left"}[half]),
        settings=SETTINGS.model_copy(update=more),
    )
    assert method.lacks(job) is None
    prepared = method.prepare(job)
    cut = [2, 3] if half == "left" else [0, 1]
    assert f"2 of 4 neurons of {grid_of(job.model).layer} are irrelevant." in prepared.notes
    start = {name: value.clone() for name, value in prepared.model.network.state_dict().items()}
    prepared = replace(prepared, objective=pickle.loads(pickle.dumps(prepared.objective)))  # as for another process
    job.fit("fix", prepared)
    weight = prepared.model.network.get_submodule("classifier").weight
    assert isinstance(weight, torch.Tensor)
    assert torch.equal(weight[:, cut], torch.zeros(2, 2))
    kept = [k for k in range(4) if k not in cut]
    assert not torch.equal(weight[:, kept], start["classifier.weight"][:, kept])
    assert halves.reads_left(prepared.model) == (half == "left")
    assert torch.equal(prepared.model.network.state_dict()["conv.weight"], start["conv.weight"]) == (method is PRUNING)
    state = torch.load(tmp_path / "fix" / "state.pt", weights_only=True)["optimizer"]["state"]
    moments = [value for one in state.values() for value in one.values() if getattr(value, "shape", None) == (2, 4)]
    assert len(moments) == 2
    assert all(torch.equal(moment[:, cut], torch.zeros(2, 2)) for moment in moments)
    assert float(moments[0][:, kept].abs().max()) > 0


def with_neurons(tmp_path: Path, job: Job, answers: list[NeuronAnswer], network: nn.Module | None = None) -> Job:
    job = annotated(tmp_path / "answers", job, {job.train[0].id: "no"}, network)
    write_neuron_answers(tmp_path / "answers" / NEURONS_FILE, answers)
    return job


def test_neurons_that_people_judged(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), halves.Halves())
    assert PRUNING.lacks(job) == (
        "no answers about neurons are given (--annotations FOLDER, made with spuraudit annotate --neurons), and no "
        "training image has a core mask to derive them from."
    )
    said = with_neurons(tmp_path, job, [NeuronAnswer(1, None, "no"), NeuronAnswer(2, None, "yes")])
    assert PRUNING.lacks(said) is None
    relevance = find_relevance(said, 20)
    assert relevance.keep.tolist() == [True, False, True, True]
    assert relevance.notes[0] == "2 of 4 neurons were judged by their patches; the others stay."


def test_neurons_are_not_transferred(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), halves.Halves())
    other = with_neurons(tmp_path, job, [NeuronAnswer(1, None, "no")], halves.Halves(1.0, 2.0))
    lack = PRUNING.lacks(other)
    assert lack is not None
    assert "its neurons are those of another; toy has others." in lack
    with pytest.raises(DataError, match="has others"):
        PRUNING.prepare(other)
    assert ATTENTION.lacks(other) is None


def test_nothing_to_prune(tmp_path: Path) -> None:
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", None), halves.Halves())
    keep = [NeuronAnswer(neuron, None, "yes") for neuron in range(4)]
    all_kept = with_neurons(tmp_path, job, keep)
    with pytest.raises(FixError, match="nothing to prune: all 4 neurons"):
        PRUNING.prepare(all_kept)
    assert "There is nothing to prune: this is crayon-attention." in BOTH.prepare(all_kept).notes
    write_neuron_answers(tmp_path / "answers" / NEURONS_FILE, [NeuronAnswer(n, None, "no") for n in range(4)])
    with pytest.raises(FixError, match="nothing would be left"):
        PRUNING.prepare(all_kept)


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    bare = halves.job(tmp_path / "runs", halves.draw(tmp_path / "bare", None), halves.Halves())
    assert ATTENTION.lacks(bare) == (
        "no annotations are given (--annotations FOLDER, made with spuraudit annotate), and no training image has a "
        "core mask to derive them from."
    )
    assert BOTH.lacks(bare) == PRUNING.lacks(bare)
    nowhere = replace(bare, annotations=tmp_path / "nowhere")
    for method in (ATTENTION, PRUNING, BOTH):
        assert "no about.json here" in str(method.lacks(nowhere))
    write_answers(tmp_path / "foreign.csv", {"elsewhere": "yes"})
    foreign = replace(bare, annotations=tmp_path / "foreign.csv")
    assert ATTENTION.lacks(foreign) == f"{tmp_path / 'foreign.csv'} has no yes or no about a training image of halves."


def test_a_model_of_other_classes_has_no_map_of_the_true_one(tmp_path: Path) -> None:
    network = halves.Halves()
    network.classifier = nn.Linear(4, 5)
    job = halves.job(tmp_path / "runs", halves.draw(tmp_path / "data", "left", "core"), network, start="new-head")
    lack = ATTENTION.lacks(job)
    assert lack is not None
    assert "toy has no map of an image's true class" in lack
    assert "Train it on these classes first (erm)" in lack
    assert PRUNING.lacks(job) is None
    assert "from scratch" in str(PRUNING.lacks(replace(job, start="scratch")))


class Flat(nn.Module):
    """Its last layer weighs every place by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 7, stride=7)
        self.classifier = nn.Linear(4 * 16, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, 2)."""
        logits: Tensor = self.classifier(self.conv(x).relu().flatten(1))
        return logits


def test_a_head_that_does_not_pool_cannot_be_pruned(tmp_path: Path) -> None:
    data = halves.draw(tmp_path / "data", "left", "core")
    job = halves.job(tmp_path / "runs", data, Flat())
    assert PRUNING.lacks(job) == (
        "the last layer of toy reads 64 features, its last feature grid has 4 channels (conv): a neuron is no column "
        "of that layer."
    )
    assert ATTENTION.lacks(job) is None
    without = halves.job(tmp_path / "runs", data, halves.Board(1.0, 1.0))
    for method in (ATTENTION, PRUNING, BOTH):
        assert "No layer of toy gives a grid" in str(method.lacks(without))


def test_a_residual_network_is_pruned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=2)
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", "left", "core", images=4), network)
    model = replace(job.model, record=job.model.record.model_copy(update={"preprocess": at_64(job)}))
    job = replace(job, model=model, settings=TrainingSettings(steps=2, batch_size=4, weight_decay=0.1))
    assert PRUNING.lacks(job) is None
    prepared = PRUNING.prepare(job)
    cut = ~find_relevance(job, 20).keep
    assert 0 < int(cut.sum()) < 512
    job.fit("fix", prepared)
    weight = prepared.model.network.get_submodule("fc").weight
    assert isinstance(weight, torch.Tensor)
    assert float(weight[:, cut].abs().max()) == 0 < float(weight[:, ~cut].abs().min())


def at_64(job: Job) -> Part:
    preprocess = job.model.record.preprocess
    return preprocess.model_copy(
        update={"geometry": preprocess.geometry.model_copy(update={"height": 64, "width": 64})}
    )


def test_answers_of_masks_equal_literal_ones() -> None:
    maps = uniform(60, 4, 5, seed=6).numpy() ** 2
    maps[0] = 0
    cores = (uniform(60, 4, 5, seed=7) > uniform(60, 1, 1, seed=8)).double().numpy()
    cores[:, 1, 1] = 0.5
    found = derive(maps, cores)
    assert found == [answers_oracle.answer(heat, core) for heat, core in zip(maps, cores, strict=True)]
    assert all(found.count(one) >= 5 for one in ("yes", "no", "maybe"))


@pytest.mark.parametrize(("around", "answer"), [(0.0, "yes"), (0.33, "yes"), (0.49, "yes"), (0.5, "no"), (1.0, "no")])
def test_a_small_object_can_be_what_a_map_highlights(around: float, answer: str) -> None:
    """It covers a sixteenth of the image; the energy of all cells would say no from 0.16 on."""
    core = torch.zeros(1, 4, 4)
    core[0, 1, 2] = 1
    maps = torch.full((1, 4, 4), around).where(core == 0, torch.ones(()))
    assert derive(maps.numpy(), core.numpy()) == [answer]
    assert derive(maps.numpy(), 1 - core.numpy()) == ["no" if answer == "yes" else "yes"]


def test_answers_follow_the_highlight_of_the_delivered_model(tmp_path: Path) -> None:
    """Its maps are 1 off the object and 0.475 on it: a third of the energy, but no highlight."""
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", "right", "core"), halves.Halves(4.0, 1.9))
    found = find_answers(job, grid_of(job.model))
    assert (found.yes, found.no) == (0, 32)
    assert "by how much of what a map highlights (cells from 0.5 of its largest value on)" in found.notes[0]


def test_maps_that_say_neither(tmp_path: Path) -> None:
    """Every map lies about half on the object."""
    job = halves.job(tmp_path, halves.draw(tmp_path / "data", "left", "core"), halves.Halves(1.0, 1.5))
    with pytest.raises(FixError, match="No training image has a yes or a no"):
        ATTENTION.prepare(job)
