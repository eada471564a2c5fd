from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from spuraudit.data import open_dataset
from spuraudit.data.dataset import ClassInfo, Dataset, Feature, ImageRow, MaskRow
from spuraudit.data.decode import decode, read_mask, read_photo
from spuraudit.data.sources import FolderSource
from spuraudit.errors import DataError
from spuraudit.record.geometry import Geometry

IDENTITY = Geometry(height=30, width=40, crop_pct=1.0)
#: EXIF orientation -> how the stored pixels are turned from the upright ones.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: np.swapaxes(upright, 0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.swapaxes(upright[::-1, ::-1], 0, 1),
    8: lambda upright: np.rot90(upright, 3),
}


def one(root: Path, photo: str, *masks: tuple[str, str, str]) -> tuple[Dataset, ImageRow]:
    rows = tuple(MaskRow(feature, role, "root", path) for feature, role, path in masks)
    row = ImageRow(photo, 0, "root", photo, masks=rows)
    dataset = Dataset(
        name="one",
        layout="test",
        classes=(ClassInfo(0, "only"),),
        features=tuple(Feature(feature, role) for feature, role, _ in masks),
        images=(row,),
        sources={"root": FolderSource(root)},
    )
    return dataset, row


def upright_pixels() -> np.ndarray:
    pixels = np.full((30, 40, 3), 40, dtype=np.uint8)
    pixels[3:9, 4:15] = (250, 30, 10)
    return pixels


def pixels_of(root: Path, name: str) -> np.ndarray:
    dataset, row = one(root, name)
    return np.asarray(read_photo(dataset, row).image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_reaches_the_photo(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright_pixels())))
    options = {"lossless": True} if suffix == "webp" else {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    stored.save(tmp_path / f"photo.{suffix}", exif=exif, **options)
    found = pixels_of(tmp_path, f"photo.{suffix}").astype(int)
    assert found.shape == (30, 40, 3)
    assert np.abs(found - upright_pixels()).mean() < 3


# Turned by 180 degrees or mirrored, both have the same size: the mask is taken as displayed.
@pytest.mark.parametrize(
    ("orientation", "as_stored"),
    [(value, False) for value in range(1, 9)] + [(value, True) for value in (1, 5, 6, 7, 8)],
)
def test_a_mask_of_the_displayed_or_of_the_stored_photo_fits(tmp_path: Path, orientation: int, as_stored: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright_mask = np.zeros((30, 40), dtype=np.uint8)
    upright_mask[3:9, 4:15] = 255
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright_pixels()))).save(tmp_path / "photo.png", exif=exif)
    turned = STORED[orientation](upright_mask)
    Image.fromarray(np.ascontiguousarray(turned if as_stored else upright_mask)).save(tmp_path / "mask.png")
    dataset, row = one(tmp_path, "photo.png", ("thing", "core", "mask.png"))
    decoded = decode(dataset, row, IDENTITY)
    assert np.array_equal(decoded.masks["thing"], upright_mask)
    assert np.array_equal(decoded.pixels[..., 0] > 200, upright_mask > 0)


def test_greyscale_16_bit_cmyk_palette_and_alpha_become_rgb(tmp_path: Path) -> None:
    colour = Image.fromarray(upright_pixels())
    grey = colour.convert("L")
    grey.save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95, subsampling=0)
    colour.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    colour.convert("1").save(tmp_path / "bits.png")
    expected_grey = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    assert np.array_equal(pixels_of(tmp_path, "grey.png"), expected_grey)
    assert np.array_equal(pixels_of(tmp_path, "grey16.png"), expected_grey)
    assert np.abs(pixels_of(tmp_path, "cmyk.jpg").astype(int) - upright_pixels()).mean() < 4
    assert np.array_equal(pixels_of(tmp_path, "palette.png"), upright_pixels())
    assert set(np.unique(pixels_of(tmp_path, "bits.png"))) <= {0, 255}


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([upright_pixels(), np.full((30, 40), 255, dtype=np.uint8)])
    rgba[:, 20:, 3] = 0
    rgba[:, 30:, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    found = pixels_of(tmp_path, "rgba.png").astype(int)
    assert np.array_equal(found[:, :20], upright_pixels()[:, :20])
    assert (found[:, 20:30] == 255).all(), "what lies under full transparency is not shown"
    assert np.abs(found[:, 30:] - 148).max() <= 1
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "palette.png", transparency=1)
    found = pixels_of(tmp_path, "palette.png")
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[3, 3].tolist() == [255, 255, 255]


