"""What of two runs could not be compared, and why: a change that is not shown is not a change of 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import count, listing, many
from spuraudit.report.views.change_words import capital, metric_name, shortcut_name
from spuraudit.report.views.compare_words import in_letters
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from spuraudit.record.scan import AuditRecord, Measurement
    from spuraudit.report.views.compare_pair import Pair

Limits = list[tuple[str, str]]
"""What, why."""
_OWN_REPORTS = "The reports of the runs have them."
_KINDS = (
    ("Numbers per pair of classes", f"Few images each. {_OWN_REPORTS}"),
    ("Means over images", "The means over classes are compared."),
    ("Core and spurious drop", "Each is clean accuracy minus an accuracy that is compared."),
    (
        "Patch-swap means and maps",
        "A run sweeps images that its model gets right, and an adaptive search its own cells: other images, other "
        "numbers. Cells that a run found are compared on the images of both.",
    ),
    ("Labels of multi-label models", f"Labels are not paired. {_OWN_REPORTS}"),
    ("Other numbers", f"There is no paired test for them. {_OWN_REPORTS}"),
)


def limits(pair: Pair) -> Limits:
    """Audits, kinds of numbers, single numbers and shortcuts without a change."""
    return [*_audits(pair), *_kinds(pair), *_undefined(pair), *_shortcuts(pair)]


def _audits(pair: Pair) -> Limits:
    sides: list[dict[str, AuditRecord]] = [{audit.name: audit for audit in record.audits} for record in pair.records]
    found = []
    for name, said in AUDITS.items():
        silent = []
        for letter, side in zip(pair.letters, sides, strict=True):
            audit = side.get(name)
            if audit is None or audit.status != "run":
                silent.append((letter, (audit.reason if audit is not None else None) or "not asked for."))
        if len(silent) == 2:
            reasons = dict.fromkeys(reason for _, reason in silent)
            found.append((said, f"Ran for neither: {' '.join(reasons)}"))
        elif silent:
            found.append((said, f"Did not run for {silent[0][0]}: {silent[0][1]}"))
    return found


def _kinds(pair: Pair) -> Limits:
    """Kinds of numbers of which no single one is compared."""
    uncompared: dict[int, set[str]] = {}
    for record in pair.records:
        for one in record.measurements:
            if pair.changes.get(one.metric, one.scope) is None:
                uncompared.setdefault(_kind(one), set()).add(one.metric)
    return [(_KINDS[kind][0], f"{_KINDS[kind][1]}{_named(kind, uncompared[kind])}") for kind in sorted(uncompared)]


def _kind(one: Measurement) -> int:
    if "donor_class" in one.scope:
        return 0
    if one.metric.endswith("_images"):
        return 1
    if one.metric in ("core_drop", "spurious_drop"):
        return 2
    if one.metric.startswith("patch_"):
        return 3
    return 4 if "label" in one.metric else 5


def _named(kind: int, metrics: set[str]) -> str:
    return f" ({', '.join(sorted(metrics))})" if kind == len(_KINDS) - 1 else ""


def _undefined(pair: Pair) -> Limits:
    """Numbers that one of the runs has no value for."""
    undefined = [one for one in pair.comparison.changes if one.change is None]
    shown = [
        (capital(metric_name(one.metric, one.scope)), f"{in_letters(one.reason or 'undefined', pair.letters)}.")
        for one in undefined[: bounds.CHART_ROWS]
    ]
    more = len(undefined) - len(shown)
    return [*shown, (many(more, "more number"), "Undefined in one of the runs; see the CSV.")] if more else shown


def _shortcuts(pair: Pair) -> Limits:
    """Shortcuts that only one run tested, or without an image that counts in both."""
    lonely = [one for one in pair.comparison.shortcuts if one.change is None]
    if not lonely:
        return []
    names = listing([shortcut_name(one) for one in lonely], 3)
    told = "Asked by one run only, or no image that both models get right: no change can be computed."
    return [
        (f"{count(len(lonely))} of {many(len(pair.comparison.shortcuts), 'shortcut')}", f"{told} {capital(names)}.")
    ]
