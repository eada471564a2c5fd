"""The audits that a scan can run: what each needs, and how it is made from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spuraudit.audits.base import Audit, Cohort
from spuraudit.audits.feature_drop import FeatureDropAudit
from spuraudit.audits.noise import NoiseAudit
from spuraudit.audits.patch_pairs import Pairing
from spuraudit.audits.patch_swap import PatchSwapAudit
from spuraudit.audits.region_swap import RegionSwapAudit

if TYPE_CHECKING:
    from collections.abc import Callable

    from spuraudit.record.settings import ScanSettings


class Entry(NamedTuple):
    """`missing` says what the cohort lacks for this audit (None: nothing); `make` builds it."""

    missing: Callable[[Cohort], str | None]
    make: Callable[[Cohort, ScanSettings], Audit]


def _no_core(cohort: Cohort) -> str | None:
    return None if any(row.has_core for row in cohort.rows) else "It needs core masks; the audited images have none."


def _no_masks(cohort: Cohort) -> str | None:
    return None if any(row.masks for row in cohort.rows) else "It needs feature masks; the audited images have none."


def _one_class(cohort: Cohort) -> str | None:
    labels = {row.label for row in cohort.donors}
    return None if len(labels) > 1 else "It needs images of at least two classes."


def _nothing_asked(cohort: Cohort, audit: Audit) -> str | None:
    if any(audit.questions(row) for row in cohort.rows):
        return None
    return "With these settings it has nothing to ask of any audited image."


def _no_swap(cohort: Cohort) -> str | None:
    return _no_core(cohort) or _one_class(cohort)


def _noise(cohort: Cohort, s: ScanSettings) -> Audit:
    return NoiseAudit(cohort, s.sigmas, s.trials, s.dilation_iterations, s.spurious_region, s.clamp)


def _feature_drop(cohort: Cohort, s: ScanSettings) -> Audit:
    return FeatureDropAudit(cohort, s.sigmas[0], s.trials, s.dilation_iterations)


def _region_swap(cohort: Cohort, s: ScanSettings) -> Audit:
    return RegionSwapAudit(cohort, s.swap_trials)


def _patch_swap(cohort: Cohort, s: ScanSettings) -> Audit:
    names = cohort.class_names
    pairing = Pairing(
        cohort,
        s.patch_sources,
        s.patch_targets,
        s.target_classes,
        s.limit_sources,
        None if s.source_classes is None else tuple(names.index(name) for name in s.source_classes),
        None if s.pairs is None else tuple((names.index(source), names.index(target)) for source, target in s.pairs),
    )
    return PatchSwapAudit(cohort, pairing, s.passes, s.patch, adaptive=s.search == "adaptive")


def make_audit(name: str, cohort: Cohort, settings: ScanSettings) -> Audit | str:
    """The audit, or a sentence that says what it would need."""
    entry = CATALOGUE[name]
    missing = entry.missing(cohort)
    if missing is not None:
        return missing
    audit = entry.make(cohort, settings)
    return _nothing_asked(cohort, audit) or audit


CATALOGUE: dict[str, Entry] = {
    "noise": Entry(_no_core, _noise),
    "feature_drop": Entry(_no_masks, _feature_drop),
    "region_swap": Entry(_no_swap, _region_swap),
    "patch_swap": Entry(_one_class, _patch_swap),
}
