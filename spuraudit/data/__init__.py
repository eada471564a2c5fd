"""DATA -> Dataset: tables, reading of bytes and masks, checks, fingerprint. Knows no model and no torch."""

from __future__ import annotations

from spuraudit.data.locate import open_dataset

__all__ = ["open_dataset"]
