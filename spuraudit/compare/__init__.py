"""Two scans of the same images by two models: what changed, paired image by image. No torch, no model."""

from __future__ import annotations

from spuraudit.compare.runs import compare_runs

__all__ = ["compare_runs"]
