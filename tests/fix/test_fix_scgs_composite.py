"""Composites: what is kept stays bit for bit, the object of the true class lands elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from spuraudit.errors import DataError, UsageError
from spuraudit.fix.scgs.composite import CompositeGenerator, Donor
from spuraudit.fix.scgs.generate import Order, Scene, blend, kept_opacity, paste_back, seam_of

RED = (250, 0, 0)


def noise(seed: int, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    # no pixel is anything like red
    return np.random.default_rng(seed).integers(60, 130, (height, width, 3)).astype(np.uint8)


def scene(keep: NDArray[np.bool_], seed: int = 0, label: int = 1) -> Scene:
    return Scene(Order("source.png", label, "disc", seed), noise(0, *keep.shape), keep)


def left_half(height: int = 32, width: int = 48) -> NDArray[np.bool_]:
    keep = np.zeros((height, width), dtype=bool)
    keep[:, : width // 2] = True
    return keep


def red_disc(size: int = 40, radius: int = 8) -> Donor:
    rows, columns = np.mgrid[:size, :size]
    core = (rows - 14) ** 2 + (columns - 22) ** 2 <= radius**2
    pixels = noise(9, size, size)
    pixels[core] = RED
    return Donor(pixels, (255 * core).astype(np.uint8))


def generator(
    donors: Mapping[str, Donor], label: int = 1, seam: int | None = 4, ids: Sequence[str] | None = None
) -> CompositeGenerator:
    return CompositeGenerator({label: list(ids or donors)}, donors.__getitem__, seam)


def redness(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (pixels[..., 0] > 200) & (pixels[..., 1] < 40)


# What every generator shares


def test_kept_pixels_come_back_bit_for_bit_and_the_seam_lies_outside() -> None:
    asked = scene(left_half())
    drawn = np.full_like(asked.pixels, 255)
    result = paste_back(asked, drawn, seam=3)
    assert np.array_equal(result[:, :24], asked.pixels[:, :24])
    assert np.array_equal(result[:, 27:], drawn[:, 27:])
    assert kept_opacity(asked.keep, 3)[0, 22:29].tolist() == [1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert (result[:, 24:27] < 255).all()
    assert np.array_equal(paste_back(asked, drawn, seam=0)[:, 24:], drawn[:, 24:])


def test_nothing_kept_leaves_the_drawn_image() -> None:
    asked = scene(np.zeros((32, 48), dtype=bool))
    drawn = noise(5)
    assert np.array_equal(paste_back(asked, drawn, seam=4), drawn)


def test_blend_is_the_rounded_mean_pixel_by_pixel() -> None:
    below, above = noise(1, 3, 4), noise(2, 3, 4)
    opacity = np.random.default_rng(0).random((3, 4))
    mixed = blend(below, above, opacity)
    for row, column, channel in np.ndindex(3, 4, 3):
        at = (row, column, channel)
        exact = int(below[at]) * (1 - opacity[row, column]) + int(above[at]) * opacity[row, column]
        assert mixed[at] == round(exact)


def test_impossible_scenes_are_refused() -> None:
    order, pixels, keep = Order("a/b.png", 0, "disc", 0), noise(0), left_half()
    for wrong in (pixels.astype(np.float32), pixels[..., :1], pixels[..., 0], pixels[:0]):
        with pytest.raises(DataError, match=r"a/b.png: a source image is 8-bit RGB"):
            Scene(order, wrong, keep)
    for mask in (keep.astype(np.uint8) * 255, keep[:-1], keep.T):
        with pytest.raises(DataError, match=r"a/b.png: a keep mask is bool"):
            Scene(order, pixels, mask)
    with pytest.raises(DataError, match="keeps the whole image"):
        Scene(order, pixels, np.ones((32, 48), dtype=bool))
    with pytest.raises(DataError, match="the generator gave"):
        paste_back(Scene(order, pixels, keep), pixels[:-1], seam=4)


# Composites


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keeps", ["left", "right", "top", "bottom"])
def test_the_kept_half_is_the_sources_and_the_object_lies_in_the_other(keeps: str, seed: int) -> None:
    keep = np.zeros((32, 48), dtype=bool)
    keep[{"left": np.s_[:, :24], "right": np.s_[:, 24:], "top": np.s_[:16], "bottom": np.s_[16:]}[keeps]] = True
    asked = scene(keep, seed)
    drawn = generator({"donor.png": red_disc()}).draw(asked)
    assert np.array_equal(drawn.pixels[keep], asked.pixels[keep])
    assert redness(drawn.pixels).sum() > 20
    assert not redness(drawn.pixels)[keep].any()
    assert drawn.core is not None
    assert drawn.core[keep].max() == 0
    # the mask marks what was drawn, and only that: the rest is the source's
    assert np.array_equal(drawn.pixels[drawn.core == 0], asked.pixels[drawn.core == 0])
    assert (drawn.core[redness(drawn.pixels)] > 100).all()
    assert isinstance(drawn.facts["hidden_share"], float)
    assert drawn.facts["hidden_share"] <= 0.2
    assert drawn.facts["generator"] == "composite"


def test_without_masks_the_whole_donor_fills_the_half_that_is_not_kept() -> None:
    asked = scene(left_half())
    blue = np.zeros((20, 60, 3), dtype=np.uint8)
    blue[..., 2] = 200
    drawn = generator({"donor.png": Donor(blue, None)}).draw(asked)
    assert np.array_equal(drawn.pixels[:, :24], asked.pixels[:, :24])
    assert (drawn.pixels[:, 28:] == (0, 0, 200)).all()
    assert drawn.core is None
    assert drawn.facts["whole_donor"] is True


def test_the_sources_own_object_goes_except_where_it_is_kept() -> None:
    asked = scene(left_half())
    own = np.zeros(asked.keep.shape, dtype=np.uint8)
    own[10:22, 16:32] = 255  # eight columns on either side of the border
    pixels = asked.pixels.copy()
    pixels[own > 0] = (0, 0, 250)
    drawn = generator({"a": red_disc()}).draw(Scene(asked.order, pixels, asked.keep, own))
    blue = (drawn.pixels[..., 2] > 200) & (drawn.pixels[..., 0] < 40)
    assert blue[:, :24].sum() == 12 * 8
    assert not blue[:, 28:].any()  # beyond the seam
    assert drawn.core is not None
    assert (drawn.core[10:22, 16:24] == 255).all()
    untouched = generator({"a": red_disc()}).draw(Scene(asked.order, pixels, asked.keep))
    assert ((untouched.pixels[..., 2] > 200) & (untouched.pixels[..., 0] < 40))[:, 28:].any()


def test_an_object_that_fits_is_pasted_pixel_for_pixel() -> None:
    """Resizing, a soft rim or what is left of the source's object would tell new images from old ones."""
    donor = red_disc(size=48)
    donor.pixels[donor.core > 0] = noise(4, 48, 48)[donor.core > 0]  # type: ignore[operator]
    keep = np.zeros((48, 48), dtype=bool)
    keep[:, :12] = True
    own = np.zeros((48, 48), dtype=np.uint8)
    own[20:30, 12:20] = 255  # touches the kept region: its pixels would show through the seam
    pixels = np.full((48, 48, 3), 90, dtype=np.uint8)
    pixels[own > 0] = (0, 0, 250)
    drawn = generator({"donor.png": donor}, seam=None).draw(Scene(Order("source.png", 1, "disc", 0), pixels, keep, own))
    assert (drawn.facts["scale"], drawn.facts["hidden_share"]) == (1.0, 0.0)
    assert drawn.core is not None
    wanted = donor.pixels[donor.core > 0].reshape(-1, 3)  # type: ignore[operator]
    got = drawn.pixels[drawn.core > 0].reshape(-1, 3)
    assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, wanted.tolist()))
    assert (drawn.pixels[drawn.core == 0] == 90).all()


