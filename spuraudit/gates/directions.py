"""Which way a metric gets worse: what a limit on a drop needs to know, and no name can tell."""

from __future__ import annotations

#: What less of is better: a drop of these is a rise. The same as in `compare.changes`.
GOOD_LOW = frozenset({"swap_gap", "swap_pull", "feature_drop", "feature_drop_excess"})
#: Neither more nor less is better by itself: these have no drop.
NEITHER = frozenset({"spurious_accuracy", "control_drop"})
