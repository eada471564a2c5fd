"""The keys of a zoo file, checked: what each may hold. `zoo_file` turns them into entries."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from spuraudit.record.geometry import CropMode, Interpolation

#: Adapter -> architectures, by their authors' names; roles of the files they come in.
ADAPTERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dino": (("vits8", "vits16", "resnet50"), ("backbone", "head")),
    "mocov3": (("vit_small", "vit_base", "resnet50"), ("file",)),
    "simclr": (("resnet50_1x",), ("file",)),
}
_ROLES = ("file", "backbone", "head")
# A drive letter is one character: C:\weights is a path.
_WORD = re.compile(r"([a-z][a-z0-9_-]+):")
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")
# Names that Windows keeps for devices, whatever follows the dot.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def is_path(spec: str) -> bool:
    """Whether a spec names a file: it does not begin with a word and a colon."""
    return _WORD.match(spec) is None


def check_id(id: str) -> str:
    """An id that can name a folder anywhere. Raises ValueError."""
    if not _ID.fullmatch(id) or _DEVICES.fullmatch(id):
        raise ValueError(
            f"{id!r} cannot name a folder: letters, digits, '.', '_' and '-', at most 100, beginning with a letter or "
            "digit and not ending with a dot"
        )
    return id


def _as_list(value: Any) -> Any:
    """One number stands for all channels; of a size, for both sides."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _sides(value: Any) -> Any:
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value


def _one_or_three(value: list[float]) -> list[float]:
    if len(value) not in (1, 3):
        raise ValueError(f"one number or three (R, G, B), found {len(value)}")
    return value


def _height_and_width(value: list[int]) -> list[int]:
    if len(value) != 2:
        raise ValueError(f"a side, or height and width, in pixels; found {len(value)} numbers")
    return value


def _scalars(value: dict[str, Any]) -> dict[str, Any]:
    for name, one in value.items():
        if not isinstance(one, str | int | float | bool | None):
            raise ValueError(f"{name} must be text, a number, true, false or null")
    return value


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _titled(value: Any) -> Any:
    return {"title": value} if isinstance(value, str) else value


_Channel = Annotated[float, Field(ge=0, le=1)]
_Deviation = Annotated[float, Field(gt=0, le=1)]
_Side = Annotated[int, Field(ge=1, le=8192)]
_Accuracy = Annotated[float, Field(ge=0, le=100)]


class Keys(BaseModel):
    """Strict: `core: yes` is a boolean in YAML and would otherwise become the figure 1."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class PreprocessKeys(Keys):
    """What replaces the values of the architecture, in the units of `PreprocessOverrides`."""

    mean: Annotated[list[_Channel], BeforeValidator(_as_list), AfterValidator(_one_or_three)] | None = None
    std: Annotated[list[_Deviation], BeforeValidator(_as_list), AfterValidator(_one_or_three)] | None = None
    interpolation: Interpolation | None = None
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    crop_mode: CropMode | None = None
    img_size: Annotated[list[_Side], BeforeValidator(_sides), AfterValidator(_height_and_width)] | None = None

    def given(self) -> dict[str, Any]:
        """The values that are set, by name; lists as tuples."""
        return {name: tuple(value) if isinstance(value, list) else value for name, value in self if value is not None}


class PresetKeys(Keys):
    """Preprocessing for a kind of models: `specs` names the words before the colon of their specs."""

    note: str | None = None
    specs: Annotated[list[str], BeforeValidator(_words)]
    preprocess: PreprocessKeys


class AdapterKeys(Keys):
    """Files that need an adapter, by role."""

    kind: Literal["dino", "mocov3", "simclr"]
    arch: str
    file: str | None = None
    backbone: str | None = None
    head: str | None = None

    def files(self) -> dict[str, str]:
        """Role -> name, in the adapter's order."""
        return {role: getattr(self, role) for role in ADAPTERS[self.kind][1]}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> AdapterKeys:
        archs, roles = ADAPTERS[self.kind]
        if self.arch not in archs:
            raise ValueError(f"arch of {self.kind} must be one of {', '.join(archs)}; found {self.arch!r}")
        given = tuple(role for role in _ROLES if getattr(self, role) is not None)
        if given != roles:
            raise ValueError(f"{self.kind} comes as {' and '.join(roles)}; found {' and '.join(given) or 'no file'}")
        return self


class FiguresKeys(Keys):
    """Published figures in percent; rcs is 100 x RCS."""

    clean: _Accuracy | None = None
    core: _Accuracy | None = None
    spurious: _Accuracy | None = None
    rcs: Annotated[float, Field(ge=-100, le=100)] | None = None


class EntryKeys(Keys):
    """One model."""

    id: Annotated[str, AfterValidator(check_id)]
    name: str | None = None
    group: str | None = None
    spec: str | None = None
    adapter: AdapterKeys | None = None
    arch: str | None = None
    kwargs: Annotated[dict[str, Any], AfterValidator(_scalars)] = Field(default_factory=dict)
    preprocess: PreprocessKeys | None = None
    class_map: str | None = None
    classnames: str | None = None
    templates: str | None = None
    alternatives: list[str] = Field(default_factory=list)
    source: str | None = None
    licence: str | None = None
    note: str | None = None
    get: str | None = None
    published: FiguresKeys | None = None

    @model_validator(mode="after")
    def _loaded_one_way(self) -> EntryKeys:
        if (self.spec is None) == (self.adapter is None):
            raise ValueError("exactly one of `spec` and `adapter` says how it is loaded")
        if self.spec is not None and (not self.spec or self.spec.startswith("zoo:")):
            raise ValueError(f"the spec {self.spec!r} is not a model; name a file, timm:NAME or the like")
        if self.adapter is not None and (self.arch is not None or self.kwargs):
            raise ValueError("`arch` and `kwargs` go with a spec; an adapter's network is fixed")
        if "img_size" in self.kwargs and self.preprocess is not None and self.preprocess.img_size is not None:
            raise ValueError("the input size is given twice, in `kwargs` and in `preprocess`")
        return self


class SourceKeys(Keys):
    """What printed the figures; a text is its title."""

    title: str
    authors: str | None = None
    year: int | None = None
    arxiv: str | None = None
    table: str | None = None


class ZooFileKeys(Keys):
    """A whole zoo file."""

    version: Literal[1]
    extends: Literal["default"] | None = None
    source: Annotated[SourceKeys, BeforeValidator(_titled)] | None = None
    presets: dict[str, PresetKeys] = Field(default_factory=dict)
    models: list[EntryKeys] = Field(default_factory=list)
