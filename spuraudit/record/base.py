"""What every part of the record shares: frozen, no unknown fields, no NaN; numbers that are numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

Number = Annotated[float, Strict()]
"""A number and nothing that could be read as one: neither "0.99" nor true."""
Count = Annotated[int, Strict(), Field(ge=0)]
Interval = tuple[Number, Number]


class Part(BaseModel):
    """A frozen piece of a record. Unknown fields are refused; NaN and infinity never enter JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
