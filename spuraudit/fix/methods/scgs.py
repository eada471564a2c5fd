"""SCGS (Li et al. 2025): new images that keep what misled the model and show the true class elsewhere.

The paper trains from ImageNet weights again; here stage 2 begins where the fix begins. Errors, clusters, masks and
drawing: fix/early_errors.py, fix/new_images.py and fix/scgs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from spuraudit.data.fingerprint import fingerprint
from spuraudit.errors import FixError, ModelError, UsageError
from spuraudit.fix.early_errors import EarlyOptions, errors_of, lacks_early
from spuraudit.fix.feed import repeated
from spuraudit.fix.generated_rows import SOURCE, rows_of, with_rows
from spuraudit.fix.head import find_head
from spuraudit.fix.job import Prepared
from spuraudit.fix.methods.base import Method, Options
from spuraudit.fix.new_images import (
    ErrorSource,
    Maker,
    composite_generator,
    counts_of_new,
    kept_of,
    orders_of,
    sampled_errors,
    shares_notes,
)
from spuraudit.fix.scgs.diffusion import DiffusionSettings, load_diffusion
from spuraudit.fix.scgs.folder import open_folder
from spuraudit.fix.scgs.masks import THRESHOLD
from spuraudit.fix.scgs.sampling import SHARE
from spuraudit.models.feature_grid import feature_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.fix.job import Job
    from spuraudit.fix.scgs.folder import GeneratedFolder, GeneratedImage
    from spuraudit.fix.scgs.generate import Generator

COMPOSITE = "composite"
#: Beside the generated images; its presence says that somebody has looked.
REJECTED = "rejected.txt"


class ScgsOptions(EarlyOptions):
    """Of `scgs`."""

    clusters: int = Field(default=2, ge=1, description="Of each class's errors (paper: 2; MetaShift 4).")
    sampled: float = Field(default=SHARE, gt=0, le=1, description="Share of a class's errors worked on (paper: 0.2).")
    fewest: int = Field(
        default=30,
        ge=1,
        description="Errors of a class worked on at least, where it has as many. On drawn shapes, composites of the "
        "paper's fifth of 30 errors were learned by heart; of all 30 they repaired. 1: the paper's share alone.",
    )
    cam_threshold: float = Field(
        default=THRESHOLD,
        gt=0,
        le=1,
        description="Kept is where the Grad-CAM++ map of the wrong answer reaches this (paper: red and orange).",
    )
    generator: str = Field(
        default=COMPOSITE,
        description="composite: objects of other training images are pasted, no weights needed; or the folder or hub "
        "id of a diffusers pipeline.",
    )
    diffusion: dict[str, Any] = Field(
        default_factory=dict, description="For a pipeline: prompt, size, steps, guidance, strength, seam."
    )
    share: float = Field(
        default=0.4,
        gt=0,
        description="New images of a class, per image of the other classes (paper: 0.4; CelebA 0.2).",
    )
    upweight: int = Field(
        default=0,
        ge=0,
        description="0: plain training on old and new images (SCGS). Else JTT + SCGS: the errors, not the new images, "
        "are drawn so many times more (JTT: 20 to 100).",
    )
    review: bool = Field(
        default=False,
        description=f"Stop before the training until there is a file {REJECTED} beside the images, which lists those "
        "that are not wanted.",
    )

    @model_validator(mode="after")
    def _settings_of_a_pipeline(self) -> Self:
        if self.generator == COMPOSITE:
            if self.diffusion:
                raise ValueError("composites have no diffusion settings; name a pipeline as generator")
            return self
        try:
            DiffusionSettings(**self.diffusion)
        except TypeError as error:
            known = ", ".join(DiffusionSettings.__dataclass_fields__)
            raise ValueError(f"diffusion takes {known}; got {', '.join(self.diffusion)}") from error
        except UsageError as error:
            raise ValueError(f"{error.message} {error.hint}") from error
        return self


@dataclass(frozen=True)
class Scgs(Method):
    """Spurious correlation mitigated by generated samples."""

    name: ClassVar[str] = "scgs"
    title: ClassVar[str] = "generated counterexamples"
    source: ClassVar[str] = "Li et al. 2025, sections II and III"
    needs: ClassVar[str] = "training images that an early model gets wrong; better with core masks"
    options_type: ClassVar[type[Options]] = ScgsOptions

    def lacks(self, job: Job) -> str | None:
        """A last layer for features, a grid for heat maps. Whether there are errors shows when a model is asked."""
        options = self._options
        lack = lacks_early(job, options)
        if lack is not None:
            return lack
        try:
            find_head(job.model)
            feature_grid(job.model)
        except ModelError as error:
            return error.message
        return None

    @property
    def _options(self) -> ScgsOptions:
        assert isinstance(self.options, ScgsOptions)
        return self.options

    def prepare(self, job: Job) -> Prepared:
        """The images are made, or taken from an earlier call; then the job's own start on old and new images.

        Raises FixError where there are too few errors, where nothing can be drawn, and once where a review is wanted.
        """
        options = self._options
        generator = make_generator(options, job)  # what is missing is said before an early model is trained
        errors = errors_of(job, options, self.name)
        chosen, sampling = sampled_errors(errors, options.clusters, options.sampled, options.fewest)
        sources = [one for one in kept_of(errors, chosen, options.cam_threshold) if 0 < one.kept.share < 1]
        notes = [*errors.notes, *sampling]
        if len(sources) < len(chosen):
            notes.append(
                f"{len(chosen) - len(sources)} of these are left out: outside the object, none or all of the heat map "
                "reaches the threshold."
            )
        if not sources:
            raise FixError(
                f"scgs has nothing to draw: of none of {len(errors.rows)} errors is a part kept and a part drawn anew.",
                f"Use fewer clusters, or another cam_threshold than {options.cam_threshold:g}.",
            )
        notes += shares_notes(sources)
        names = [info.name for info in job.dataset.classes]
        counts = counts_of_new([row.label for row in job.train], len(names), options.share)
        orders = orders_of(sources, counts, names, job.seed)
        folder = open_folder(job.folder / SOURCE, recipe(job, options, sources))
        made = Maker(job, {one.row.id: one for one in sources}, generator).make(orders, folder)
        wanted = reviewed(made, folder) if options.review else made
        notes += made_notes(made, wanted, names, options)
        new = rows_of(wanted, job.dataset, job.train[0].split)
        rows = (*repeated(job.train, errors.rows, options.upweight), *new)
        return Prepared(job.started(), dataset=with_rows(job.dataset, folder.path, new), rows=rows, notes=tuple(notes))


def make_generator(options: ScgsOptions, job: Job) -> Generator:
    """Of new images. Raises ModelError for a pipeline that is not there."""
    if options.generator == COMPOSITE:
        return composite_generator(job)
    return load_diffusion(
        options.generator,
        DiffusionSettings(**options.diffusion),
        device=str(job.model.device),
        allow_download=job.allow_download,
    )


def recipe(job: Job, options: ScgsOptions, sources: Sequence[ErrorSource]) -> dict[str, Any]:
    """Everything that decides what an image looks like."""
    return {
        "data": fingerprint(job.dataset),
        "geometry": job.model.record.preprocess.geometry.model_dump(mode="json"),
        "sources": [[source.row.id, source.wrong, round(source.kept.share, 6)] for source in sources],
        "cam_threshold": options.cam_threshold,
        "generator": options.generator,
        "diffusion": options.diffusion,
        "seed": job.seed,
    }


def reviewed(made: Sequence[GeneratedImage], folder: GeneratedFolder) -> list[GeneratedImage]:
    """The images that somebody has looked at and not rejected. Raises FixError where nobody has."""
    file = folder.path / REJECTED
    if not file.is_file():
        raise FixError(
            f"Stopped for review: {len(made)} new images are in {folder.path / 'images'}.",
            f"Look at them, write the names of those that you don't want into {file}, one a line (an empty file: none "
            "is rejected), and run the same command again: it goes on from here.",
        )
    rejected = {line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()}
    known = {image.file.rpartition("/")[2] for image in made}
    if rejected - known:
        raise FixError(f"{file} names {min(rejected - known)!r}, which is none of the new images.", "Correct the name.")
    left = [image for image in made if image.file.rpartition("/")[2] not in rejected]
    if not left:
        raise FixError(f"{file} rejects all {len(made)} new images.", "Use another generator, or another method.")
    return left


def made_notes(
    made: Sequence[GeneratedImage], wanted: Sequence[GeneratedImage], names: Sequence[str], options: ScgsOptions
) -> list[str]:
    """How many there are of what, and how they were made."""
    of_class = ", ".join(f"{name} {sum(image.class_name == name for image in wanted)}" for name in names)
    what = "composites of training images" if options.generator == COMPOSITE else f"drawn by {options.generator}"
    notes = [f"{len(wanted)} new images ({of_class}), {what}."]
    if len(wanted) < len(made):
        notes.append(f"{len(made) - len(wanted)} were rejected by whoever looked at them.")
    whole = sum(bool(image.facts.get("whole_donor")) for image in wanted)
    if whole:
        notes.append(
            f"Warning: {whole} new images hold another training image as a whole, its surroundings included: there is "
            "no core mask to cut its object out by. That teaches little about surroundings."
        )
    return notes
