"""Which images are audited, who lends pixels, and how the work is cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import toys
from hypothesis import given
from hypothesis import strategies as st

from spuraudit.data import open_dataset
from spuraudit.data.dataset import ClassInfo, Dataset, ImageRow, MaskRow
from spuraudit.errors import DataError
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.cohort import choose_donor_split, choose_split, ids_sha256, limited
from spuraudit.runs.prepare import Machine, prepare_scan
from spuraudit.runs.shards import MAX_IMAGES, MAX_PASSES, make_shards

if TYPE_CHECKING:
    from pathlib import Path


def dataset(*splits: str | None, default: str | None = None) -> Dataset:
    """One image in each of the splits."""
    images = tuple(ImageRow(f"{i}", 0, "root", f"{i}.png", split) for i, split in enumerate(splits))
    return Dataset("d", "manifest", (ClassInfo(0, "a"),), (), images, {}, default_split=default)


@pytest.mark.parametrize(
    ("given_splits", "default", "wanted", "chosen"),
    [
        (("train", "val", "test"), None, None, "test"),
        (("train", "val"), None, None, "val"),
        (("train", "val", "test"), "val", None, "val"),
        (("train", "val", "test"), "val", "train", "train"),
        (("train", "valid"), None, None, "valid"),
        ((None, None), None, None, None),
    ],
)
def test_the_audited_split(
    given_splits: tuple[str | None, ...], default: str | None, wanted: str | None, chosen: str | None
) -> None:
    assert choose_split(dataset(*given_splits, default=default), wanted) == chosen


def test_splits_without_a_test_or_val_must_be_chosen() -> None:
    with pytest.raises(DataError, match="splits extra, train, and none of them is test or val"):
        choose_split(dataset("train", "extra"), None)
    assert choose_split(dataset("train", "extra"), "extra") == "extra"


def test_an_unknown_split_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match="has no split 'valid'; it has: test, train, val") as caught:
        choose_split(dataset("train", "val", "test"), "valid")
    assert "'val'" in (caught.value.hint or "")
    with pytest.raises(DataError, match="the dataset has no splits"):
        choose_split(dataset(None), "test")


def test_donors_come_from_train_if_there_is_one() -> None:
    for splits, donors in ((("train", "test"), "train"), (("val", "test"), None)):
        whole = dataset(*splits)
        assert choose_donor_split(whole, whole.in_split("test")) == donors


def test_a_train_split_without_core_masks_lends_nothing_to_masked_images() -> None:
    whole = dataset("train", "test")
    masked = replace(whole.images[1], masks=(MaskRow("object", "core", "root", "1.png"),))
    assert choose_donor_split(whole, (masked,)) is None


images_of_classes = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(
    lambda labels: tuple(ImageRow(f"image-{i}", label, "root", f"{i}.png") for i, label in enumerate(labels))
)


@given(rows=images_of_classes, limit=st.integers(1, 70))
def test_a_limit_is_even_over_classes_and_nested(rows: tuple[ImageRow, ...], limit: int) -> None:
    kept = limited(rows, limit)
    assert len(kept) == min(limit, len(rows))
    assert [row for row in rows if row in kept] == list(kept)  # file order
    assert set(kept) <= set(limited(rows, limit + 1))
    counts = Counter(row.label for row in kept)
    all_counts = Counter(row.label for row in rows)
    fullest = max(counts.values())
    for label, available in all_counts.items():
        assert counts[label] >= min(available, fullest - 1)


@given(rows=images_of_classes, limit=st.integers(1, 30))
def test_a_limit_does_not_depend_on_the_order(rows: tuple[ImageRow, ...], limit: int) -> None:
    assert set(limited(rows, limit)) == set(limited(rows[::-1], limit))


def test_without_a_limit_all_rows_stay() -> None:
    rows = dataset(None, None, None).images
    assert limited(rows, None) == limited(rows, 3) == rows


def test_the_hash_of_ids_sees_every_id() -> None:
    rows = dataset(None, None, None).images
    hashes = {ids_sha256(rows), ids_sha256(rows[:2]), ids_sha256((replace(rows[0], id="x"), *rows[1:]))}
    assert len(hashes) == 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 test images of three classes."""
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(test=50, train=3))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"audits": ("noise",), "trials": 1}, [64, 64, 22]),  # by images
        ({"audits": ("noise",), "trials": 30}, [17] * 8 + [14]),  # by passes: 61 an image, 17 reach 1024
    ],
)
def test_shards_are_cut_by_images_and_by_passes(data: Path, settings: dict[str, object], parts: list[int]) -> None:
    scan = prepare_scan(
        toys.as_model(toys.Reader(toys.OBJECT)), open_dataset(str(data)), ScanSettings(**settings), Machine(64)
    )
    shards = scan.shards
    assert [len(shard.rows) for shard in shards] == parts
    assert [shard.number for shard in shards] == list(range(len(parts)))
    assert tuple(row for shard in shards for row in shard.rows) == scan.cohort.rows
    for shard in shards[:-1]:
        assert len(shard.rows) == MAX_IMAGES or shard.answers >= MAX_PASSES
    trials = scan.settings.trials
    assert [shard.answers for shard in shards] == [count * (1 + 2 * trials) for count in parts]


def test_a_source_of_patch_swap_is_a_shard_by_itself(data: Path) -> None:
    settings = ScanSettings(
        audits=("patch_swap",), passes=10, patch_targets=3, patch_sources=2, target_classes=1, limit=30
    )
    scan = prepare_scan(toys.as_model(toys.Reader(toys.OBJECT)), open_dataset(str(data)), settings)
    audits = list(scan.audits.values())
    for shard in make_shards(scan.cohort.rows, audits):
        sources = [row for row in shard.rows if audits[0].questions(row)]
        assert len(sources) <= 1
        assert shard.answers == len(shard.rows) + len(sources) * 3 * 50
        assert shard.exact
