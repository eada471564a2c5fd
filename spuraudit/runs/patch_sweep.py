"""Before a patch swap: which images are its sources, where the network drops, and what a budget can pay for."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from spuraudit.audits.patch_pairs import Pairing, Survey
from spuraudit.audits.patch_search import lowest_cell
from spuraudit.audits.patch_swap import PatchSwapAudit
from spuraudit.errors import NotEvaluatedError, UsageError
from spuraudit.models.mc_dropout import prepare
from spuraudit.record.settings import seconds_of
from spuraudit.runs.asking import Asker, ask_image
from spuraudit.runs.batching import Batches
from spuraudit.runs.clean import clean_answers
from spuraudit.runs.plan import Resolved
from spuraudit.runs.showing import make, tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from spuraudit.audits.base import Question
    from spuraudit.data.dataset import ImageRow
    from spuraudit.models.dropout_plan import DropoutPlan
    from spuraudit.models.model import Model
    from spuraudit.runs.loader import Loaded
    from spuraudit.runs.prepare import Scan
    from spuraudit.runs.progress import Progress

#: A class of which so many times the wanted sources were tried has too few that are classified right.
_TRIES = 10
#: Targets of the check that reduced precision finds the same cell.
_CHECKED_TARGETS = 8


class Sweep(NamedTuple):
    """What preparing a patch swap has found out: plain values, for whoever answers part of the same scan elsewhere."""

    survey: Survey | None
    dropout: DropoutPlan
    resolved: Resolved | None


def sweep_of(scan: Scan) -> Sweep | None:
    """Of a prepared scan; None without a patch swap."""
    audit = scan.audits.get("patch_swap")
    if not isinstance(audit, PatchSwapAudit) or scan.dropout is None:
        return None
    return Sweep(audit.pairing.survey, scan.dropout, scan.resolved)


def with_sweep(scan: Scan, sweep: Sweep) -> Scan:
    """An arranged scan, prepared by somebody else's findings: nothing is asked or measured again."""
    audit = scan.audits["patch_swap"]
    assert isinstance(audit, PatchSwapAudit)
    audit = replace(audit, pairing=replace(audit.pairing, survey=sweep.survey))
    scan = _with_dropout(scan, audit, sweep.dropout)
    return scan if sweep.resolved is None else resolve(scan, sweep.resolved)


def _with_dropout(scan: Scan, audit: PatchSwapAudit, dropout: DropoutPlan) -> Scan:
    audit = replace(audit, dropout_note=dropout.describe(), notes=(dropout.describe_cost(),))
    return replace(scan, dropout=dropout, audits={**scan.audits, "patch_swap": audit})


def prepare_sweep(scan: Scan, progress: Progress) -> Scan:
    """The scan with its patch swap ready: sources chosen, dropout found and proven to vary, the budget resolved.

    Raises NotEvaluatedError where no image can be a source or dropout has no effect, UsageError where the budget does
    not pay for one source image.
    """
    audit = scan.audits.get("patch_swap")
    if not isinstance(audit, PatchSwapAudit):
        return scan
    audit = replace(audit, pairing=replace(audit.pairing, survey=_survey(scan, audit.pairing, progress)))
    if not audit.pairing.targets_for:
        raise NotEvaluatedError(
            "The patch swap has no source image: of the classes to be swept, no image is classified right.",
            "Check the class order and the preprocessing, choose other classes (--source-class), or leave patch_swap "
            "out of --audits.",
        )
    settings = scan.settings
    with scan.loader() as loader:
        rows = scan.cohort.rows[:2] if len(scan.cohort.rows) > 1 else scan.cohort.rows * 2
        pixels = torch.stack([loaded.sample.pixels for loaded in loader.load((row, ()) for row in rows)])
    dropout = prepare(scan.model, pixels, rate=settings.dropout_rate, drop_path=settings.drop_path)
    scan = _with_dropout(scan, audit, dropout)
    audit = scan.audits["patch_swap"]
    assert isinstance(audit, PatchSwapAudit)
    if scan.model.record.precision != "fp32":
        scan = _noted(scan, audit, _same_cell(scan, audit))
    return scan if settings.budget is None else _within_budget(scan, settings.budget, progress)


def resolve(scan: Scan, resolved: Resolved) -> Scan:
    """The scan with what a budget was found to pay for."""
    audit = scan.audits["patch_swap"]
    assert isinstance(audit, PatchSwapAudit)
    audit = replace(
        audit,
        adaptive=resolved.search == "adaptive",
        pairing=replace(audit.pairing, limit=resolved.limit_sources),
        budget_note=resolved.describe(scan.settings.budget or ""),
    )
    return replace(scan, resolved=resolved, audits={**scan.audits, "patch_swap": audit})


def _noted(scan: Scan, audit: PatchSwapAudit, note: str) -> Scan:
    return replace(scan, audits={**scan.audits, "patch_swap": replace(audit, notes=(*audit.notes, note))})


