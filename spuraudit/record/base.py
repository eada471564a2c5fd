"""What every part of the record shares: frozen, no unknown fields, no NaN."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen piece of a record. Unknown fields are refused; NaN and infinity never enter JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