@pytest.mark.parametrize(("side", "pixels"), [(32, 1), (160, 3), (224, 4), (448, 8)])
def test_the_seam_grows_with_the_image(side: int, pixels: int) -> None:
    assert seam_of((side, 2 * side)) == seam_of((2 * side, side)) == pixels


def test_an_object_that_does_not_fit_is_made_smaller() -> None:
    keep = np.ones((32, 48), dtype=bool)
    keep[4:14, 30:40] = False
    drawn = generator({"donor.png": red_disc(radius=14)}, seam=0).draw(scene(keep))
    assert isinstance(drawn.facts["hidden_share"], float)
    assert isinstance(drawn.facts["scale"], float)
    assert drawn.facts["hidden_share"] < 0.35
    assert drawn.facts["scale"] < 0.75
    assert redness(drawn.pixels).sum() > 20


def test_an_object_with_no_room_is_hidden_and_says_so() -> None:
    keep = np.ones((32, 48), dtype=bool)
    keep[0, 0] = False
    asked = scene(keep)
    drawn = generator({"donor.png": red_disc()}).draw(asked)
    assert np.array_equal(drawn.pixels[keep], asked.pixels[keep])
    assert isinstance(drawn.facts["hidden_share"], float)
    assert drawn.facts["hidden_share"] > 0.9