def _survey(scan: Scan, pairing: Pairing, progress: Progress) -> Survey:
    """Ask candidates clean, class by class in waves, until each class has its sources or was tried often enough."""
    right: dict[str, bool] = {}
    mass: dict[int, list[NDArray[np.float32]]] = {label: [] for label in pairing.candidates}
    while True:
        wave: list[ImageRow] = []
        for candidates in pairing.candidates.values():
            tried = [row for row in candidates if row.id in right]
            missing = pairing.sources - sum(right[row.id] for row in tried)
            if missing > 0 and len(tried) < _TRIES * pairing.sources:
                wave += candidates[len(tried) : len(tried) + missing]
        if not wave:
            break
        answers = clean_answers(scan, wave, "Choosing source images", progress)
        for row, is_right, probabilities in zip(wave, answers.right.tolist(), answers.probabilities, strict=True):
            right[row.id] = is_right
            mass[row.label].append(probabilities.numpy())
    return Survey(right, {label: np.mean(found, axis=0) for label, found in mass.items() if found})


def _within_budget(scan: Scan, budget: str, progress: Progress) -> Scan:
    audit = scan.audits["patch_swap"]
    assert isinstance(audit, PatchSwapAudit)
    rate = _answers_per_second(scan, audit)
    affordable = int(seconds_of(budget) * rate)
    searches = (False, True) if scan.settings.search == "full" else (True,)
    for adaptive in searches:
        cost = sum(_costs(replace(audit, adaptive=adaptive)))
        if cost <= affordable:
            resolved = Resolved(
                search="adaptive" if adaptive else "full", limit_sources=audit.pairing.limit, answers=cost
            )
            break
    else:
        resolved = _fewer_sources(replace(audit, adaptive=True), affordable, budget, rate)
    progress.say(resolved.describe(budget) + f" Measured: {rate:.1f} answers per second.")
    return resolve(scan, resolved)


def _costs(audit: PatchSwapAudit) -> list[int]:
    """Most answers of each source image."""
    rows = [row for rows in audit.pairing.sources_of.values() for row in rows]
    return [audit.most_questions(row) for row in rows]


def _fewer_sources(audit: PatchSwapAudit, affordable: int, budget: str, rate: float) -> Resolved:
    """The most source images, evenly over classes, that an adaptive search can pay for."""

    def cost(limit: int) -> int:
        return sum(_costs(replace(audit, pairing=replace(audit.pairing, limit=limit))))

    limit = bisect_right(range(1, len(_costs(audit)) + 1), affordable, key=cost)
    if limit:
        return Resolved(search="adaptive", limit_sources=limit, answers=cost(limit))
    one = max(_costs(audit))
    raise UsageError(
        f"--budget {budget} is too small: one source image takes up to {one} answers, about {one / rate:.0f} s here.",
        "Give more time, fewer --targets or --target-classes, fewer --passes, or a larger --patch.",
    )


def _answers_per_second(scan: Scan, audit: PatchSwapAudit) -> float:
    """Speed of the sweep's own answers, measured on the first source: after a warm-up, for a second or three tries."""
    loaded = _first_source(scan, audit)
    one = replace(audit, adaptive=False, pairing=replace(audit.pairing, targets=1))
    asked, start, turns = 0, 0.0, 0
    while turns < 4 and (turns < 2 or time.perf_counter() - start < 1):
        if turns == 1:
            asked, start = 0, time.perf_counter()
        asked += len(_answers(scan, one, loaded, scan.model))
        turns += 1
    return asked / (time.perf_counter() - start)


def _same_cell(scan: Scan, audit: PatchSwapAudit) -> str:
    """Whether reduced precision finds the lowest cell of float32, on one source image and some targets; a sentence."""
    loaded = _first_source(scan, audit)
    few = replace(
        audit, adaptive=False, pairing=replace(audit.pairing, targets=min(_CHECKED_TARGETS, audit.pairing.targets))
    )
    exact = replace(scan.model, record=scan.model.record.model_copy(update={"precision": "fp32"}))
    ours, theirs = (_dense(few, _answers(scan, few, loaded, model)) for model in (scan.model, exact))
    cells = lowest_cell(ours[:, 1:]) + 1, lowest_cell(theirs[:, 1:]) + 1
    verdict = f"the same lowest cell, {cells[0]}" if cells[0] == cells[1] else f"cell {cells[0]} instead of {cells[1]}"
    return (
        f"Precision {scan.model.record.precision} against fp32, on one source image and {len(ours)} targets: "
        f"{verdict}; largest difference of a certainty {np.abs(ours - theirs).max():.4f}."
    )


def _first_source(scan: Scan, audit: PatchSwapAudit) -> Loaded:
    row = next(rows[0] for rows in audit.pairing.sources_of.values() if rows)
    with scan.loader() as loader:
        return next(loader.load([(row, audit.donors(row))]))


def _answers(scan: Scan, audit: PatchSwapAudit, loaded: Loaded, model: Model) -> dict[Question, float]:
    """Certainty by question, of the source's first target class."""
    questions = [q for q in audit.questions(loaded.sample.row) if q.trial < audit.pairing.targets]
    asker = Asker(model, scan.class_map, Batches(scan.machine.batch_size), scan.dropout)
    ask_image(map(make, tasks([loaded], [audit], scan.machine.batch_size)), [asker], [audit])
    rows = {(row["condition"], row["trial"]): row["p_true"] for row in asker.finish() if "p_sd" in row}
    return {question: rows[question.condition, question.trial] for question in questions}


def _dense(audit: PatchSwapAudit, answers: Mapping[Question, float]) -> NDArray[np.float64]:
    """(targets, 1 + cells)."""
    count = len({question.trial for question in answers})
    return np.array(list(answers.values())).reshape(count, 1 + len(audit.grid.cells))
