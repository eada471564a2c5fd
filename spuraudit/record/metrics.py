"""The names of all numbers that a scan can measure: a gate on any other could never be evaluated."""

from __future__ import annotations

_CLEAN = ("clean_accuracy", "clean_accuracy_images", "worst_group_accuracy", "mean_group_accuracy")
_NOISE = ("core_accuracy", "spurious_accuracy", "core_drop", "spurious_drop", "rcs")
_FEATURE_DROP = (
    "feature_clean_accuracy",
    "feature_noised_accuracy",
    "feature_drop",
    "control_drop",
    "feature_drop_excess",
)
_REGION_SWAP = ("swap_same_accuracy", "swap_other_accuracy", "swap_gap", "swap_pull")
_PATCH_SWAP = (
    "patch_certainty_unperturbed",
    "patch_argmin_drop",
    "patch_mean_absolute_change",
    "patch_argmin_agreement",
    "patch_settled",
    "patch_certainty",
    "patch_drop",
    "patch_consistency",
)
_LABELS = ("label_recall", "label_false_alarm", "mean_label_recall", "mean_label_false_alarm")
_NOISED = ("core_", "spurious_")
"""How the names of labels begin under noise: around the object, and on it."""

METRICS = frozenset(
    (
        *_CLEAN,
        *_NOISE,
        *(f"{name}_images" for name in _NOISE),
        *_FEATURE_DROP,
        *_REGION_SWAP,
        *_PATCH_SWAP,
        *_LABELS,
        *(f"{prefix}{name}{ending}" for prefix in _NOISED for name in _LABELS for ending in ("", "_drop")),
    )
)
EXAMPLES = ("clean_accuracy", "worst_group_accuracy", "core_accuracy", "rcs", "feature_drop", "swap_gap", "patch_drop")
"""Of each audit the best known."""
