"""Carries out a fix: scan, train the control, train the method, scan both, compare, write down.

FIX/plan.json                    what is being done; written first
FIX/before, control, fixed       scans of the held-out images
FIX/control.safetensors, fixed.safetensors
FIX/training                     states to go on from, early models, generated images
FIX/fix.json                     written last
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from spuraudit import __version__
from spuraudit.compare import compare_runs
from spuraudit.data.fingerprint import fingerprint
from spuraudit.errors import RunError
from spuraudit.fix.job import Prepared
from spuraudit.fix.methods.erm import Erm
from spuraudit.fix.prepare import scanned_data
from spuraudit.fix.recording import method_record, trained_arm
from spuraudit.fix.saving import as_saved, save_checkpoint
from spuraudit.record.fix import (
    RECORD,
    Arms,
    Comparisons,
    FixData,
    FixRecord,
    SplitRecord,
    StartArm,
    deciding_verdict,
    read_fix,
)
from spuraudit.record.folder import claim, read_record, sha256_of, to_json, write_bytes
from spuraudit.record.scan import ToolRecord
from spuraudit.runs.cohort import limited
from spuraudit.runs.execute import execute
from spuraudit.runs.prepare import prepare_scan
from spuraudit.runs.recording import NEAR_CHANCE, environment, without_folders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.fix.curve import Curve
    from spuraudit.fix.prepare import Fix
    from spuraudit.models.model import Model
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.fix import FixVerdict, TrainedArm
    from spuraudit.record.scan import ScanRecord

BEFORE, CONTROL, FIXED = "before", "control", "fixed"


class Trained(NamedTuple):
    """A trained model and what was seen on the way."""

    model: Model
    curve: Curve


def carry_out(fix: Fix, folder: Path, *, argv: Sequence[str] = (), beside: Path | None = None) -> FixRecord:
    """Carry out a prepared fix into `folder`, or finish what an earlier call began there.

    beside: folder of a fix of the same model, data, training and seed by another method, whose control is finished: it
    and its scans are taken over. Raises RunError where the folder holds another plan, FixError where a training fails.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    claim(folder / "plan.json", to_json(fix.plan), *_foreign(folder))
    done = _finished(folder)
    if done is not None:
        return done  # when it was done, and how long that took, stays as it was
    progress = fix.job.progress
    if beside is not None:
        _take_over(beside, folder)
    if fix.job.start == "model":
        progress.say("Scanning the model as it is.")
        _scan(fix, fix.job.model, folder / BEFORE)
    job = replace(fix.job, folder=folder / "training")
    # Before the control: what turns out to be missing (errors, findings) is said before the long run.
    prepared = fix.method.prepare(job)
    control_job = replace(fix.job, folder=(beside or folder) / "training")
    plain = Prepared(control_job.started())
    control = Trained(plain.model, control_job.fit(CONTROL, plain))
    control_arm = _finish(fix, control, folder, CONTROL)
    if fix.method.name == Erm.name:  # the method is its own control
        fixed_arm, notes = _doubled(control_arm, folder), []
    else:
        fixed = Trained(prepared.model, job.fit(FIXED, prepared))
        fixed_arm, notes = _finish(fix, fixed, folder, FIXED), [*prepared.notes, *fixed.curve.notes]
    comparisons = _compare(folder, fix.job.start == "model")
    record = FixRecord(
        tool=ToolRecord(version=__version__),
        argv=[without_folders(argument) for argument in argv],
        started=started,
        seconds=round(time.monotonic() - clock, 3),
        method=method_record(fix.method),
        training=fix.job.settings.model_dump(mode="json"),
        start=fix.job.start,
        model=fix.job.model.record,
        data=_data(fix),
        seed=fix.job.seed,
        steps=fix.job.steps,
        beyond=prepared.beyond,
        arms=Arms(
            before=_start_arm(folder) if fix.job.start == "model" else None, control=control_arm, fixed=fixed_arm
        ),
        comparisons=comparisons,
        verdict=judged(comparisons.credit, read_record(folder / FIXED)),
        environment=environment(str(fix.job.model.device)),
        notes=[*fix.division.notes, *notes, *cautions(fix)],
    )
    write_bytes(folder / RECORD, to_json(record))
    return record


def _finished(folder: Path) -> FixRecord | None:
    """The record of an earlier call that carried out this plan to its end, and whose files are still there."""
    if not (folder / RECORD).is_file():
        return None
    record = read_fix(folder)
    arms = record.arms
    runs = [arm.run for arm in (arms.before, arms.control, arms.fixed) if arm is not None]
    scanned = all((folder / run / "scan.json").is_file() for run in runs)
    trained = all(
        (folder / arm.checkpoint).is_file() and sha256_of(folder / arm.checkpoint) == arm.checkpoint_sha256
        for arm in (arms.control, arms.fixed)
    )
    return record if scanned and trained else None


