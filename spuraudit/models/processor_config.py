"""transformers' preprocessor_config.json -> how a photo becomes the network's input, in our terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.errors import ModelError
from spuraudit.models.preprocess import PreprocessOverrides

if TYPE_CHECKING:
    from collections.abc import Mapping

# PIL's numbers of its filters.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_WAY_OUT = "Give the weight file itself with --arch, --mean, --std, --img-size, --crop-pct and --interpolation."
# ConvNextImageProcessor resizes to side / crop_pct and cuts out the centre below this side, and squashes from it on.
_CONVNEXT_SQUASHES_FROM = 384


@dataclass(frozen=True)
class _Way:
    """How a processor of transformers reads its entries.

    square: a bare number as size is both sides, not the shorter one. crops: whether it cuts out the centre where its
    file does not say.
    """

    square: bool
    crops: bool


# The classes whose resize and crop follow `size`, `do_center_crop` and `crop_size` alone (transformers 4.20 to 5).
_WAYS = {
    "ViT": _Way(square=True, crops=False),
    "DeiT": _Way(square=True, crops=True),
    "Beit": _Way(square=True, crops=False),
    "Siglip": _Way(square=True, crops=False),
    "DINOv3ViT": _Way(square=True, crops=False),
    "Bit": _Way(square=False, crops=True),
    "CLIP": _Way(square=False, crops=True),
    "MobileNetV1": _Way(square=False, crops=True),
    "MobileNetV2": _Way(square=False, crops=True),
}


def overrides_of(config: Mapping[str, Any], file: str) -> PreprocessOverrides:
    """The evaluation transform that `config`, the content of `file`, states.

    Raises ModelError for a processor whose transform is not a resize, a centre crop and a normalisation.
    """
    family = _family(config, file)
    if config.get("do_flip_channel_order"):
        raise ModelError(f"{file}: the network takes its channels as blue, green, red.", _WAY_OUT)
    if config.get("do_resize") is False:
        raise ModelError(f"{file}: images are not resized, so the input has no size.", _WAY_OUT)
    mean, std = _normalisation(config, file)
    geometry = _convnext(config, file) if family == "ConvNext" else _generic(config, file, _WAYS[family])
    return PreprocessOverrides(mean=mean, std=std, interpolation=_filter(config, file), **geometry)


def _family(config: Mapping[str, Any], file: str) -> str:
    stated = config.get("image_processor_type") or config.get("feature_extractor_type")
    family = str(stated or "ViT")  # before transformers 4.20 the files did not say
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        family = family.removesuffix(ending)
    if family not in _WAYS and family != "ConvNext":
        known = ", ".join(f"{name}ImageProcessor" for name in [*_WAYS, "ConvNext"])
        raise ModelError(f"{file}: how {stated} prepares images is not known here.", f"Known are {known}. {_WAY_OUT}")
    return family


def _normalisation(config: Mapping[str, Any], file: str) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """mean and std in units of [0, 1] pixels: the processor divides 0..255 pixels by a factor of its own."""
    if config.get("rescale_offset"):
        raise ModelError(f"{file}: pixels are shifted before they are normalised (rescale_offset).", _WAY_OUT)
    if config.get("do_normalize") is False:
        config = {**config, "image_mean": [0.0], "image_std": [1.0]}
    mean, std = _numbers(config, "image_mean", file), _numbers(config, "image_std", file)
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1
    if not isinstance(factor, int | float) or not factor > 0:
        raise ModelError(f"{file}: rescale_factor is {factor!r}, not a number above 0.")
    scale = 255 * factor
    if math.isclose(scale, 1, rel_tol=1e-6):
        return mean, std
    if mean is None or std is None:
        raise ModelError(f"{file}: pixels are multiplied by {factor:g}, but image_mean and image_std are not stated.")
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _numbers(config: Mapping[str, Any], name: str, file: str) -> tuple[float, ...] | None:
    value = config.get(name)
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        raise ModelError(f"{file}: {name} is {value!r}, not a list of numbers.")
    return tuple(float(one) for one in values)


def _filter(config: Mapping[str, Any], file: str) -> str | None:
    stated = config.get("resample")
    if stated is None:
        return None
    if stated not in _FILTERS:
        known = ", ".join(f"{number} ({name})" for number, name in _FILTERS.items())
        raise ModelError(f"{file}: resample is {stated!r}; known are {known}.", _WAY_OUT)
    return _FILTERS[stated]


def _sides(value: object, name: str, file: str, square: bool) -> tuple[int, int] | int:
    """(height, width), or the length of the shorter edge."""
    if isinstance(value, int):
        return (value, value) if square else value
    if isinstance(value, dict):
        height, width, edge = value.get("height"), value.get("width"), value.get("shortest_edge")
        if isinstance(height, int) and isinstance(width, int):
            return height, width
        if isinstance(edge, int) and value.get("longest_edge") is None:
            return edge
    raise ModelError(f"{file}: {name} is {value!r}, neither height and width nor a shortest edge.", _WAY_OUT)


def _generic(config: Mapping[str, Any], file: str, way: _Way) -> dict[str, Any]:
    resized = _sides(config.get("size"), "size", file, way.square)
    crop: tuple[int, int] | int | None = None
    if config.get("do_center_crop", way.crops):
        crop = _sides(config.get("crop_size", config.get("size")), "crop_size", file, square=True)
    if isinstance(resized, int):
        size = (resized, resized) if crop is None else (crop, crop) if isinstance(crop, int) else crop
        if size[0] != size[1]:
            raise ModelError(f"{file}: a crop of {size[0]}x{size[1]} from the shorter edge is not a square.", _WAY_OUT)
        return {"img_size": size, "crop_mode": "center", "crop_pct": _share(size[0], resized, file)}
    size = resized if crop is None else (crop, crop) if isinstance(crop, int) else crop
    share = _share(size[0], resized[0], file)
    if math.floor(size[1] / share) != resized[1]:
        raise ModelError(
            f"{file}: images become {resized[0]}x{resized[1]}, of which {size[0]}x{size[1]} is cut out: another share "
            "of the height than of the width.",
            _WAY_OUT,
        )
    return {"img_size": size, "crop_mode": "squash", "crop_pct": share}


def _convnext(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    side = _sides(config.get("size"), "size", file, square=False)
    if not isinstance(side, int):
        raise ModelError(f"{file}: size is {config.get('size')!r}, not a shortest edge.", _WAY_OUT)
    if side >= _CONVNEXT_SQUASHES_FROM:
        return {"img_size": (side, side), "crop_mode": "squash", "crop_pct": 1.0}
    return {"img_size": (side, side), "crop_mode": "center", "crop_pct": config.get("crop_pct") or 224 / 256}


def _share(side: int, resized: int, file: str) -> float:
    """The crop_pct with which an input of `side` pixels is cut out of `resized` ones: floor(side / share)."""
    if not 0 < side <= resized:
        raise ModelError(f"{file}: {side} pixels cannot be cut out of {resized}.", _WAY_OUT)
    share = side / resized
    while math.floor(side / share) < resized:
        share = math.nextafter(share, 0)
    return share
