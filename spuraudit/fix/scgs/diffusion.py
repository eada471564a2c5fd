"""New images by a diffusers inpainting pipeline, from a local folder or the hub (SCGS, section II.E).

The paper says "Stable Diffusion" and no settings. Here: 512 pixels, 50 steps, guidance 7.5, strength 1, and the prompt
`a photo of a {label}`; all of it is recorded. A pipeline decodes the whole image anew, so that what it should keep
changes as much as the rest: kept pixels are pasted back afterwards.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from spuraudit.errors import ModelError, UsageError
from spuraudit.fix.scgs.generate import Drawn, paste_back, seam_of
from spuraudit.models.device import resolve_device
from spuraudit.models.hub import offline, parse_repo, way_out, why_not
from spuraudit.models.precision import resolve_precision
from spuraudit.perturb.draws import key_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spuraudit.fix.scgs.generate import Fact, Scene

#: 8 for the autoencoder, twice that for pipelines that pack latents in pairs.
_MULTIPLE = 16
_SMALLEST, _LARGEST = 64, 2048
#: A stretched image stays affordable: no side is more than this many times the size.
_LONGEST = 2
_ATTEMPTS = 5
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_TAKES = (
    "prompt",
    "image",
    "mask_image",
    "height",
    "width",
    "num_inference_steps",
    "guidance_scale",
    "strength",
    "generator",
)
_INSTEAD = "give the folder of a pipeline, or use composites, which need no weights"


@dataclass(frozen=True)
class DiffusionSettings:
    """prompt: with `{label}` for the class name. size: side in pixels of a square image; others get about its area.

    seam: soft edge around the kept region in pixels, None = 1/56 of the image's smaller side.
    Raises UsageError for values that no pipeline can work with.
    """

    prompt: str = "a photo of a {label}"
    size: int = 512
    steps: int = 50
    guidance: float = 7.5
    strength: float = 1.0
    seam: int | None = None

    def __post_init__(self) -> None:
        if "{label}" not in self.prompt:
            raise UsageError(f"The prompt {self.prompt!r} names no class.", "Write {label} where its name belongs.")
        if self.size % 8 or not _SMALLEST <= self.size <= _LARGEST:
            raise UsageError(
                f"A diffusion size of {self.size} pixels is impossible.",
                f"Use a multiple of 8 from {_SMALLEST} to {_LARGEST}; most pipelines were trained at 512 or 1024.",
            )
        if self.steps < 1:
            raise UsageError(f"{self.steps} diffusion steps are impossible.", "Use 1 or more; 50 is usual.")
        # NaN fails every comparison
        if not 0 < self.strength <= 1:
            raise UsageError(f"The strength {self.strength} is out of range.", "Use more than 0 and at most 1.")
        if not 0 <= self.guidance < float("inf"):
            raise UsageError(f"The guidance {self.guidance} is out of range.", "Use 0 or more; 7.5 is usual.")
        if self.seam is not None and self.seam < 0:
            raise UsageError(f"A seam of {self.seam} pixels is impossible.", "Use 0 or more.")


@dataclass(frozen=True, eq=False)
class DiffusionGenerator:
    """A loaded inpainting pipeline; `load_diffusion` makes one. facts: what is the same for all of its images."""

    pipeline: Any
    settings: DiffusionSettings
    facts: dict[str, Fact] = field(default_factory=dict)

    def draw(self, scene: Scene) -> Drawn:
        """Repaint what the scene does not keep, with the class as prompt, at a keyed seed.

        facts: settings, prompt, width and height worked at, attempts. A pipeline with a safety checker blackens what it
        dislikes: such an image is drawn again with another seed. Raises ModelError where it dislikes five in a row.
        """
        order = scene.order
        # Not str.format: names may hold braces.
        prompt = self.settings.prompt.replace("{label}", order.name)
        for attempt in range(_ATTEMPTS):
            key = key_of(order.seed, order.source, order.label, "scgs.diffusion", attempt)
            image, flagged = self._inpaint(scene, prompt, key)
            if not flagged:
                break
        else:
            raise ModelError(
                f"{order.source}: the pipeline's safety checker blackened {_ATTEMPTS} images in a row for {prompt!r}.",
                "Leave the image out, or use a pipeline without a safety checker.",
            )
        height, width = scene.keep.shape
        seam = seam_of(scene.keep.shape) if self.settings.seam is None else self.settings.seam
        made: dict[str, Fact] = {"prompt": prompt, "width": image.width, "height": image.height}
        made |= {"attempts": attempt + 1, "seam": seam}
        restored = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
        return Drawn(paste_back(scene, restored, seam), None, {**self.facts, **made})

    def _inpaint(self, scene: Scene, prompt: str, key: int) -> tuple[Image.Image, bool]:
        """The pipeline's image at its own size, and whether it was blackened."""
        size = _working_size(scene.keep.shape[1], scene.keep.shape[0], self.settings.size)
        answer = self.pipeline(
            prompt=prompt,
            image=Image.fromarray(scene.pixels).resize(size, Image.Resampling.LANCZOS),
            mask_image=_repainted(scene.keep).resize(size, Image.Resampling.NEAREST),
            width=size[0],
            height=size[1],
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance,
            strength=self.settings.strength,
            # On the CPU: every device then starts from the same noise. torch's CPU generator reads 32 bits of its seed.
            generator=torch.Generator("cpu").manual_seed(key & 0xFFFFFFFF),
        )
        flags = getattr(answer, "nsfw_content_detected", None)
        return answer.images[0].convert("RGB"), bool(flags and flags[0])