def test_proportions_are_kept_and_an_object_as_large_as_its_photo_fits() -> None:
    photo = np.zeros((10, 40, 3), dtype=np.uint8)
    photo[...] = RED
    whole = Donor(photo, np.full((10, 40), 255, dtype=np.uint8))
    keep = np.zeros((60, 24), dtype=bool)
    drawn = generator({"donor.png": whole}, seam=0).draw(scene(keep))
    assert drawn.core is not None
    rows, columns = np.nonzero(drawn.core)
    assert np.ptp(columns) + 1 <= 24
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(4, rel=0.3)


def test_an_object_of_one_pixel() -> None:
    core = np.zeros((40, 40), dtype=np.uint8)
    core[3, 3] = 255
    drawn = generator({"donor.png": Donor(red_disc().pixels, core)}).draw(scene(left_half()))
    assert drawn.core is not None
    assert drawn.core.max() > 100


def test_equal_seeds_give_equal_images_and_others_differ() -> None:
    donors = {f"{number}.png": red_disc(radius=6 + number) for number in range(4)}
    first = generator(donors).draw(scene(left_half(), seed=3))
    again = generator(donors, ids=sorted(donors, reverse=True)).draw(scene(left_half(), seed=3))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.facts == again.facts
    others = [generator(donors).draw(scene(left_half(), seed=seed)) for seed in range(12)]
    assert len({other.pixels.tobytes() for other in others}) == 12
    assert {other.facts["donor"] for other in others} == set(donors)
    assert {other.facts["flipped"] for other in others} == {True, False}


def test_flipping_mirrors_the_object() -> None:
    core = np.zeros((40, 40), dtype=np.uint8)
    core[10:26, 10:14] = 255
    core[22:26, 10:26] = 255  # the foot of an L points right
    make = generator({"l.png": Donor(red_disc().pixels, core)})
    for seed in range(6):
        drawn = make.draw(scene(np.zeros((64, 64), dtype=bool), seed))
        assert drawn.core is not None
        columns = np.nonzero(drawn.core > 127)[1]
        middle = (columns.min() + columns.max()) / 2
        assert (columns.mean() > middle) is np.bool_(drawn.facts["flipped"])


def test_a_source_never_lends_to_itself_and_blank_masks_lend_nothing() -> None:
    blank = Donor(noise(1, 40, 40), np.zeros((40, 40), dtype=np.uint8))
    donors = {"source.png": red_disc(), "blank.png": blank, "good.png": red_disc()}
    assert {generator(donors).draw(scene(left_half(), seed)).facts["donor"] for seed in range(8)} == {"good.png"}
    with pytest.raises(DataError, match="hold no other one of class 'disc'"):
        generator({"source.png": red_disc()}).draw(scene(left_half()))
    with pytest.raises(DataError, match="hold no other one of class 'disc'"):
        generator(donors, label=2).draw(scene(left_half(), label=1))
    with pytest.raises(DataError, match=r"1 looked at, all with a blank mask"):
        generator({"blank.png": blank}).draw(scene(left_half()))


def test_impossible_donors_and_seams_are_refused() -> None:
    pixels = noise(1, 40, 40)
    for wrong in (
        Donor(pixels.astype(np.float32), None),
        Donor(pixels[:0], None),
        Donor(pixels, np.zeros((4, 4), dtype=np.uint8)),
        Donor(pixels, np.ones((40, 40), dtype=bool)),  # type: ignore[arg-type]
    ):
        with pytest.raises(DataError, match=r"^odd.png: "):
            generator({"odd.png": wrong}).draw(scene(left_half()))
    with pytest.raises(UsageError, match="seam"):
        generator({"a.png": red_disc()}, seam=-1)
