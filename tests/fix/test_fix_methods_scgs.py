"""SCGS from errors to training rows, with composites and with a pipeline's settings refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from PIL import Image
from trainings import job_of, settings

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.data.decode import decode
from spuraudit.data.sources import FolderSource
from spuraudit.errors import FixError, ModelError
from spuraudit.explain.grad_cam import grad_cam
from spuraudit.fix.early_errors import errors_of
from spuraudit.fix.generated_rows import SOURCE, with_edge
from spuraudit.fix.job import Job
from spuraudit.fix.methods.scgs import REJECTED, Scgs, ScgsOptions
from spuraudit.fix.new_images import ErrorSource, Maker, counts_of_new, kept_of, orders_of, sampled_errors
from spuraudit.fix.scgs.composite import CompositeGenerator
from spuraudit.fix.scgs.folder import open_folder, read_folder
from spuraudit.fix.scgs.generate import Drawn, Scene
from spuraudit.fix.scgs.masks import KeptRegion
from spuraudit.models.feature_grid import feature_grid
from spuraudit.models.model import Model
from spuraudit.record.geometry import Geometry


class FrameReader(torch.nn.Module):
    """Maps of likeness to the three colours; the frame counts three times as much as the object."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 4, stride=4, bias=False)
        self.act = torch.nn.ReLU()
        self.classifier = torch.nn.Linear(3 * 49, 3)
        weight = torch.zeros(3, 3, 7, 7)
        for k in range(3):
            weight[k, k] = 0.2
            weight[k, k, 2:5, 2:5] = 0.1
        with torch.no_grad():
            self.conv.weight.copy_((1.5 * torch.eye(3) - 0.5)[:, :, None, None].expand(3, 3, 4, 4) / 16)
            self.classifier.weight.copy_(weight.flatten(1))
            self.classifier.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.act(self.conv(x)).flatten(1))
        return logits


def reader() -> Model:
    return toys.as_model(FrameReader(), outputs=3)


