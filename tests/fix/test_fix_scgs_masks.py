"""The keep mask of SCGS: high is kept."""

from __future__ import annotations

import numpy as np
import pytest

from spuraudit.errors import DataError, UsageError
from spuraudit.fix.scgs.masks import keep_mask


def test_high_is_kept_pixel_by_pixel() -> None:
    heat = np.random.default_rng(0).random((9, 7)).astype(np.float32)
    kept = keep_mask(heat, 0.6)
    for place in np.ndindex(heat.shape):
        assert kept.mask[place] == (heat[place] >= np.float32(0.6))
    assert kept.mask.dtype == np.bool_
    assert kept.share == pytest.approx(kept.mask.sum() / 63)
    assert kept.warning is None


def test_a_map_that_is_high_on_the_left_keeps_the_left() -> None:
    heat = np.zeros((4, 8))
    heat[:, :4] = 0.7
    kept = keep_mask(heat)
    assert kept.mask[:, :4].all()
    assert not kept.mask[:, 4:].any()
    assert (kept.share, kept.warning) == (0.5, None)


def test_no_pixel_of_the_object_is_kept_nor_of_its_soft_rim() -> None:
    heat, core = np.ones((3, 4)), np.zeros((3, 4), dtype=np.float32)
    core[1] = (0.05, 0.11, 0.5, 1.0)
    kept = keep_mask(heat, core=core)
    assert kept.mask[[0, 2]].all()
    assert kept.mask[1].tolist() == [True, False, False, False]
    warning = keep_mask(heat, core=np.ones((3, 4))).warning
    assert warning is not None
    assert "no pixel outside the object" in warning


@pytest.mark.parametrize(
    ("high", "says"),
    [(0, "nothing that misled"), (80, None), (81, "81% of the image is kept"), (100, "nothing is left to draw")],
)
def test_odd_shares_are_warned_about(high: int, says: str | None) -> None:
    heat = np.zeros(100)
    heat[:high] = 1
    warning = keep_mask(heat.reshape(10, 10)).warning
    assert warning is None if says is None else warning is not None and says in warning


def test_impossible_maps_and_thresholds_are_refused() -> None:
    for heat in (np.zeros((0, 4)), np.zeros(4), np.zeros((1, 3, 3))):
        with pytest.raises(DataError, match="height and width"):
            keep_mask(heat)
    for value in (np.nan, np.inf, -0.1, 1.1):
        with pytest.raises(DataError, match=r"lies in 0\.\.1"):
            keep_mask(np.array([[0.5, value]]))
    for threshold in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            keep_mask(np.ones((2, 2)), threshold)
