from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from spuraudit.data.dataset import ClassInfo, Dataset, Feature, ImageRow, MaskRow
from spuraudit.data.decode import decode
from spuraudit.data.geometry import geometry_for, place, place_crop_mask, resized_size
from spuraudit.data.sources import FolderSource
from spuraudit.errors import DataError
from spuraudit.record.geometry import Geometry

MEAN = (0.485, 0.456, 0.406)
INPUTS = [(224, 224), (256, 256), (299, 299), (384, 384), (160, 224)]


def textured(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(size[0] * 1000 + size[1])
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def timm_pixels(image: Image.Image, geometry: Geometry) -> np.ndarray:
    from timm.data import create_transform

    transform = create_transform(
        (3, geometry.height, geometry.width),
        crop_pct=geometry.crop_pct,
        crop_mode=geometry.crop_mode,
        interpolation=geometry.interpolation,
        mean=MEAN,
        std=(1.0, 1.0, 1.0),
    )
    return transform(image).permute(1, 2, 0).numpy() + np.asarray(MEAN, dtype=np.float32)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("height_width", INPUTS)
def test_place_is_timms_evaluation_transform(mode: str, interpolation: str, height_width: tuple[int, int]) -> None:
    fill = tuple(round(255 * value) for value in MEAN)
    for size in [(341, 256), (375, 500), (500, 375), (224, 224), (99, 150), (1000, 61)]:
        for crop_pct in (0.875, 0.9, 0.949, 1.0, 1.2):
            geometry = Geometry(
                height=height_width[0],
                width=height_width[1],
                crop_pct=crop_pct,
                crop_mode=mode,
                interpolation=interpolation,
            )
            image = textured(size)
            ours = np.asarray(place(image, geometry, fill=fill)) / 255.0
            assert np.abs(ours - timm_pixels(image, geometry)).max() <= 1 / 255, (size, crop_pct)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(20, 420),
    height=st.integers(20, 420),
    side=st.sampled_from([96, 224, 299]),
    crop_pct=st.floats(0.7, 1.1),
    mode=st.sampled_from(["center", "squash", "border"]),
)
def test_place_agrees_with_timm_on_any_size(width: int, height: int, side: int, crop_pct: float, mode: str) -> None:
    geometry = Geometry(height=side, width=side, crop_pct=crop_pct, crop_mode=mode)
    image = textured((width, height))
    ours = np.asarray(place(image, geometry, fill=tuple(round(255 * value) for value in MEAN))) / 255.0
    assert np.abs(ours - timm_pixels(image, geometry)).max() <= 1 / 255


def cross_picture(size: tuple[int, int], centre: tuple[int, int], arm: int = 2) -> Image.Image:
    picture = Image.new("L", size, 0)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((centre[0] - arm, 0, centre[0] + arm, size[1]), fill=255)
    draw.rectangle((0, centre[1] - arm, size[0], centre[1] + arm), fill=255)
    return picture


def cross_centre(pixels: np.ndarray) -> tuple[float, float]:
    """(x, y) where the arms meet: centre of mass of the brightest columns and rows."""
    centre = []
    for axis in (0, 1):
        profile = np.median(pixels.astype(float), axis=axis)
        centre.append(float((profile * np.arange(len(profile))).sum() / profile.sum()))
    return centre[0], centre[1]


def one_image_dataset(root: Path, frame: str = "photo", fixed: float | None = None) -> Dataset:
    mask = MaskRow("cross", "core", "root", "mask.png", frame)
    return Dataset(
        name="cross",
        layout="test",
        classes=(ClassInfo(0, "cross"),),
        features=(Feature("cross", "core"),),
        images=(ImageRow("photo", 0, "root", "photo.png", masks=(mask,)),),
        sources={"root": FolderSource(root)},
        fixed_crop_pct=fixed,
    )


@pytest.mark.parametrize("side", [224, 256, 299, 384])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(640, 427), (301, 450), (180, 140)])
def test_a_drawn_cross_is_found_in_the_mask_where_it_is_in_the_photo(
    tmp_path: Path, side: int, mode: str, size: tuple[int, int]
) -> None:
    centre = (round(size[0] * 0.43), round(size[1] * 0.61))
    cross_picture(size, centre).convert("RGB").save(tmp_path / "photo.png")
    cross_picture(size, centre).save(tmp_path / "mask.png")
    dataset = one_image_dataset(tmp_path)
    geometry = Geometry(height=side, width=side, crop_pct=0.9, crop_mode=mode, interpolation="bicubic")
    decoded = decode(dataset, dataset.images[0], geometry)
    assert decoded.pixels.shape == (side, side, 3)
    found, expected = cross_centre(decoded.masks["cross"]), cross_centre(decoded.pixels[..., 0])
    assert math.dist(found, expected) < 1
    # and both are where the arithmetic of the geometry puts the cross
    width, height = resized_size(size, geometry)
    x = (centre[0] + 0.5) * width / size[0] - 0.5 - (width - side) / 2
    y = (centre[1] + 0.5) * height / size[1] - 0.5 - (height - side) / 2
    assert math.dist(found, (x, y)) < 1