@pytest.fixture(scope="module")
def minority(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 images of each of three classes, 8 of them with the frame of the next class."""
    return open_dataset(str(toys.draw(tmp_path_factory.mktemp("toy"), toys.Toy(train=40, test=4, odd_every=5))))


def job(dataset: Dataset, folder: Path, **more: Any) -> Job:
    return job_of(reader(), dataset, folder, settings(epochs=1, batch_size=16), **more)


def options(**chosen: object) -> ScgsOptions:
    """The delivered model's errors, and few images."""
    return ScgsOptions.model_validate({"early_start": "model", "early_epochs": 0, "share": 0.1, **chosen})


# Numbers and polarity


def test_the_papers_numbers_of_waterbirds() -> None:
    """40 % of the images of the other class: 1,473 new waterbirds (class 1) and 445 new landbirds."""
    labels = [0] * 3682 + [1] * 1113
    assert counts_of_new(labels, 2, 0.4) == [445, 1473]


def test_more_classes_get_a_share_of_all_others() -> None:
    assert counts_of_new([0] * 10 + [1] * 20 + [2] * 30, 3, 0.5) == [25, 20, 15]


def half(dataset: Dataset, name: str) -> ErrorSource:
    keep = np.zeros((28, 28), dtype=bool)
    keep[:, :14] = True
    (row,) = [row for row in dataset.images if row.id == name]
    return ErrorSource(row, KeptRegion(keep, 0.5, None), 1)


class White:
    """Draws white wherever it may."""

    def draw(self, scene: Scene) -> Drawn:
        return Drawn(np.where(scene.keep[..., None], scene.pixels, 255).astype(np.uint8))


def test_the_kept_half_is_the_sources_and_the_other_half_is_drawn(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    source = half(minority, "red/train-001")
    orders = orders_of([source], [1, 0, 0], toys.NAMES[:3], 0)
    (image,) = Maker(made, {source.row.id: source}, White()).make(orders, open_folder(tmp_path / "new", {}))
    pixels = np.asarray(Image.open(tmp_path / "new" / image.file))
    original = np.asarray(Image.open(Path(minority.sources[source.row.source].describe(source.row.path))))
    assert np.array_equal(pixels[:, :14], original[:, :14])
    assert (pixels[:, 14:] == 255).all()
    assert (image.label, image.class_name, image.facts["wrong_output"]) == (0, "red", 1)


def test_sources_take_turns_with_a_new_seed_each_time_round(minority: Dataset) -> None:
    sources = [half(minority, f"red/train-{number:03d}") for number in (1, 6)] + [half(minority, "blue/train-001")]
    orders = orders_of(sources, [5, 4, 2], toys.NAMES[:3], 7)
    assert [order.source for order in orders] == [
        *["red/train-001", "red/train-006", "red/train-001", "red/train-006", "red/train-001"],
        *["blue/train-001"] * 2,
    ]
    assert [order.label for order in orders] == [0] * 5 + [2] * 2
    seeds = [order.seed for order in orders]
    assert seeds[0] == seeds[1] == seeds[5]
    assert len({seeds[0], seeds[2], seeds[4]}) == 3


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(height=28, width=28, crop_pct=0.875),
        Geometry(height=28, width=28, crop_pct=1.0),
        Geometry(height=28, width=36, crop_pct=0.9),
        Geometry(height=27, width=27, crop_pct=0.8, crop_mode="squash"),
        Geometry(height=28, width=28, crop_pct=0.95, crop_mode="border"),
        Geometry(height=28, width=28, crop_pct=0.77, interpolation="bicubic"),
    ],
)
def test_a_stored_image_comes_out_of_the_models_crop_bit_for_bit(
    geometry: Geometry, minority: Dataset, tmp_path: Path
) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (geometry.height, geometry.width, 3)).astype(np.uint8)
    row = replace(minority.images[0], masks=())
    toys.save(tmp_path / row.path, with_edge(wanted, geometry))
    stored = open_source(minority, row.source, tmp_path)
    assert np.array_equal(decode(stored, row, geometry).pixels, wanted)


def test_of_a_geometry_that_pads_the_middle_comes_out(minority: Dataset, tmp_path: Path) -> None:
    geometry = Geometry(height=28, width=28, crop_pct=1.2, crop_mode="border")  # 23 pixels, 2 and 3 around them
    wanted = np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    row = replace(minority.images[0], masks=())
    toys.save(tmp_path / row.path, with_edge(wanted, geometry))
    pixels = decode(open_source(minority, row.source, tmp_path), row, geometry).pixels
    assert np.array_equal(pixels[2:25, 2:25], wanted[2:25, 2:25])
    assert not pixels[:2].any()


def open_source(dataset: Dataset, name: str, folder: Path) -> Dataset:
    return replace(dataset, sources={name: FolderSource(folder)})


# What is kept


def test_the_heat_map_is_of_the_wrong_answer(minority: Dataset, tmp_path: Path) -> None:
    errors = errors_of(job(minority, tmp_path), options(), "scgs")
    rows = errors.rows[:3] + errors.rows[-3:]
    for source in kept_of(errors, rows, 0.7):
        assert source.wrong == (source.row.label + 1) % 3  # the frame's
        (sample,) = errors.job.samples([source.row])
        grid = feature_grid(errors.model)
        heat = grad_cam(errors.model, grid, sample.pixels[None], [source.wrong], method="gradcam++")[0].numpy()
        assert np.array_equal(source.kept.mask, heat >= 0.7)
        frame = toys.FRAME.numpy()
        assert source.kept.mask[frame].mean() > 0.5
        assert source.kept.mask[12:16, 12:16].mean() == 0  # the object's middle


# End to end


