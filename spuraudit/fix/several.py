"""Several methods on one model, beside one control; which of them to take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from spuraudit import __version__
from spuraudit.errors import DataError, FixError, ModelError, NotEvaluatedError, SpurauditError, UsageError
from spuraudit.fix.catalogue import METHODS, make_method
from spuraudit.fix.execute import CONTROL, carry_out
from spuraudit.record.fix import DECIDING, verdict_of
from spuraudit.record.fix_trials import RECORD, FixTrials, Standing, Trial
from spuraudit.record.folder import to_json, write_bytes
from spuraudit.record.scan import ToolRecord
from spuraudit.record.settings import seconds_of
from spuraudit.runs.recording import without_folders, without_folders_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from spuraudit.fix.methods.base import Method
    from spuraudit.fix.prepare import Fix
    from spuraudit.record.fix import FixRecord, FixVerdict
    from spuraudit.runs.progress import Progress

    Prepare = Callable[[Method], Fix]

#: Chance that a 95 % interval lies above 0 where there is no gain.
_FALSELY_SURE = 0.025
#: Columns of the table; the deciding ones first, in their order.
_MEASURES = (*DECIDING, "mean_group_accuracy")


@dataclass(frozen=True)
class Tried:
    """A method's trial, and its record where it was carried out, else the error that it met."""

    trial: Trial
    record: FixRecord | None = None
    error: SpurauditError | None = None


def try_methods(
    prepare: Prepare,
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    folder: Path,
    progress: Progress,
    *,
    budget: str | None = None,
    argv: Sequence[str] = (),
) -> FixTrials:
    """Carry out a fix per method, each in `folder`/METHOD; the control is trained and scanned once.

    prepare: makes the fix of a method, as `prepare_fix` does. options: of each method, by its name. budget: time, such
    as '30m'; a method that would probably not end in it is skipped. A method that lacks something, or fails while it
    prepares, trains or is scanned, stops nobody. Raises FixError where nothing could be carried out, UsageError for a
    budget that is no time, and what concerns all methods alike: errors of `prepare` about data and settings, a scan of
    the delivered model or of the control from which nothing follows, and a DataError that two methods meet before the
    control is finished, in the same words.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    limit = None if budget is None else _seconds(budget)
    tried: list[Tried] = []
    beside: Path | None = None
    for name in names:
        left = None if limit is None else limit - (time.monotonic() - clock)
        costliest = max((one.trial.seconds for one in tried), default=0.0)
        if left is not None and left < costliest:
            reason = f"{left:.0f} s of the budget are left; the longest method so far took {costliest:.0f} s."
            tried.append(Tried(Trial(method=name, title=METHODS[name].title, status="skipped", reason=reason)))
            continue
        progress.say(f"Method {name}: {METHODS[name].title}.")
        one = _try(prepare, make_method(name, options.get(name)), folder / name, beside, argv)
        if one.trial.reason is not None:
            progress.say(f"{name} {one.trial.status}: {one.trial.reason}")
        if beside is None and one.error is not None and _of_the_data(one.error, tried):
            raise one.error
        tried.append(one)
        if beside is None and _has_control(folder / name):
            beside = folder / name  # the control was finished, whatever became of the method
    done = [one for one in tried if one.record is not None]
    if not done:
        reasons = "; ".join(f"{one.trial.method}: {one.trial.reason}" for one in tried)
        raise FixError(f"No method could be carried out. {reasons}")
    record = _concluded(tried, started, budget, argv)
    write_bytes(folder / RECORD, to_json(record))
    return record


def _seconds(budget: str) -> float:
    try:
        return seconds_of(budget)
    except ValueError as error:
        raise UsageError(f"--budget {budget!r}: {error}.", "For example --budget 30m") from error


def _has_control(folder: Path) -> bool:
    return (folder / CONTROL / "scan.json").is_file()


def _of_the_data(error: SpurauditError, tried: Sequence[Tried]) -> bool:
    """Whether an earlier method met the same: an image that cannot be read is in every method's way."""
    earlier = [one.error.message for one in tried if one.error is not None]
    return isinstance(error, DataError) and error.message in earlier


def _try(prepare: Prepare, method: Method, folder: Path, beside: Path | None, argv: Sequence[str]) -> Tried:
    clock = time.monotonic()
    try:
        fix = prepare(method)
    except (FixError, ModelError) as error:
        return _not_done(method, "skipped", error, clock)
    try:
        record = carry_out(fix, folder, argv=argv, beside=beside)
    except (FixError, ModelError, DataError) as error:
        return _not_done(method, "failed", error, clock)
    except NotEvaluatedError as error:
        if not _has_control(beside or folder):
            raise
        return _not_done(method, "failed", error, clock)
    arms = record.arms
    own, plain = arms.fixed.cpu_seconds_per_step, arms.control.cpu_seconds_per_step
    trial = Trial(
        method=method.name,
        title=method.title,
        status="done",
        standings=_standings(record),
        seconds=record.seconds,  # of the call that carried it out, which may be an earlier one
        cost=None if not own or not plain else round(own / plain, 3),
    )
    return Tried(trial, record)


