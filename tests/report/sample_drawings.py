"""Drawn pictures for sample runs: a bird shape on land or water, and what the audits would do to it. No photos."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 224
GROUND = {
    "land": ((196, 214, 168), (120, 150, 84)),
    "water": ((176, 208, 226), (64, 116, 158)),
    "paper": ((236, 230, 218), (206, 198, 182)),
}


def scene(background: str, seed: int) -> tuple[Image.Image, Image.Image]:
    """(picture, soft mask of the bird), both 224x224."""
    draws = np.random.default_rng(seed)
    sky, ground = GROUND[background]
    picture = Image.new("RGB", (SIZE, SIZE), sky)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 120, SIZE, SIZE), fill=ground)
    for _ in range(26):
        x, y = int(draws.integers(0, SIZE)), int(draws.integers(124, SIZE))
        shade = tuple(int(channel + draws.integers(-22, 22)) for channel in ground)
        if background == "water":
            pen.line((x - 16, y, x + 16, y), fill=shade, width=3)
        else:
            pen.polygon(((x - 5, y + 12), (x, y - 10), (x + 5, y + 12)), fill=shade)
    mask = Image.new("L", (SIZE, SIZE), 0)
    x, y = int(draws.integers(86, 130)), int(draws.integers(88, 124))
    for canvas, body, wing, beak in (
        (pen, (74, 62, 58), (112, 92, 80), (222, 150, 40)),
        (ImageDraw.Draw(mask), 255, 255, 255),
    ):
        canvas.ellipse((x - 46, y - 22, x + 46, y + 30), fill=body)
        canvas.ellipse((x + 22, y - 48, x + 62, y - 6), fill=body)
        canvas.polygon(((x + 58, y - 32), (x + 82, y - 22), (x + 58, y - 18)), fill=beak)
        canvas.polygon(((x - 30, y - 6), (x + 20, y - 10), (x - 22, y + 44)), fill=wing)
    return picture, mask.filter(ImageFilter.GaussianBlur(2))


def digit(background: int, corner: int | None) -> Image.Image:
    """A dark 28x28 drawing of a stroke; a 4x4 square in a corner (0 to 3, clockwise from the upper left) or none."""
    picture = Image.new("RGB", (28, 28), (0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.arc((8, 4, 20, 16), 0, 360, fill=(230, 230, 230), width=2)
    pen.line((19, 10, 14 + background % 5, 24), fill=(230, 230, 230), width=2)
    if corner is not None:
        x, y = ((0, 0), (24, 0), (24, 24), (0, 24))[corner]
        pen.rectangle((x, y, x + 3, y + 3), fill=(200, 200, 200))
    return picture


def noised(picture: Image.Image, mask: Image.Image, sigma: float, seed: int) -> Image.Image:
    """Gaussian noise of `sigma` (in [0, 1] pixels) where the mask is white, clamped."""
    pixels = np.asarray(picture, dtype=np.float32) / 255
    weight = np.asarray(mask, dtype=np.float32)[..., None] / 255
    noise = np.random.default_rng(seed).standard_normal(pixels.shape).astype(np.float32)
    return Image.fromarray((np.clip(pixels + sigma * weight * noise, 0, 1) * 255).astype(np.uint8))


def region(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The mask as a heat map over a grey version of the picture."""
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float32)
    weight = np.asarray(mask, dtype=np.float32)[..., None] / 255
    colour = np.array([253, 231, 55], dtype=np.float32) * weight + np.array([40, 40, 92], dtype=np.float32) * (
        1 - weight
    )
    return Image.fromarray((grey * 0.45 + colour * 0.55).astype(np.uint8))


def invert(mask: Image.Image) -> Image.Image:
    return Image.eval(mask, lambda value: 255 - value)


def composite(front: Image.Image, mask: Image.Image, back: str, seed: int) -> Image.Image:
    """`front`'s bird before another scene."""
    behind, _ = scene(back, seed)
    empty = behind.filter(ImageFilter.GaussianBlur(6))
    return Image.composite(front, empty, mask)


def webp(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=80)
    return out.getvalue()
