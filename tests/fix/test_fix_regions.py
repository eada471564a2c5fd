"""The region of an image: by masks, or by the findings of a scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toys
from fix.trainings import feed_of, job_of, settings, smooth

from spuraudit.audits.sample import Sample
from spuraudit.data.dataset import Dataset, ImageRow
from spuraudit.errors import FixError, UsageError
from spuraudit.fix import regions
from spuraudit.fix.batch import AROUND, REGION
from spuraudit.fix.methods.swap import swapped

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def samples(tagged: Dataset) -> tuple[Sample, ...]:
    feed = feed_of(tagged, settings(flip=False, batch_size=30))
    (batch,) = feed.batches(CPU, 0, 1)
    return batch.samples


@pytest.fixture(scope="module")
def by_cells(tagged: Dataset, tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """A patch swap of a network that reads the tag alone."""
    run = tmp_path_factory.mktemp("cells") / "run"
    return toys.scan(toys.Reader(toys.TAG, guess=0), tagged, run, audits=("patch_swap",))


@pytest.fixture(scope="module")
def by_features(tagged: Dataset, tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """A drop of features of the same network."""
    run = tmp_path_factory.mktemp("features") / "run"
    return toys.scan(toys.Reader(toys.TAG), tagged, run, audits=("feature_drop",))


def test_words(tagged: Dataset, samples: tuple[Sample, ...]) -> None:
    sample = samples[0]
    tag, rest = toys.TAG.float(), (~(toys.TAG | toys.OBJECT)).float()
    for word, mask, around in (("auto", tag, False), ("spurious", tag, False), ("tag", tag, False)):
        assert regions.named(word, tagged)(sample) is not None
        found = regions.named(word, tagged)(sample)
        assert found is not None
        assert torch.equal(found.mask, mask)
        assert found.around is around
    found = regions.named("background", tagged)(sample)
    assert found is not None
    assert torch.equal(found.mask, rest)
    assert found.around
    with pytest.raises(UsageError, match="no region 'backgroun'") as caught:
        regions.named("backgroun", tagged)
    assert "Did you mean 'background'" in str(caught.value.hint)


def test_cells_of_a_patch_swap(tagged: Dataset, samples: tuple[Sample, ...], by_cells: toys.Scanned) -> None:
    suspected = {f.class_name: f for f in by_cells.record.findings if f.suspected}
    assert suspected
    region = regions.found_by(by_cells.record, tagged)
    for sample in samples:
        name, found = tagged.classes[sample.row.label].name, region(sample)
        assert (found is None) == (name not in suspected)
        if found is not None:
            assert torch.equal(found.mask, toys.TAG.float())
            assert not found.around


def test_cells_at_another_size(tagged: Dataset, samples: tuple[Sample, ...], by_cells: toys.Scanned) -> None:
    region = regions.found_by(by_cells.record, tagged)
    (sample, *_) = [one for one in samples if region(one) is not None]
    large = Sample(sample.row, torch.zeros(3, 56, 112), {})
    found = region(large)
    assert found is not None
    assert torch.equal(found.mask, toys.TAG.float().repeat_interleave(2, 0).repeat_interleave(4, 1))


def test_features_of_a_scan(tagged: Dataset, samples: tuple[Sample, ...], by_features: toys.Scanned) -> None:
    assert any(f.suspected and f.feature == "tag" for f in by_features.record.findings)
    found = regions.found_by(by_features.record, tagged)(samples[0])
    assert found is not None
    assert torch.equal(found.mask, toys.TAG.float())


def test_kinds_are_those_of_the_decoded_images(tagged: Dataset, by_features: toys.Scanned) -> None:
    """Class 0 has no tag, class 2 no object, and of class 1 the scan suspects the background too."""

    def partly(row: ImageRow) -> ImageRow:
        lost = {0: "tag", 2: "object"}.get(row.label)
        return replace(row, masks=tuple(mask for mask in row.masks if mask.feature != lost))

    data = replace(tagged, images=tuple(partly(row) for row in tagged.images))
    suspected = [f for f in by_features.record.findings if f.suspected]
    around = [
        f.model_copy(update={"feature": "background", "suspected": True})
        for f in suspected
        if f.class_name == tagged.classes[1].name
    ]
    assert around
    scanned = by_features.record.model_copy(update={"findings": [*suspected, *around]})
    expected = {"auto": (20, 10), "spurious": (20, 0), "tag": (20, 0), "background": (0, 20), "scan": (10, 10)}
    for word, kinds in expected.items():
        region = regions.found_by(scanned, data) if word == "scan" else regions.named(word, data)
        (batch,) = feed_of(data, settings(flip=False, batch_size=30), region=region).batches(CPU, 0, 1)
        marked = [AROUND in sample.masks for sample in batch.samples if REGION in sample.masks]
        assert (marked.count(False), marked.count(True)) == kinds
        assert regions.kinds_of(region, data.in_split("train")) == kinds


def test_a_word_beside_a_scan_would_leave_it_unread(tagged: Dataset, by_features: toys.Scanned, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path, from_run=by_features.folder)
    assert isinstance(job.region("auto"), regions.OfFindings)
    for word in ("background", "spurious", "tag"):
        with pytest.raises(UsageError, match=f"region={word} is taken from masks, so that --from-run .* not be read"):
            job.region(word)
        job_of(smooth(), tagged, tmp_path).region(word)
    with pytest.raises(UsageError, match="no region 'tga'"):
        job.region("tga")


def test_nothing_suspected(tagged: Dataset, by_features: toys.Scanned) -> None:
    cleared = [f.model_copy(update={"suspected": False}) for f in by_features.record.findings]
    with pytest.raises(FixError, match="suspects no feature or region"):
        regions.found_by(by_features.record.model_copy(update={"findings": cleared}), tagged)
    foreign = [f.model_copy(update={"class_name": "other"}) for f in by_features.record.findings]
    with pytest.raises(FixError, match="of a class of toy"):
        regions.found_by(by_features.record.model_copy(update={"findings": foreign}), tagged)


def test_a_finding_of_one_class_is_exchanged_with_other_classes(tagged: Dataset, by_features: toys.Scanned) -> None:
    red = [f for f in by_features.record.findings if f.class_name == "red"]
    region = regions.found_by(by_features.record.model_copy(update={"findings": red}), tagged)
    feed = feed_of(tagged, settings(flip=False, batch_size=30), region=region)
    (batch,) = feed.batches(CPU, 0, 1)
    first = {sample.row.label: sample for sample in batch.samples}
    assert not torch.equal(swapped(first[0], first[1]), first[0].pixels)


def test_cells_of_a_grid_that_does_not_divide(tagged: Dataset, samples: tuple[Sample, ...], tmp_path: Path) -> None:
    """Cells of 5 pixels over 28: the sixth row is 3 pixels high."""
    scanned = toys.scan(toys.Reader(toys.TAG, guess=0), tagged, tmp_path / "run", audits=("patch_swap",), patch=5)
    region = regions.found_by(scanned.record, tagged)
    (found, *_) = [one for one in map(region, samples) if one is not None]
    (finding, *_) = [f for f in scanned.record.findings if f.suspected and f.cell is not None]
    assert finding.cell is not None
    expected = torch.zeros(28, 28)
    top, left = 5 * (finding.cell.row - 1), 5 * (finding.cell.column - 1)
    expected[top : top + 5, left : left + 5] = 1
    assert torch.equal(found.mask, expected)
