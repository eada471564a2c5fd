"""swap: what is exchanged, with whom, how often."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from fix.trainings import feed_of, job_of, settings
from oracles import fix_swap
from toys import Mixture, as_model

from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import Dataset
from spuraudit.errors import UsageError
from spuraudit.fix import regions
from spuraudit.fix.batch import AROUND, REGION, Batch
from spuraudit.fix.methods.swap import Swap, SwapObjective, SwapOptions, swapped
from spuraudit.perturb.exchange import paint_out
from spuraudit.record.folder import to_json, write_bytes

CPU = torch.device("cpu")


def batch_of(dataset: Dataset, region: Any, step: int = 0, **chosen: Any) -> Batch:
    (batch,) = feed_of(dataset, settings(batch_size=30, crop=0.5, **chosen), region=region).batches(CPU, step, step + 1)
    return batch


def test_surroundings_equal_a_literal_swap(tagged: Dataset) -> None:
    (batch,) = feed_of(tagged, settings(batch_size=30), region=regions.background).batches(CPU, 0, 1)
    one, other = batch.samples[:2]
    hidden = paint_out(other.pixels, torch.maximum(other.masks["object"], other.masks["tag"]))
    around = 1 - torch.maximum(one.masks["object"], one.masks["tag"])
    expected = fix_swap.surroundings(one.pixels.numpy(), around.numpy(), hidden.numpy())
    assert np.allclose(swapped(one, other), expected, atol=1e-6)
    assert np.abs(expected - one.pixels.numpy()).max() > 0.1
    assert torch.equal(swapped(one, other, bare=True), swapped(one, other))


@pytest.mark.parametrize("bare", [False, True])
def test_features_equal_a_literal_swap(tagged: Dataset, bare: bool) -> None:
    one, other = batch_of(tagged, regions.annotated).samples[:2]
    mine, theirs, core = one.masks["tag"], other.masks["tag"], other.masks["object"]
    if bare:
        both = paint_out(other.pixels, torch.maximum(theirs, core)).numpy()
        expected = fix_swap.bare(one.pixels.numpy(), mine.numpy(), both)
    else:
        without = paint_out(other.pixels, core).numpy()
        expected = fix_swap.feature(one.pixels.numpy(), mine.numpy(), other.pixels.numpy(), theirs.numpy(), without)
    assert np.allclose(swapped(one, other, bare=bare), expected, atol=1e-6)


def test_an_image_without_a_region_gets_the_lenders(tagged: Dataset) -> None:
    one, other = batch_of(tagged, regions.annotated).samples[:2]
    nothing = Sample(one.row, one.pixels, {k: v for k, v in one.masks.items() if k != REGION})
    nowhere = torch.zeros_like(one.pixels[0])
    assert one.masks[REGION].any()
    for image, lender in ((nothing, other), (other, nothing)):
        expected = fix_swap.feature(
            image.pixels.numpy(),
            image.masks.get(REGION, nowhere).numpy(),
            lender.pixels.numpy(),
            lender.masks.get(REGION, nowhere).numpy(),
            lender.without_object.numpy(),
        )
        np.testing.assert_allclose(swapped(image, lender).numpy(), expected, atol=1e-6)
        assert not torch.equal(swapped(image, lender), image.pixels)
    assert torch.equal(swapped(nothing, nothing), nothing.pixels)


def test_surroundings_come_from_images_whose_object_is_known(tagged: Dataset) -> None:
    one, other = batch_of(tagged, regions.background).samples[:2]
    marked = {k: v for k, v in other.masks.items() if k not in (REGION, AROUND)}
    unmarked = Sample(other.row, other.pixels, {**marked, REGION: marked["tag"]})
    assert torch.equal(swapped(one, unmarked), swapped(one, other))  # a lender may have another kind of region
    unknown = Sample(replace(other.row, masks=()), other.pixels, {})
    assert torch.equal(swapped(one, unknown), one.pixels)
    assert torch.equal(swapped(unknown, one), unknown.pixels)


def test_classes_exchange_although_one_has_features_and_the_other_backgrounds(tagged: Dataset) -> None:
    rows = tuple(
        row if row.label else replace(row, masks=tuple(mask for mask in row.masks if mask.role == "core"))
        for row in tagged.images
    )
    batch = batch_of(replace(tagged, images=rows), regions.either)
    shown = SwapObjective(SwapOptions(share=1.0)).show(batch).pixels
    changed = (shown != batch.pixels).flatten(1).any(dim=1)
    assert {int(label) for label in batch.labels[changed]} == {0, 1, 2}


def test_lenders_are_keyed_and_of_every_class(tagged: Dataset) -> None:
    objective = SwapObjective(SwapOptions(share=1.0))
    batch = batch_of(tagged, regions.annotated)
    assert torch.equal(objective.show(batch).pixels, objective.show(batch).pixels)
    later = batch_of(tagged, regions.annotated, step=1)
    assert later.key != batch.key
    shown = objective.show(batch).pixels
    changed = (shown - batch.pixels).abs().flatten(1).amax(dim=1) > 0.2
    assert changed.sum() >= 10
    assert objective.show(batch).samples is batch.samples


def test_the_share_is_kept(many: Dataset) -> None:
    counts = []
    for step in range(40):
        (batch,) = feed_of(many, settings(batch_size=60, flip=False), region=regions.background).batches(
            CPU, step, step + 1
        )
        shown = SwapObjective(SwapOptions(share=0.3)).show(batch).pixels
        counts.append(int(((shown - batch.pixels).abs().flatten(1).amax(dim=1) > 0).sum()))
    # Of 60 images one in 60 lends to itself.
    assert abs(np.mean(counts) / 60 - 0.3 * 59 / 60) < 0.03


def test_what_cannot_be_swapped_is_said(many: Dataset, tagged: Dataset, tmp_path: Path) -> None:
    def lack(dataset: Dataset, **options: Any) -> str:
        job = job_of(as_model(Mixture()), dataset, tmp_path)
        return Swap(SwapOptions(**options)).lacks(job) or ""

    def masked(*labels: int) -> Dataset:
        rows = (row if row.label in labels else replace(row, masks=()) for row in many.images)
        return replace(many, images=tuple(rows))

    assert lack(many) == lack(tagged, bare=0.5) == lack(masked(0, 1)) == ""
    assert "in one class only" in lack(masked(1))
    assert "has a mask" in lack(masked())


def untagged(dataset: Dataset, *labels: int) -> Dataset:
    """Without tags in images of these classes."""
    rows = (
        replace(row, masks=tuple(mask for mask in row.masks if mask.role == "core")) if row.label in labels else row
        for row in dataset.images
    )
    return replace(dataset, images=tuple(rows))


def test_bare_is_refused_where_all_regions_are_backgrounds(many: Dataset, tagged: Dataset, tmp_path: Path) -> None:
    def check(dataset: Dataset, **options: Any) -> None:
        Swap(SwapOptions(**options)).check_options(job_of(as_model(Mixture()), dataset, tmp_path))

    for dataset, options in ((many, {}), (tagged, {"region": "background"}), (untagged(tagged, 0, 1, 2), {})):
        check(dataset, **options)
        with pytest.raises(UsageError, match="can only be exchanged for another one"):
            check(dataset, bare=0.5, **options)
    for labels in ((), (0, 1)):
        check(untagged(tagged, *labels), bare=0.5)


def test_bare_is_refused_where_a_scan_found_backgrounds_alone(tagged: Dataset, tmp_path: Path) -> None:
    scanned = toys.scan(toys.Reader(toys.TAG), tagged, tmp_path / "run", audits=("feature_drop",))
    method = Swap(SwapOptions(bare=0.5))
    method.check_options(job_of(as_model(Mixture()), tagged, tmp_path, from_run=scanned.folder))
    around = [f.model_copy(update={"feature": "background"}) for f in scanned.record.findings]
    write_bytes(tmp_path / "run" / "scan.json", to_json(scanned.record.model_copy(update={"findings": around})))
    job = job_of(as_model(Mixture()), tagged, tmp_path, from_run=scanned.folder)
    with pytest.raises(UsageError, match="swap: bare is for features and cells"):
        method.check_options(job)


def test_the_notes_say_on_how_many_images_bare_acts(tagged: Dataset, tmp_path: Path) -> None:
    def notes(dataset: Dataset, bare: float) -> str:
        job = job_of(as_model(Mixture()), dataset, tmp_path)
        return " ".join(Swap(SwapOptions(bare=bare)).prepare(job).notes)

    assert "bare acts on 20 of 30 training images" in notes(untagged(tagged, 1), 0.5)
    assert "of 10 it is the background" in notes(untagged(tagged, 1), 0.5)
    assert "bare acts" not in notes(untagged(tagged, 1), 0) + notes(tagged, 0.5)