def _not_done(method: Method, status: Literal["skipped", "failed"], error: SpurauditError, clock: float) -> Tried:
    """A failed training took its time too: a budget has to know."""
    reason, seconds = without_folders_in(error.message), round(time.monotonic() - clock, 3)
    trial = Trial(method=method.name, title=method.title, status=status, reason=reason, seconds=seconds)
    return Tried(trial, error=error)


def _standings(record: FixRecord) -> list[Standing]:
    credit, before = record.comparisons.credit, record.comparisons.fixed_before
    found = []
    for metric in _MEASURES:
        change = credit.overall(metric)
        if change is None:
            continue
        earlier = before.overall(metric) if before is not None else None
        found.append(
            Standing(
                metric=metric,
                before=None if earlier is None else earlier.before,
                control=change.before,
                fixed=change.after,
                gain=record.verdict if record.verdict.metric == metric else verdict_of(credit, metric, change.scope),
            )
        )
    return found


def _concluded(tried: Sequence[Tried], started: str, budget: str | None, argv: Sequence[str]) -> FixTrials:
    first = next(one.record for one in tried if one.record is not None)
    trials = [one.trial for one in tried]
    measure, recommended, reason = recommend(trials)
    beyond = next((one.record.beyond for one in tried if one.record and one.trial.method == recommended), None)
    if beyond is not None:
        reason += f" Unlike its control, {recommended} also learned from {beyond}."
    return FixTrials(
        tool=ToolRecord(version=__version__),
        argv=[without_folders(argument) for argument in argv],
        started=started,
        model=first.model,
        data=first.data.name,
        seed=first.seed,
        budget=budget,
        trials=trials,
        measure=measure,
        recommended=recommended,
        reason=reason,
    )


def recommend(trials: Sequence[Trial]) -> tuple[str | None, str | None, str]:
    """(measure, method, why): by the lower end of the gain's interval, among those that lose no accuracy.

    The measure is worst-group accuracy where there are groups, else core accuracy, else clean accuracy. Methods are
    compared on the images that also give the numbers, so the best of many looks a little better than it is. And each
    interval is a 95 % one by itself: the more methods, the likelier one that does nothing looks sure. Both are said.
    """
    done = [trial for trial in trials if trial.status == "done" and trial.method != "erm"]
    standings = {trial.method: {one.metric: one for one in trial.standings} for trial in done}
    measure = next((m for m in DECIDING if any(m in of for of in standings.values())), None)
    if measure is None:
        return None, None, "No method besides plain training was carried out."
    sure = [
        (gain.ci[0], method, gain)
        for method, of in standings.items()
        if (gain := _sure_gain(of, measure)) is not None and gain.ci is not None
    ]
    words = measure.replace("_", " ")
    if not sure:
        return measure, None, f"No method gained {words} over the control for sure without losing clean accuracy."
    low, method, gain = max(sure)
    high = gain.ci[1] if gain.ci is not None else low
    reason = (
        f"{method}: {100 * (gain.gain or 0):+.1f} points of {words} over the control (95 % {100 * low:+.1f} to "
        f"{100 * high:+.1f}), the largest gain that is sure by itself, and no clean accuracy lost."
    )
    return measure, method, reason + _of_many(len(done))


def _of_many(methods: int) -> str:
    """What having looked at several methods does to the best of them. The bound is Bonferroni's."""
    if methods == 1:
        return ""
    return (
        f" Chosen on the images that give the numbers: the best of {methods} methods looks a little better than it is, "
        f"and with {methods} methods that do nothing the chance that at least one looks sure is up to "
        f"{methods * 100 * _FALSELY_SURE:g} %."
    )


def _sure_gain(of: Mapping[str, Standing], measure: str) -> FixVerdict | None:
    """What a method gained for sure; None where it lost clean accuracy, or is no better than the delivered model."""
    standing, clean = of.get(measure), of.get("clean_accuracy")
    if standing is None or standing.gain.outcome != "gained" or (clean is not None and clean.gain.outcome == "lost"):
        return None
    # A control that plain training ruined is easy to exceed.
    ruined = standing.before is not None and standing.fixed is not None and standing.fixed <= standing.before
    return None if ruined else standing.gain
