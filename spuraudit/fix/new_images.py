"""The new images of SCGS: which errors they are made of, what of each is kept, how many there are, and their making."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from spuraudit.data.geometry import geometry_for
from spuraudit.errors import FixError, NotEvaluatedError
from spuraudit.explain.grad_cam import grad_cam
from spuraudit.fix.generated_rows import with_edge
from spuraudit.fix.scgs.composite import CompositeGenerator, Donor
from spuraudit.fix.scgs.generate import Order, Scene, seam_of
from spuraudit.fix.scgs.masks import ALMOST_ALL, keep_mask
from spuraudit.fix.scgs.sampling import sample_errors
from spuraudit.models.feature_grid import feature_grid
from spuraudit.perturb.draws import key_of
from spuraudit.runs.progress import stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.fix.early_errors import EarlyErrors
    from spuraudit.fix.job import Job
    from spuraudit.fix.scgs.folder import GeneratedFolder, GeneratedImage
    from spuraudit.fix.scgs.generate import Drawn, Generator
    from spuraudit.fix.scgs.masks import KeptRegion

_CLEARLY = 127


class ErrorSource(NamedTuple):
    """A misclassified image that new ones are made of: what is kept of it, and the output that was wrongly given."""

    row: ImageRow
    kept: KeptRegion
    wrong: int


def counts_of_new(labels: Sequence[int], classes: int, share: float) -> list[int]:
    """New images of each class: `share` of the number of images of all other classes (SCGS, section III.A)."""
    own = np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)
    return [round(share * int(own.sum() - count)) for count in own]


def sampled_errors(errors: EarlyErrors, clusters: int, share: float, fewest: int) -> tuple[list[ImageRow], list[str]]:
    """The errors worked on, class by class, and a sentence for each class.

    Of each class `share` of its errors, but at least `fewest`, or all where it has fewer. A class with too few errors
    for its clusters gets fewer clusters; one with a single error, none and no new images.
    """
    job, chosen, notes = errors.job, [], []
    for info in job.dataset.classes:
        own = [row for row in errors.rows if row.label == info.index]
        some = min(clusters, len(own) // 2)
        if not some:
            notes.append(f"{info.name}: {len(own)} errors, too few to work with; it gets no new images.")
            continue
        features = job.features(errors.model, own).numpy()
        ids = [row.id for row in own]
        enough = max(share, min(1.0, fewest / len(own)))
        try:
            sample = sample_errors(features, ids, clusters=some, seed=job.seed, share=enough)
        except NotEvaluatedError as error:
            raise FixError(error.message, error.hint) from error
        chosen += [own[at] for at in sample.indices]
        parts = ", ".join(
            f"{draw.sampled} of {draw.errors} ({draw.method}{f': {draw.reason}' if draw.reason else ''})"
            for draw in sample.clusters
        )
        notes.append(f"{info.name}: {len(sample.indices)} of {len(own)} errors drawn, by cluster: {parts}.")
    return chosen, notes


def kept_of(errors: EarlyErrors, rows: Sequence[ImageRow], threshold: float) -> list[ErrorSource]:
    """Grad-CAM++ of the wrong answer, thresholded, without the image's object where that is known, for each image.

    Raises ModelError without a spatial grid.
    """
    model, job = errors.model, errors.job
    mapping, grid = job.class_map(model), feature_grid(model)
    found, size = [], job.machine.batch_size
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        samples = list(job.samples(part, model))
        pixels = torch.stack([sample.pixels for sample in samples])
        wrong = _wrong_outputs(model.logits(pixels), [mapping.outputs[row.label] for row in part])
        maps = grad_cam(model, grid, pixels, wrong, method="gradcam++").numpy()
        found += [
            ErrorSource(sample.row, keep_mask(heat, threshold, own_object(sample)), output)
            for sample, heat, output in zip(samples, maps, wrong, strict=True)
        ]
    return found


def own_object(sample: Sample) -> NDArray[np.float32] | None:
    """A source's object with the rim around it, (H, W) in [0, 1]; None where it has no core mask.

    Masks end a pixel or two inside the object: without the rim, its outline would be kept, and mirrored into its place.
    """
    if sample.core is None:
        return None
    core = sample.core.cpu().numpy()
    grown: NDArray[np.float32] = ndimage.maximum_filter(core, size=2 * seam_of(core.shape) + 1)
    return grown


def _wrong_outputs(logits: Tensor, own: Sequence[tuple[int, ...]]) -> list[int]:
    """The strongest output that is not the true class: the answer, of an image that is answered wrong."""
    logits = logits.float().clone()
    for row, outputs in zip(logits, own, strict=True):
        row[list(outputs)] = -torch.inf
    return [int(output) for output in logits.argmax(dim=1)]


def orders_of(sources: Sequence[ErrorSource], counts: Sequence[int], names: Sequence[str], seed: int) -> list[Order]:
    """What is to be made: each class's sources in turn, with another seed each time round."""
    orders = []
    for label, count in enumerate(counts):
        own = [source.row.id for source in sources if source.row.label == label]
        for number in range(count if own else 0):
            turn, at = divmod(number, len(own))
            orders.append(Order(own[at], label, names[label], key_of(seed, "scgs", turn) & 0xFFFFFFFF))
    return orders


