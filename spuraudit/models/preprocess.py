"""How a photo becomes the input of a network: one merge of the known sources, with the origin of every value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from spuraudit.errors import ModelError, SpurauditError, UsageError
from spuraudit.record.geometry import CropMode, Geometry, Interpolation, Preprocess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spuraudit.models.model import Model

_FLAGS = {
    "mean": "--mean",
    "std": "--std",
    "interpolation": "--interpolation",
    "crop_pct": "--crop-pct",
    "crop_mode": "--crop-mode",
    "img_size": "--img-size",
}


@dataclass(frozen=True)
class PreprocessOverrides:
    """Values that replace those of the architecture. None: keep.

    mean, std: one value for all channels or three (R, G, B), in units of [0, 1] pixels.
    crop_pct: input size divided by the resized size, above 0 and at most 1.
    img_size: the side of a square input, or (height, width), in pixels.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None
    img_size: int | tuple[int, int] | None = None

    def given(self) -> dict[str, Any]:
        """The values that are not None, by name."""
        return {name: value for name in _FLAGS if (value := getattr(self, name)) is not None}


NO_OVERRIDES = PreprocessOverrides()


def input_size(value: int | Sequence[int], name: str, error: type[SpurauditError]) -> tuple[int, int]:
    """A side or (height, width) -> (height, width) in pixels; raises `error` naming `name`."""
    size = (value, value) if isinstance(value, int) else tuple(value)
    if len(size) != 2 or not all(isinstance(side, int) and 1 <= side <= 8192 for side in size):
        raise error(
            f"{name} must be a number of pixels from 1 to 8192, or height and width; got {value!r}.",
            "For example 224.",
        )
    return size[0], size[1]


def _channels(value: Sequence[float], name: str, error: type[SpurauditError], positive: bool) -> tuple[float, ...]:
    numbers = tuple(float(number) for number in value)
    if len(numbers) not in (1, 3):
        raise error(f"{name} needs one value or three (R, G, B); got {len(numbers)}.", "For example 0.5 0.5 0.5.")
    low_ok = all(number > 0 if positive else number >= 0 for number in numbers)
    if not all(map(math.isfinite, numbers)) or not low_ok or max(numbers) > 1:
        interval = "above 0 and at most 1" if positive else "from 0 to 1"
        raise error(
            f"{name} must be {interval}, in units of [0, 1] pixels; got {list(numbers)}.",
            "Divide values that are meant for 0..255 pixels by 255.",
        )
    return numbers if len(numbers) == 3 else numbers * 3


def _checked(name: str, value: Any, label: str, error: type[SpurauditError]) -> Any:
    """One value in its final form: (3,) floats, (height, width), a number or a known word."""
    try:
        if name in ("mean", "std"):
            return _channels([value] if isinstance(value, int | float) else value, label, error, name == "std")
        if name == "img_size":
            return input_size(value, label, error)
        if name == "crop_pct":
            if not 0 < float(value) <= 1:
                raise error(f"{label} must be above 0 and at most 1; got {value!r}.", "Usually 0.875 to 1.")
            return float(value)
    except (TypeError, ValueError):
        raise error(f"{label} is not a number or list of numbers: {value!r}.") from None
    known = get_args(Interpolation) if name == "interpolation" else get_args(CropMode)
    if value not in known:
        raise error(f"{label} must be one of {', '.join(known)}; got {value!r}.")
    return value


def _of_architecture(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """timm's evaluation values. `input_size` and not `test_input_size`: the size the weights were trained at.

    Missing entries take the defaults of timm.data.resolve_data_config.
    """
    channels, height, width = cfg.get("input_size") or (3, 224, 224)
    if channels != 3:
        raise ModelError(f"The architecture takes {channels} channels; only RGB networks can be audited.")
    return {
        "mean": tuple(cfg.get("mean") or (0.485, 0.456, 0.406)),
        "std": tuple(cfg.get("std") or (0.229, 0.224, 0.225)),
        "interpolation": cfg.get("interpolation") or "bicubic",
        "crop_pct": cfg.get("crop_pct") or 0.875,
        "crop_mode": cfg.get("crop_mode") or "center",
        "img_size": (height, width),
    }


def resolve(
    cfg: Mapping[str, Any],
    *,
    cfg_origin: str,
    checkpoint: PreprocessOverrides = NO_OVERRIDES,
    overrides: PreprocessOverrides = NO_OVERRIDES,
    checkpoint_file: str = "the checkpoint",
    built_for: tuple[int, int] | None = None,
    built_for_origin: str = "",
) -> Preprocess:
    """The evaluation transform: architecture, then checkpoint, then what the user said; the last one wins.

    cfg: a timm pretrained_cfg. checkpoint_file: its name, for messages. built_for: the (height, width) the constructor
    was given, where it was given one.
    Raises UsageError for impossible overrides, ModelError for impossible values from elsewhere.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, value in _of_architecture(cfg).items():
        values[name] = _checked(name, value, f"{name} of the architecture ({cfg_origin})", ModelError)
        origin[name] = cfg_origin
    for name, value in checkpoint.given().items():
        values[name] = _checked(name, value, f"{name} in {checkpoint_file}", ModelError)
        origin[name] = "checkpoint"
    if built_for is not None:
        values["img_size"], origin["img_size"] = built_for, built_for_origin
    for name, value in overrides.given().items():
        values[name] = _checked(name, value, _FLAGS[name], UsageError)
        origin[name] = _FLAGS[name]
    height, width = values.pop("img_size")
    mean, std = values.pop("mean"), values.pop("std")
    return Preprocess(geometry=Geometry(height=height, width=width, **values), mean=mean, std=std, origin=origin)


def with_geometry(model: Model, geometry: Geometry, origin: str) -> Model:
    """The same model with another resize and crop; the network is shared, not copied.

    For datasets whose masks fix the geometry (Salient ImageNet). origin: what is written down as the source.
    """
    old = model.record.preprocess
    origins = {**old.origin, "crop_pct": origin, "crop_mode": origin}
    preprocess = old.model_copy(update={"geometry": geometry, "origin": origins})
    return replace(model, record=model.record.model_copy(update={"preprocess": preprocess}))
