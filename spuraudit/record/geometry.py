"""How a photo becomes the model's input: geometry (shared by image and masks) and normalisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spuraudit.record.base import Part

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
CropMode = Literal["center", "squash", "border"]


class Geometry(Part):
    """Resize and crop, as timm's evaluation transform does it.

    `center`: the shorter side is resized to floor(size / crop_pct) and the centre is cut out;
    `squash`: both sides are resized to floor(size / crop_pct) without keeping the aspect, centre cut out;
    `border`: the longer side is resized to floor(size / crop_pct), the rest is padded with
    the mean colour of the normalisation.
    """

    height: int = Field(gt=0, description="Height of the model's input, pixels.")
    width: int = Field(gt=0, description="Width of the model's input, pixels.")
    crop_pct: float = Field(gt=0, description="Input size divided by the resized size, usually 0.8 to 1.")
    crop_mode: CropMode = "center"
    interpolation: Interpolation = "bilinear"


class Preprocess(Part):
    """Everything between a decoded photo and the network. Perturbations happen in [0, 1] pixels, before mean/std."""

    geometry: Geometry
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    origin: dict[str, str] = Field(
        default_factory=dict,
        description="Where each value came from, by name of the value: 'timm', 'checkpoint', '--mean', 'dataset'.",
    )