@pytest.mark.parametrize("side", [224, 256, 299, 384])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256)])
def test_a_cross_in_the_published_crop_is_found_where_it_is_in_the_photo(
    tmp_path: Path, side: int, size: tuple[int, int]
) -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    centre = (round(size[0] * 0.52), round(size[1] * 0.4))
    photo = cross_picture(size, centre).convert("RGB")
    photo.save(tmp_path / "photo.png")
    # the authors: PIL image -> Resize(256) -> CenterCrop(224), and the mask is made of that
    Compose([Resize(256), CenterCrop(224)])(photo).convert("L").save(tmp_path / "mask.png")
    dataset = one_image_dataset(tmp_path, "crop", 0.875)
    # the model's own crop fraction and mode must not matter
    geometry = Geometry(height=side, width=side, crop_pct=1.0, crop_mode="squash", interpolation="bicubic")
    decoded = decode(dataset, dataset.images[0], geometry)
    assert decoded.masks["cross"].shape == (side, side)
    assert math.dist(cross_centre(decoded.masks["cross"]), cross_centre(decoded.pixels[..., 0])) < 1


@pytest.mark.parametrize(("side", "resized"), [(224, 256), (256, 293), (299, 342), (384, 439), (448, 512)])
def test_fixed_crop_scales_256_over_224(tmp_path: Path, side: int, resized: int) -> None:
    dataset = one_image_dataset(tmp_path, "crop", 0.875)
    fixed = geometry_for(dataset, Geometry(height=side, width=side, crop_pct=0.95, interpolation="bicubic"))
    assert resized_size((500, 400), fixed)[1] == resized
    assert fixed.crop_mode == "center"
    assert fixed.interpolation == "bicubic"
    assert geometry_for(dataset, fixed) == fixed


def test_free_geometry_is_left_alone(tmp_path: Path) -> None:
    geometry = Geometry(height=224, width=224, crop_pct=0.95)
    assert geometry_for(one_image_dataset(tmp_path), geometry) is geometry


def test_masks_are_never_nearest(tmp_path: Path) -> None:
    textured((400, 300)).save(tmp_path / "photo.png")
    cross_picture((400, 300), (201, 150), 1).save(tmp_path / "mask.png")
    dataset = one_image_dataset(tmp_path)
    geometry = Geometry(height=64, width=64, crop_pct=1.0, interpolation="nearest")
    mask = decode(dataset, dataset.images[0], geometry).masks["cross"]
    assert mask.dtype == np.uint8
    assert len(np.unique(mask)) > 2, "a shrunk thin line keeps its area as grey"
    # the area under the lines survives the resize by 300 / 64
    assert mask.mean() / 255 == pytest.approx(3 / 300 + 3 / 300, rel=0.05)


def test_float_masks_keep_their_mode() -> None:
    soft = Image.fromarray(np.linspace(0, 1, 300 * 200, dtype=np.float32).reshape(200, 300))
    placed = place(soft, Geometry(height=64, width=64, crop_pct=0.9, crop_mode="border"))
    assert placed.mode == "F"
    assert placed.size == (64, 64)


def test_a_needle_is_refused_before_it_is_enlarged() -> None:
    with pytest.raises(DataError, match=r"1 x 20000 pixels: too elongated"):
        place(Image.new("RGB", (1, 20000)), Geometry(height=224, width=224, crop_pct=0.875))


def test_crop_masks_need_square_inputs(tmp_path: Path) -> None:
    wide = Geometry(height=224, width=288, crop_pct=0.875)
    with pytest.raises(DataError, match="does not fit an input of 288 x 224"):
        place_crop_mask(Image.new("L", (224, 224)), wide)
    with pytest.raises(DataError, match="square crop"):
        geometry_for(one_image_dataset(tmp_path, "crop", 0.875), wide)


def test_padding_is_black_in_masks_and_the_mean_colour_in_photos(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "white").save(tmp_path / "photo.png")
    Image.new("L", (400, 200), 255).save(tmp_path / "mask.png")
    dataset = one_image_dataset(tmp_path)
    geometry = Geometry(height=100, width=100, crop_pct=1.0, crop_mode="border")
    decoded = decode(dataset, dataset.images[0], geometry, fill=(124, 116, 104))
    assert decoded.pixels[0, 0].tolist() == [124, 116, 104]
    assert decoded.masks["cross"][:25].max() == 0
    assert decoded.masks["cross"][25:75].min() == 255


def test_the_image_bytes_decide_not_the_suffix(tmp_path: Path) -> None:
    # ImageNet has a PNG named .JPEG
    buffer = io.BytesIO()
    textured((40, 40)).save(buffer, "PNG")
    (tmp_path / "photo.png").write_bytes(buffer.getvalue())
    cross_picture((40, 40), (20, 20)).save(tmp_path / "mask.png")
    dataset = one_image_dataset(tmp_path)
    assert decode(dataset, dataset.images[0], Geometry(height=32, width=32, crop_pct=1.0)).pixels.shape == (32, 32, 3)