def load_diffusion(
    pipeline: str,
    settings: DiffusionSettings,
    *,
    device: str = "auto",
    precision: str = "fp32",
    allow_download: bool = False,
) -> DiffusionGenerator:
    """The inpainting pipeline in a local folder (with model_index.json), or of a hub repository `org/name[@revision]`.

    Plain text-to-image pipelines become their inpainting form where diffusers knows one (Stable Diffusion 1 to 3, XL,
    Flux and others). Nothing is fetched unless it is allowed. No code from a folder or repository is run.
    Raises ModelError where diffusers is missing, the pipeline is not there or not readable, or lacks a setting;
    UsageError for an impossible device or precision.
    """
    _need_diffusers()
    place = resolve_device(device)
    numbers = resolve_precision(precision, place)
    where, revision = _located(pipeline)
    loaded = _read(where, revision, allow_download=allow_download)
    missing = [name for name in _TAKES if name not in inspect.signature(loaded.__call__).parameters]
    if missing:
        raise ModelError(
            f"{pipeline}: {type(loaded).__name__} takes no {', '.join(missing)}.",
            "Use an inpainting pipeline of the Stable Diffusion or Flux families.",
        )
    loaded.to(place, _TYPES[numbers])
    loaded.set_progress_bar_config(disable=True)
    facts: dict[str, Fact] = {
        "generator": "diffusion",
        "pipeline": pipeline,
        "pipeline_class": type(loaded).__name__,
        "diffusers": version("diffusers"),
        "steps": settings.steps,
        "guidance": settings.guidance,
        "strength": settings.strength,
        "precision": numbers,
        "device": str(place),
    }
    return DiffusionGenerator(loaded, settings, facts)


def _repainted(keep: NDArray[np.bool_]) -> Image.Image:
    """The one place where polarity turns: SCGS keeps white (True), diffusers repaints white (255)."""
    return Image.fromarray(np.where(keep, 0, 255).astype(np.uint8))


def _working_size(width: int, height: int, size: int) -> tuple[int, int]:
    """About size x size pixels in the image's proportions, in multiples that pipelines accept: (width, height)."""
    if width == height:
        return size, size
    factor = size / (width * height) ** 0.5
    sides = (min(max(factor * side, _SMALLEST), _LONGEST * size) for side in (width, height))
    across, down = (_MULTIPLE * max(1, round(side / _MULTIPLE)) for side in sides)
    return across, down


def _need_diffusers() -> None:
    missing = [name for name in ("diffusers", "transformers") if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"A diffusion pipeline needs {' and '.join(missing)}, not installed here.",
            "pip install 'spuraudit[scgs]', or use composites, which need no weights.",
        )


def _located(pipeline: str) -> tuple[str, str | None]:
    """A folder, or a repository and its revision."""
    folder = Path(pipeline).expanduser()
    # Path("") is the current folder
    if pipeline.strip() and folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise ModelError(
                f"{pipeline}: no diffusers pipeline here (no model_index.json).",
                "Give a folder that `save_pretrained` wrote, or a hub repository org/name.",
            )
        return str(folder), None
    if pipeline.count("/") != 1 or pipeline.startswith((".", "/", "~")) or folder.exists():
        raise ModelError(
            f"{pipeline}: neither a folder nor a hub repository.", "Give a pipeline's folder, or org/name[@revision]."
        )
    repo = parse_repo(pipeline)
    return repo.name, repo.revision


def _read(where: str, revision: str | None, *, allow_download: bool) -> Any:
    # By name: installed or not, types are checked alike.
    diffusers: Any = import_module("diffusers")
    local_only = not allow_download or offline() is not None
    try:
        return diffusers.AutoPipelineForInpainting.from_pretrained(
            where,
            revision=revision,
            local_files_only=local_only,
            low_cpu_mem_usage=find_spec("accelerate") is not None,
        )
    except Exception as error:  # hub, network, disk, config and weights raise unrelated kinds
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if local_only and not Path(where).is_dir():
            raise ModelError(
                f"{where} is not complete in the local cache, and {why_not()}.",
                way_out(_INSTEAD),
            ) from error
        raise ModelError(
            f"{where}: no inpainting pipeline could be read: {first[:200]}",
            "Check that the folder or repository holds a whole diffusers pipeline that can inpaint.",
        ) from error