def judged(credit: Comparison, fixed: ScanRecord) -> FixVerdict:
    """By the deciding measure. Nothing is said of a fixed model near chance.

    At one half in each group, a ruin beats a model that reads shortcuts.
    """
    verdict = deciding_verdict(credit)
    if not any(notice.code == NEAR_CHANCE for notice in fixed.warnings):
        return verdict
    reason = "The clean accuracy of the fixed model is near chance."
    return verdict.model_copy(update={"outcome": "unknown", "reason": reason})


def cautions(fix: Fix) -> list[str]:
    """How the numbers may be read, and how not."""
    said = [
        "Intervals are over the held-out images. Trainings with other seeds can differ by more: repeat with --seed "
        "before relying on a gain."
    ]
    record, division = fix.job.record, fix.division
    if record is not None and (division.made or record.data.split in (None, division.held_out)):
        said.append("The region was found by a scan of the held-out images too, which so chose something.")
    return said


def _foreign(folder: Path) -> tuple[RunError, RunError]:
    return (
        RunError(
            f"{folder}: holds a fix of another plan (other model, data, method, settings or version of spuraudit).",
            "Choose another folder with --run, or delete this one.",
        ),
        RunError(f"{folder}: not empty, and not a fix of spuraudit.", "Choose another folder with --run."),
    )


def _take_over(beside: Path, folder: Path) -> None:
    """Scans of the delivered model and of the control: copies, so that each folder is whole by itself."""
    for name in (BEFORE, CONTROL):
        if (beside / name / "scan.json").is_file() and not (folder / name / "scan.json").is_file():
            partial = folder / f"{name}.partial"
            for unfinished in (partial, folder / name):
                shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(beside / name, partial)
            partial.rename(folder / name)  # a run folder is whole or not there


def _scan(fix: Fix, model: Model, run: Path) -> None:
    """Of the held-out images. A trained model may be near chance: that is a result, not an error."""
    scan_settings = fix.scan.model_copy(update={"allow_chance": True}) if run.name != BEFORE else fix.scan
    job = fix.job
    dataset = scanned_data(job.dataset, job.start)
    execute(prepare_scan(model, dataset, scan_settings, job.machine, job.progress), run, progress=job.progress)


def _finish(fix: Fix, trained: Trained, folder: Path, name: str) -> TrainedArm:
    """Save, load back, scan."""
    file = folder / f"{name}.safetensors"
    save_checkpoint(trained.model, file, provenance(fix, name))
    model = as_saved(trained.model, file)
    fix.job.progress.say(f"Scanning the {name} model.")
    _scan(fix, model, folder / name)
    return trained_arm(name, file, trained.curve, fix.job.settings.select)


def _doubled(control: TrainedArm, folder: Path) -> TrainedArm:
    """The control once more, as the fixed model."""
    shutil.copyfile(folder / f"{CONTROL}.safetensors", folder / f"{FIXED}.safetensors")
    shutil.copytree(folder / CONTROL, folder / FIXED, dirs_exist_ok=True)
    return control.model_copy(update={"run": FIXED, "checkpoint": f"{FIXED}.safetensors"})


def provenance(fix: Fix, arm: str) -> dict[str, object]:
    """What a checkpoint says of itself: who made it, from which file, with what. A control's is the same for all."""
    plan, record = fix.plan if arm == FIXED else fix.plan.of_control, fix.job.model.record
    return {
        "tool": f"spuraudit {__version__}",
        "arm": arm,
        "method": plan.method,
        "options": plan.options,
        "training": plan.training.model_dump(mode="json"),
        "start": plan.start,
        "seed": plan.seed,
        "from": {"name": record.name, "file": record.file, "sha256": record.sha256, "arch": record.arch},
        "data": {"name": fix.job.dataset.name, "fingerprint": plan.data_fingerprint, "train_sha256": plan.train_sha256},
        "plan_sha256": plan.sha256,
    }


def _compare(folder: Path, with_before: bool) -> Comparisons:
    return Comparisons(
        fixed_before=compare_runs(folder / BEFORE, folder / FIXED) if with_before else None,
        control_before=compare_runs(folder / BEFORE, folder / CONTROL) if with_before else None,
        credit=compare_runs(folder / CONTROL, folder / FIXED),
    )


def _start_arm(folder: Path) -> StartArm:
    return StartArm(run=BEFORE, record_sha256=sha256_of(folder / BEFORE / "scan.json"))


def _data(fix: Fix) -> FixData:
    job, division = fix.job, fix.division
    held_out = limited(job.dataset.in_split(division.held_out), fix.scan.limit)
    validation = division.validation
    return FixData(
        name=job.dataset.name,
        fingerprint=fingerprint(job.dataset),
        train=SplitRecord(split=job.train[0].split, images=len(job.train)),
        validation=SplitRecord(split=validation[0].split if validation else None, images=len(validation)),
        held_out=SplitRecord(split=division.held_out, images=len(held_out)),
        held_out_how=division.held_out_how,
    )
