"""DFR: the last layer is fitted anew to images of balanced groups, the rest of the network stays as it is.

It repairs a trained model: what its features hold of the object is weighed anew. With start new-head it is the features
of the given weights that are weighed, which were not trained on these data; give the trained model and start from it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field

from spuraudit.errors import FixError, ModelError
from spuraudit.fix.head import find_head
from spuraudit.fix.job import Prepared
from spuraudit.fix.last_layer import Penalty, fit_last_layer
from spuraudit.fix.methods.base import Method, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.dataset import ImageRow
    from spuraudit.fix.job import Job
    from spuraudit.fix.last_layer import Fitted, Scores
    from spuraudit.models.model import Model


class DfrOptions(Options):
    """Of `dfr`."""

    fit_on: Literal["auto", "validation", "train"] = Field(
        default="auto",
        description="auto: the validation images where they can be balanced, else the training images (DFR-Train, "
        "weaker: the features were trained on them).",
    )
    balance: Literal["groups", "classes"] = Field(
        default="groups",
        description="What is drawn equally often: groups within classes, or classes alone, which repairs a shortcut "
        "only as far as the images do not have it.",
    )
    penalty: Penalty = Field(default="l1", description="Of the regression: l1 (the paper's), or l2.")
    averages: int = Field(
        default=20, ge=1, description="Regressions on balanced draws that are averaged (paper: 20; DFR-Train 10)."
    )


class Pool(NamedTuple):
    """Images to fit on, and of each what is balanced."""

    rows: tuple[ImageRow, ...]
    groups: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class Dfr(Method):
    """Deep feature reweighting."""

    name: ClassVar[str] = "dfr"
    title: ClassVar[str] = "last-layer retraining"
    source: ClassVar[str] = "Kirichenko, Izmailov & Wilson 2023; the authors' code"
    needs: ClassVar[str] = "groups in the validation or training images (or balance=classes); a linear last layer"
    options_type: ClassVar[type[Options]] = DfrOptions

    def lacks(self, job: Job) -> str | None:
        """A trained model with a linear layer of one output per class, and groups that can be balanced."""
        assert isinstance(self.options, DfrOptions)
        lack = lacks_layer(job)
        if lack is not None:
            return lack
        found = pool(job, self.options)
        return found if isinstance(found, str) else None

    def prepare(self, job: Job) -> Prepared:
        """The start with its last layer fitted: the result, no steps are left."""
        options = self.options
        assert isinstance(options, DfrOptions)
        chosen = pool(job, options)
        if isinstance(chosen, str):
            raise FixError(f"dfr cannot begin: {chosen}")
        model = job.started()
        job.progress.say(f"Features of {len(chosen.rows)} {chosen.split} images.")
        features = job.features(model, chosen.rows).double().numpy()
        broken = [row.id for row, own in zip(chosen.rows, features, strict=True) if not abs(own).max() < float("inf")]
        if broken:
            raise FixError(f"{broken[0]}: its features are not finite ({len(broken)} of {len(features)} images).")
        labels = [row.label for row in chosen.rows]
        fitted = fit_last_layer(
            features, labels, chosen.groups, seed=job.seed, penalty=options.penalty, averages=options.averages
        )
        write_layer(model, fitted.scores.layer(model.record.head == "sigmoid"), job.class_map(model).outputs)
        sizes = Counter(chosen.groups)
        notes = [
            f"The last layer was fitted to {chosen.split} images: "
            f"{', '.join(f'{name} {sizes[name]}' for name in sorted(sizes))}; {fitted.images} in each of "
            f"{fitted.averaged} regressions.",
            _choice(fitted, min(sizes.values())),
        ]
        beyond = None
        if chosen.split == "validation":
            notes.append("The validation images were fitted to: accuracy on them is no longer held out.")
            what = "labels and groups" if options.balance == "groups" else "labels"
            beyond = f"the {what} of {len(chosen.rows)} validation images"
        return Prepared(model, steps=0, beyond=beyond, notes=tuple(notes))


def _choice(fitted: Fitted, smallest: int) -> str:
    """How C was chosen. smallest: images of the smallest group, half of which it was chosen by."""
    if len(set(fitted.worst.values())) == 1:
        return (
            f"C = {fitted.strength:g} is no choice: with every C tried, the worst of these has an accuracy of "
            f"{fitted.worst[fitted.strength]:.3f} on the other half. The smallest has {smallest // 2} images there."
        )
    tried = ", ".join(f"{strength:g} {worst:.3f}" for strength, worst in fitted.worst.items())
    return f"C = {fitted.strength:g} had the highest accuracy in the worst of these, on the other half: {tried}."


def lacks_layer(job: Job) -> str | None:
    """Why the last layer cannot be fitted; None where it can."""
    if job.start == "scratch":
        return "it fits the last layer of a trained model, and --start scratch leaves nothing trained."
    try:
        layer = find_head(job.model).layer
    except ModelError as error:
        return error.message
    if job.start == "new-head":
        return None
    if layer.bias is None:
        return "the last layer has no bias to fit; --start new-head gives one that has."
    classes = len(job.dataset.classes)
    single = all(len(outputs) == 1 for outputs in job.class_map(job.model).outputs)
    if not single or job.model.record.num_classes != classes:
        return (
            f"{job.model.record.name} has {job.model.record.num_classes} outputs for {classes} classes, and the last "
            "layer is fitted as one output per class; --start new-head gives such a layer."
        )
    return None


def pool(job: Job, options: DfrOptions) -> Pool | str:
    """The images to fit on; or, as a sentence, why there are none."""
    splits = {"validation": job.validation, "train": job.train}
    wanted = tuple(splits) if options.fit_on == "auto" else (options.fit_on,)
    reasons = []
    for split in wanted:
        found = _balanceable(job, splits[split], "training" if split == "train" else split, options.balance)
        if isinstance(found, Pool):
            return found
        reasons.append(found)
    way_out = "; balance=classes balances classes alone." if options.balance == "groups" else "."
    return f"{', and '.join(reasons)}{way_out}"


def _balanceable(job: Job, rows: Sequence[ImageRow], split: str, balance: str) -> Pool | str:
    names = [info.name for info in job.dataset.classes]
    if not rows:
        return f"there are no {split} images"
    if balance == "groups":
        rows = [row for row in rows if row.group]
        if not rows:
            return f"no {split} image has a group"
    missing = sorted(set(range(len(names))) - {row.label for row in rows})
    if missing:
        return f"no {split} image {'with a group ' if balance == 'groups' else ''}is of class {names[missing[0]]!r}"
    groups = [_group_name(row, names, balance) for row in rows]
    sizes = Counter(groups)
    smallest = min(sorted(sizes), key=lambda name: sizes[name])
    if sizes[smallest] < 2:
        return f"{smallest} has a single {split} image, and needs one to fit on and one to choose by"
    if balance == "groups" and len(sizes) == len(names):
        return f"every class of the {split} images has one group only, so that there is nothing to balance"
    return Pool(tuple(rows), tuple(groups), split)


def _group_name(row: ImageRow, names: Sequence[str], balance: str) -> str:
    """A group within a class: groups may be named by the attribute alone."""
    name = names[row.label]
    if balance == "classes":
        return name
    group = row.group or ""
    return group if group.startswith(f"{name}/") else f"{name}/{group}"


def write_layer(model: Model, layer: Scores, outputs: Sequence[tuple[int, ...]]) -> None:
    """Put weights and biases of the classes into the outputs they are at, in place."""
    head = find_head(model).layer
    places = [own for (own,) in outputs]
    with torch.inference_mode(False), torch.no_grad():
        head.weight[places] = torch.from_numpy(layer.weights).to(head.weight)
        head.bias[places] = torch.from_numpy(layer.bias).to(head.bias)
