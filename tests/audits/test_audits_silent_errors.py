"""Cases where a number could be wrong without an error: reserved names, near-equal sigmas, blank masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toys
from PIL import Image

from spuraudit.data import open_dataset
from spuraudit.errors import DataError
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.prepare import prepare_scan


def test_a_feature_named_background_is_refused(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data")
    dataset = open_dataset(str(data))
    renamed = replace(
        dataset, features=(*dataset.features, replace(dataset.features[0], name="background", role="spurious"))
    )
    with pytest.raises(DataError, match="a feature is named 'background'"):
        prepare_scan(toys.as_model(toys.Reader(toys.OBJECT)), renamed, ScanSettings())


def test_sigmas_that_differ_little_stay_apart(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data")
    done = toys.scan(
        toys.Reader(toys.OBJECT), data, tmp_path / "run", audits=("noise",), sigmas=(0.25, 0.25000001), trials=2
    )
    for measurement in done.record.measurements:
        if measurement.metric.endswith("accuracy") and measurement.value is not None:
            assert 0 <= measurement.value <= 1
    assert len({m.scope["sigma"] for m in done.record.measurements if m.metric == "rcs"}) == 2


def test_images_with_a_blank_core_mask_are_counted_out_and_said(tmp_path: Path) -> None:
    data = toys.draw(tmp_path / "data")
    masks = sorted((data / "masks").rglob("*.png"))
    test_images = {row.id for row in open_dataset(str(data)).in_split("test")}
    blanked = 0
    for row in open_dataset(str(data)).in_split("test")[:3]:
        core = next(mask for mask in row.masks if mask.role == "core")
        file = data / core.path
        assert file in masks
        Image.fromarray(np.zeros_like(np.asarray(Image.open(file)))).save(file)
        blanked += 1
    done = toys.scan(toys.Reader(toys.OBJECT), data, tmp_path / "run", trials=2)
    noise = next(audit for audit in done.record.audits if audit.name == "noise")
    assert noise.images == len(test_images) - blanked
    told = {exclusion.reason: exclusion.n for exclusion in done.record.exclusions}
    assert told["A mask is blank in the model's crop: not in the noise audit."] == blanked
    assert any("region swap of background" in reason and n == blanked for reason, n in told.items())
    swap = next(m for m in done.record.measurements if m.metric == "swap_gap" and set(m.scope) == {"feature"})
    assert swap.n == len(test_images) - blanked