def test_floats_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((5, 5), dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif: pixels of 32-bit floats have no known range"):
        pixels_of(tmp_path, "float.tif")


def test_soft_masks_keep_their_values(tmp_path: Path, photo: object) -> None:
    photo(tmp_path / "photo.png")
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    Image.fromarray(ramp).save(tmp_path / "L.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "I16.png")
    Image.fromarray(np.repeat(ramp[..., None], 3, axis=2)).save(tmp_path / "RGB.png")
    Image.fromarray(ramp).convert("RGBA").save(tmp_path / "RGBA.png")
    grey_palette = Image.fromarray(ramp).convert("P")
    grey_palette.putpalette([value for level in range(256) for value in (level, level, level)])
    grey_palette.save(tmp_path / "P.png")
    for name in ("L", "I16", "RGB", "RGBA", "P"):
        dataset, row = one(tmp_path, "photo.png", ("ramp", "core", f"{name}.png"))
        assert np.array_equal(decode(dataset, row, IDENTITY).masks["ramp"], ramp), name
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "grey.jpg", quality=90)
    dataset, row = one(tmp_path, "photo.png", ("ramp", "core", "grey.jpg"))
    assert np.abs(decode(dataset, row, IDENTITY).masks["ramp"].astype(int) - ramp).max() < 8


def test_masks_that_could_mean_anything_are_refused(tmp_path: Path, photo: object) -> None:
    photo(tmp_path / "photo.png")
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "coloured.png")
    palette = Image.new("P", (40, 30), 1)
    palette.putpalette([0, 0, 0, 128, 0, 0])
    palette.save(tmp_path / "palette.png")
    Image.new("RGBA", (40, 30), (0, 0, 0, 9)).save(tmp_path / "alpha.png")
    Image.fromarray(np.eye(30, 40, dtype=np.uint8)).save(tmp_path / "zero_one.png")
    for name, message in [
        ("coloured.png", "the mask is coloured"),
        ("palette.png", "the mask is coloured .a palette"),
        ("alpha.png", "transparent pixels"),
        ("zero_one.png", "holds 0 and 1 only"),
    ]:
        dataset, row = one(tmp_path, "photo.png", ("thing", "core", name))
        with pytest.raises(DataError, match=rf"{name}: .*{message}") as caught:
            decode(dataset, row, IDENTITY)
        assert caught.value.hint


def test_a_mask_of_the_wrong_size_names_both_sizes(beetles: Path) -> None:
    Image.new("L", (41, 30)).save(beetles / "masks" / "dung" / "001.png")
    dataset = open_dataset(str(beetles))
    row = next(row for row in dataset.images if row.id == "dung/001.jpg")
    with pytest.raises(DataError, match=r"001\.png: the mask has 41 x 30 pixels, its photo has 40 x 30"):
        decode(dataset, row, IDENTITY)


@pytest.mark.parametrize(("suffix", "keep"), [("jpg", 0.6), ("png", 0.6), ("webp", 0.6), ("tif", 0.6), ("bmp", 0.6)])
def test_a_cut_off_image_is_refused_even_where_others_allow_it(
    tmp_path: Path, suffix: str, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = tmp_path / f"photo.{suffix}"
    Image.fromarray(noise).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match=rf"photo\.{suffix}") as caught:
        pixels_of(tmp_path, file.name)
    assert "Restore" in (caught.value.hint or "")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "script.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, message in [("text", "not an image"), ("empty", "is empty"), ("script", "not an image")]:
        with pytest.raises(DataError, match=rf"{name}\.jpg.*{message}"):
            pixels_of(tmp_path, f"{name}.jpg")


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10_100, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_claiming(width, height))
    with pytest.raises(DataError, match=r"bomb\.png: .*million pixels, more than the 100 million allowed") as caught:
        pixels_of(tmp_path, "bomb.png")
    assert "Scale the photo" in (caught.value.hint or "")


def test_core_is_the_union_of_core_masks(tmp_path: Path, photo: object, mask: object) -> None:
    photo(tmp_path / "photo.png")
    mask(tmp_path / "head.png", box=(0, 0, 10, 10))
    mask(tmp_path / "body.png", box=(8, 8, 20, 20))
    mask(tmp_path / "leaf.png", box=(30, 20, 40, 30))
    masks = [("head", "core", "head.png"), ("leaf", "spurious", "leaf.png"), ("body", "core", "body.png")]
    dataset, row = one(tmp_path, "photo.png", *masks)
    decoded = decode(dataset, row, IDENTITY)
    assert set(decoded.masks) == {"head", "leaf", "body"}
    assert decoded.core is not None
    assert np.array_equal(decoded.core, np.maximum(decoded.masks["head"], decoded.masks["body"]))
    assert decoded.core.dtype == np.uint8
    without = replace(row, masks=tuple(mask for mask in row.masks if mask.role == "spurious"))
    assert decode(dataset, without, IDENTITY).core is None


def test_many_threads_decode_the_same_pixels(beetles: Path) -> None:
    dataset = open_dataset(str(beetles))
    geometry = Geometry(height=64, width=64, crop_pct=0.9)
    alone = [decode(dataset, row, geometry) for row in dataset.images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda row: decode(dataset, row, geometry), dataset.images * 10))
    for number, decoded in enumerate(together):
        assert np.array_equal(decoded.pixels, alone[number % len(alone)].pixels)
        assert np.array_equal(decoded.masks["beetle"], alone[number % len(alone)].masks["beetle"])


def test_masks_in_a_crop_must_be_square(tmp_path: Path, photo: object, mask: object) -> None:
    photo(tmp_path / "photo.png")
    mask(tmp_path / "mask.png")
    dataset, row = one(tmp_path, "photo.png", ("fin", "core", "mask.png"))
    with pytest.raises(DataError, match=r"mask\.png: a mask in the published crop must be square.*40 x 30"):
        read_mask(dataset, replace(row.masks[0], frame="crop"), read_photo(dataset, row))


def test_an_elongated_photo_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (1, 20000)).save(tmp_path / "needle.png")
    dataset, row = one(tmp_path, "needle.png")
    with pytest.raises(DataError, match=r"needle\.png: 1 x 20000 pixels: too elongated"):
        decode(dataset, row, Geometry(height=224, width=224, crop_pct=0.875))
