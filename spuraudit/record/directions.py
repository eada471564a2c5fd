"""Which way a metric gets worse: what its name does not tell."""

from __future__ import annotations

#: What less of is better: a drop of these is a rise.
GOOD_LOW = frozenset({"swap_gap", "swap_pull", "feature_drop", "feature_drop_excess"})
#: Neither more nor less is better by itself: these have no drop.
NEITHER = frozenset({"spurious_accuracy", "control_drop"})
