"""Folders as `spuraudit annotate` fills them, without a model: plain colours, one bright cell per map."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from spuraudit.record.annotation_tables import Patch, Place
from spuraudit.record.annotations import About, AnnotatedData, ExplainedImage, Layer, maps_id
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import ModelRecord, ToolRecord
from spuraudit.report.annotate_page import write_maps_pages, write_neurons_pages

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</script><img src=x onerror=alert(1)>"
IDS = ('a,"b"/1.jpg', "plain/2.jpg", f"{HOSTILE}/3.jpg", "é ü/4.jpg")
PATCHES = [
    Patch(0, Place(IDS[1], 1, 1), 3.0),
    Patch(0, Place(IDS[0], 2, 3), 2.0),
    Patch(1, Place(IDS[1], 1, 1), 5.0),
    Patch(2, Place(IDS[2], 7, 7), 1.0),
]


def about(looked_for: str | None = None) -> About:
    """Four images of a hostile class, a 7x7 grid of 3 channels at 224 pixels."""
    images = [ExplainedImage(id=name, label=0, class_name=HOSTILE, output=0) for name in IDS]
    preprocess = Preprocess(geometry=Geometry(height=224, width=224, crop_pct=1), mean=(0, 0, 0), std=(1, 1, 1))
    model = ModelRecord(
        name=HOSTILE,
        source="file",
        arch="toy",
        arch_origin="checkpoint",
        parameters=1,
        num_classes=2,
        preprocess=preprocess,
    )
    return About(
        tool=ToolRecord(version="0"),
        id=maps_id(images, maps()),
        origin="model",
        explains="label",
        model=model,
        layer=Layer(name=HOSTILE, rows=7, columns=7, channels=3),
        data=AnnotatedData(name=HOSTILE, fingerprint="0" * 64, split="train", available=9),
        images=images,
        neurons=3,
        patches_each=2,
        looked_for=looked_for,
    )


def maps() -> np.ndarray:
    """(4, 7, 7): the bright cell of image k lies on the diagonal; the last map is 0 everywhere."""
    made = np.zeros((4, 7, 7), dtype=np.float32)
    for number in range(3):
        made[number, number, number] = 0.001 * (number + 1)
    return made


def pictures(noise: bool = False) -> list[bytes]:
    """Four WebP pictures: plain grey, or noise, which no format makes small."""
    rng = np.random.default_rng(0)
    made = []
    for _ in IDS:
        buffer = io.BytesIO()
        pixels = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) if noise else np.full((224, 224, 3), 128, np.uint8)
        Image.fromarray(pixels).save(buffer, "WEBP", quality=80)
        made.append(buffer.getvalue())
    return made


def write_pages(folder: Path) -> tuple[Path, Path]:
    """annotate.html and neurons.html."""
    (maps_page,) = write_maps_pages(folder, about(), maps(), pictures())
    (neurons_page,) = write_neurons_pages(folder, about(), PATCHES, pictures())
    return maps_page, neurons_page
