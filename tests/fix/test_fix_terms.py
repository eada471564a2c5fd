"""What is logged of a step: each term is that of the whole batch, however the batch is divided."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fix.trainings import job_of, settings, smooth

from spuraudit.data.dataset import Dataset
from spuraudit.errors import FixError
from spuraudit.fix.batch import Batch
from spuraudit.fix.catalogue import make_method
from spuraudit.fix.curve import Curve
from spuraudit.fix.job import Job, Prepared
from spuraudit.fix.learner import Learner
from spuraudit.fix.objective import Objective, Outcome
from spuraudit.record.annotation_tables import write_answers

if TYPE_CHECKING:
    from spuraudit.fix.objective import Backward

#: Images that a method's term is about: at most two of four parts hold one.
ABOUT = (4, 5)
ELEMENT = {"form": "element", "weight": 3.0}
SALIENCY = {"weight": 2.0, "sigma": 0.0, "derivative": "double"}


def few_marked(dataset: Dataset, folder: Path) -> Job:
    """30 images in one step; two of them have masks, and an answer each."""
    whole = settings(batch_size=30, steps=1, optimizer="SGD", weight_decay=0, schedule=None)
    job = job_of(smooth(), dataset, folder, whole)
    rows = tuple(row if place in ABOUT else replace(row, masks=()) for place, row in enumerate(job.train))
    write_answers(folder / "said.csv", {rows[ABOUT[0]].id: "yes", rows[ABOUT[1]].id: "no"})
    return replace(job, train=rows)


def trained(job: Job, method: str, options: dict[str, Any], name: str, **more: Any) -> Curve:
    if method == "crayon-attention":
        job = replace(job, annotations=job.folder / "said.csv")
    parted = replace(job, settings=job.settings.model_copy(update={"accumulate": more.pop("parts", 1)}), **more)
    return parted.fit(name, make_method(method, options).prepare(parted))


@pytest.mark.parametrize(
    ("method", "options", "term"),
    [
        ("rrr", {"weight": 5.0}, "gradient"),
        ("gradcam-rrr", ELEMENT, "explanation"),
        ("corm", SALIENCY, "saliency"),
        ("crayon-attention", {}, "attention"),
    ],
)
def test_the_terms_of_parts_are_those_of_the_whole(
    tagged: Dataset, tmp_path: Path, method: str, options: dict[str, Any], term: str
) -> None:
    job = few_marked(tagged, tmp_path)
    whole = trained(job, method, options, "whole").epochs[0].terms
    assert set(whole) == {"loss", term}
    assert whole[term] > 0
    parted = trained(job, method, options, "parted", parts=4).epochs[0].terms
    assert parted == pytest.approx(whole, rel=1e-4)


def test_the_check_for_blindness_sees_the_terms_of_the_whole(tagged: Dataset, tmp_path: Path) -> None:
    job = few_marked(tagged, tmp_path)
    said = [trained(job, "gradcam-rrr", ELEMENT, f"in-{parts}", parts=parts).notes for parts in (1, 4)]
    values = [float(re.search("began at (.*?);", note).group(1)) for (note,) in said]  # type: ignore[union-attr]
    assert values[1] == pytest.approx(values[0], rel=0.01)  # three digits are said


@pytest.mark.slow
def test_the_terms_of_two_devices_are_those_of_one(tagged: Dataset, tmp_path: Path) -> None:
    """With one marked image, one of the devices has no explanation to tell of."""
    job = few_marked(tagged, tmp_path)
    rows = tuple(row if place == ABOUT[0] else replace(row, masks=()) for place, row in enumerate(job.train))
    job = replace(job, train=rows)
    one, two = (trained(job, "gradcam-rrr", ELEMENT, f"on-{devices}", devices=devices) for devices in (1, 2))
    assert two.epochs[0].terms == pytest.approx(one.epochs[0].terms, rel=1e-4)


def test_a_term_of_no_part_is_absent(tagged: Dataset, tmp_path: Path) -> None:
    """A step without a marked image says nothing about the map."""

    class Asked(Objective):
        def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
            outcome = super().accumulate(learner, batch, backward)
            own = {"own": torch.tensor(6.0)} if batch.key[1] == 1 and 0 in batch.places else {}
            return Outcome({**outcome.terms, **own}, outcome.logits)

        def check(self, step: int, terms: dict[str, float]) -> str | None:
            seen.append(terms)
            return None

    seen: list[dict[str, float]] = []
    job = job_of(smooth(), tagged, tmp_path, settings(batch_size=6, steps=3, accumulate=3))
    job.fit("it", Prepared(job.started(), Asked()))
    assert [set(terms) for terms in seen] == [{"loss"}, {"loss", "own"}, {"loss"}]
    assert seen[1]["own"] == pytest.approx(2.0)  # 6 for two of six images


# -- the way out of a loss that is not finite --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "hint"),
    [
        ("erm", {}, "Lower the learning rate (lr)."),
        ("swap", {}, "Lower the learning rate (lr)."),
        ("rrr", {}, "Lower the learning rate (lr), or the weight of the method's own term (gradient)."),
    ],
)
def test_the_hint_names_the_methods_own_term_where_there_is_one(
    tagged: Dataset, tmp_path: Path, method: str, options: dict[str, Any], hint: str
) -> None:
    job = job_of(smooth(), tagged, tmp_path, settings(optimizer="SGD", lr=1e38))
    with pytest.raises(FixError, match="not finite") as caught:
        job.fit("it", make_method(method, options).prepare(job))
    assert caught.value.hint == hint