def test_new_images_keep_the_frame_and_carry_the_true_class(minority: Dataset, tmp_path: Path) -> None:
    made = job(minority, tmp_path)
    prepared = Scgs(options()).prepare(made)
    assert prepared.rows is not None
    assert prepared.dataset is not None
    new = [row for row in prepared.rows if row.source == SOURCE]
    assert Counter(row.label for row in new) == {0: 8, 1: 8, 2: 8}  # 0.1 * 80
    assert prepared.rows[: len(made.train)] == made.train
    assert set(new) <= set(prepared.dataset.images)
    assert prepared.steps is None
    index = read_folder(tmp_path / SOURCE).rows
    assert len(index) == 24
    originals = {row.id: row for row in minority.images}
    for row, image in zip(new, index, strict=True):
        source = originals[image.source]
        assert row.label == source.label == image.label
        assert source.group is not None
        assert source.group.split("/")[0] != source.group.split("/")[1]
        geometry = made.model.record.preprocess.geometry
        decoded, was = decode(prepared.dataset, row, geometry), decode(minority, source, geometry)
        keep = np.asarray(Image.open(tmp_path / SOURCE / image.keep)) > 127
        assert np.array_equal(decoded.pixels[keep], was.pixels[keep])
        assert keep.mean() == pytest.approx(float(image.facts["kept_share"] or 0), abs=1e-3)
        assert decoded.core is not None  # the donor's object
        assert not (decoded.core[keep] > 0).any()
    text = "\n".join(prepared.notes)
    assert "Errors of the delivered model" in text
    assert "red: 8 of 8 errors drawn" in text
    assert "24 new images (red 8, green 8, blue 8), composites of training images." in text
    assert "Kept of the 24 sources" in text
    curve = made.fit("fixed", prepared)
    assert curve.steps == made.steps


@pytest.mark.parametrize(("fewest", "drawn"), [(1, 2), (5, 5), (8, 8), (30, 8)])
def test_a_few_errors_are_worked_on_even_if_the_share_gives_less(
    fewest: int, drawn: int, minority: Dataset, tmp_path: Path
) -> None:
    errors = errors_of(job(minority, tmp_path), options(), "scgs")
    chosen, notes = sampled_errors(errors, 2, 0.2, fewest)
    assert Counter(row.label for row in chosen) == {0: drawn, 1: drawn, 2: drawn}
    assert f"red: {drawn} of 8 errors drawn" in notes[0]


def test_the_object_of_a_source_is_not_kept(minority: Dataset, tmp_path: Path) -> None:
    """Neither where the heat map is high: all of it, with a threshold that nothing misses."""
    made = job(minority, tmp_path)
    errors = errors_of(made, options(), "scgs")
    kept = kept_of(errors, errors.rows, 1e-6)
    for source, sample in zip(kept, made.samples(errors.rows), strict=True):
        assert sample.core is not None
        assert source.kept.mask.any()
        rows, columns = np.nonzero(sample.core.numpy() > 0.5)
        around = source.kept.mask[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2]
        assert not around.any()  # a mask may end a pixel inside the object


def test_a_second_call_takes_the_images_that_are_there(
    minority: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Scgs(options()).prepare(job(minority, tmp_path))
    index = tmp_path / SOURCE / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:10]) + lines[10][:7])  # killed while it wrote
    drawn = []
    draw = CompositeGenerator.draw

    def counted(self: CompositeGenerator, scene: Scene) -> Drawn:
        drawn.append(scene.order)
        return draw(self, scene)

    monkeypatch.setattr(CompositeGenerator, "draw", counted)
    second = Scgs(options()).prepare(job(minority, tmp_path))
    assert len(drawn) == 14
    assert second.rows == first.rows
    assert index.read_bytes() == b"".join(lines)


def test_with_jtt_the_errors_are_repeated_and_new_images_are_not(minority: Dataset, tmp_path: Path) -> None:
    prepared = Scgs(options(upweight=3)).prepare(job(minority, tmp_path))
    assert prepared.rows is not None
    times = Counter(row.id for row in prepared.rows)
    assert {count for name, count in times.items() if name.startswith(SOURCE)} == {1}
    assert sum(count == 4 for count in times.values()) == 24