def composite_generator(job: Job) -> CompositeGenerator:
    """Lenders are the training images, of a class with core masks only those that have one."""
    rows = {row.id: row for row in job.train}
    donors: dict[int, list[str]] = {}
    for info in job.dataset.classes:
        own = [row for row in job.train if row.label == info.index]
        donors[info.index] = [row.id for row in ([row for row in own if row.has_core] or own)]

    def load(name: str) -> Donor:
        (sample,) = job.samples([rows[name]])
        core = None if sample.core is None else np.rint(255 * sample.core.cpu().numpy()).astype(np.uint8)
        return Donor(_bytes_of(sample), core)

    return CompositeGenerator(donors, load)


def _bytes_of(sample: Sample) -> NDArray[np.uint8]:
    """As decoded: (H, W, 3)."""
    return np.ascontiguousarray((sample.pixels * 255).round().byte().permute(1, 2, 0).cpu().numpy())


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the images of orders, and stores what exists not yet."""

    job: Job
    sources: Mapping[str, ErrorSource]
    generator: Generator

    def make(self, orders: Sequence[Order], folder: GeneratedFolder) -> list[GeneratedImage]:
        """In the order given; goes on where an earlier call was stopped."""
        made = []
        with stage(self.job.progress, "Generating images", len(orders), "images"):
            for order in orders:
                made.append(folder.obtain(order, self._draw))
                self.job.progress.advance(1)
        return made

    def _draw(self, order: Order) -> tuple[Scene, Drawn]:
        source = self.sources[order.source]
        (sample,) = self.job.samples([source.row])
        own = own_object(sample)
        core = None if own is None else np.rint(255 * own).astype(np.uint8)
        scene = Scene(order, _bytes_of(sample), source.kept.mask, core)
        drawn = self.generator.draw(scene)
        geometry = geometry_for(self.job.dataset, self.job.model.record.preprocess.geometry)
        # A mask of what is hidden altogether marks nothing.
        core = drawn.core if drawn.core is not None and int(drawn.core.max()) > _CLEARLY else None
        stored = replace(
            drawn,
            pixels=with_edge(drawn.pixels, geometry),
            core=None if core is None else with_edge(core, geometry),
            facts={**drawn.facts, "kept_share": round(source.kept.share, 4), "wrong_output": source.wrong},
        )
        return Scene(order, with_edge(scene.pixels, geometry), with_edge(scene.keep, geometry)), stored


def shares_notes(sources: Sequence[ErrorSource]) -> list[str]:
    """How much of the sources is kept. Of each image it is in the index of the generated ones."""
    shares = np.array([source.kept.share for source in sources])
    broad = int((shares > ALMOST_ALL).sum())
    notes = [
        f"Kept of the {len(shares)} sources: {shares.min():.0%} to {shares.max():.0%} of the pixels, median "
        f"{np.median(shares):.0%}."
    ]
    if broad:
        notes.append(
            f"Warning: of {broad} sources more than {ALMOST_ALL:.0%} is kept, which leaves little room for the class "
            "to be drawn in: a higher cam_threshold keeps less."
        )
    return notes
