"""Published files that no ordinary loader reads -> networks. One module per project they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.models.adapters import dino, mocov3, simclr

if TYPE_CHECKING:
    from spuraudit.models.adapters.fitting import Build

#: Kind of an adapter in a zoo file -> what builds its networks. `record.zoo_schema.ADAPTERS` knows their files.
BUILDERS: dict[str, Build] = {"dino": dino.build, "mocov3": mocov3.build, "simclr": simclr.build}