def test_without_masks_whole_donors_are_warned_of(tmp_path: Path) -> None:
    plain = open_dataset(str(toys.draw(tmp_path / "data", toys.Toy(train=20, odd_every=5, masks=False))))
    prepared = Scgs(options(clusters=1)).prepare(job(plain, tmp_path / "job"))
    assert any("hold another training image as a whole" in note for note in prepared.notes)
    assert prepared.rows is not None
    assert not any(row.masks for row in prepared.rows)


# Review and refusals


def test_review_stops_once_and_leaves_out_what_was_rejected(minority: Dataset, tmp_path: Path) -> None:
    wanted = Scgs(options(review=True))
    with pytest.raises(FixError, match="Stopped for review: 24 new images") as caught:
        wanted.prepare(job(minority, tmp_path))
    assert REJECTED in (caught.value.hint or "")
    names = sorted(file.name for file in (tmp_path / SOURCE / "images").iterdir())
    (tmp_path / SOURCE / REJECTED).write_text(f"{names[0]}\n\n{names[5]}\n", encoding="utf-8")
    prepared = wanted.prepare(job(minority, tmp_path))
    assert prepared.rows is not None
    kept = {row.path.rpartition("/")[2] for row in prepared.rows if row.source == SOURCE}
    assert kept == set(names) - {names[0], names[5]}
    assert "2 were rejected by whoever looked at them." in prepared.notes
    (tmp_path / SOURCE / REJECTED).write_text("nothing.png\n", encoding="utf-8")
    with pytest.raises(FixError, match="which is none of the new images"):
        wanted.prepare(job(minority, tmp_path))
    (tmp_path / SOURCE / REJECTED).write_text("\n".join(names), encoding="utf-8")
    with pytest.raises(FixError, match="rejects all 24"):
        wanted.prepare(job(minority, tmp_path))


def test_no_errors_is_said_before_anything_is_made(minority: Dataset, tmp_path: Path) -> None:
    alike = tuple(row for row in minority.in_split("train") if row.group in ("red/red", "green/green", "blue/blue"))
    with pytest.raises(FixError, match="no misclassified training images: scgs has nothing to work with"):
        Scgs(options()).prepare(replace(job(minority, tmp_path), train=alike))
    assert not list(tmp_path.iterdir())


def test_a_class_with_one_error_gets_no_new_images(minority: Dataset, tmp_path: Path) -> None:
    odd = [row for row in minority.in_split("train") if row.group == "red/green"]
    rows = tuple(row for row in minority.in_split("train") if row not in odd[1:])
    prepared = Scgs(options()).prepare(replace(job(minority, tmp_path), train=rows))
    assert any(note.startswith("red: 1 errors, too few") for note in prepared.notes)
    assert prepared.rows is not None
    assert {row.label for row in prepared.rows if row.source == SOURCE} == {1, 2}


def test_a_pipeline_that_is_not_there_is_said_first(minority: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        Scgs(options(generator=str(tmp_path / "none"))).prepare(job(minority, tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"diffusion": {"steps": 5}}, "composites have no diffusion settings"),
        ({"generator": "a/b", "diffusion": {"speed": 5}}, "diffusion takes prompt, size"),
        ({"generator": "a/b", "diffusion": {"steps": 0}}, "0 diffusion steps are impossible"),
        ({"cam_threshold": 0}, "greater than 0"),
    ],
)
def test_impossible_options(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options(**given)


def test_a_network_without_a_grid_lacks_one(minority: Dataset, tmp_path: Path) -> None:
    lack = Scgs(options()).lacks(job_of(toys.as_model(toys.Mixture()), minority, tmp_path))
    assert lack is not None
    assert "grid" in lack
    assert Scgs(options()).lacks(job(minority, tmp_path)) is None
