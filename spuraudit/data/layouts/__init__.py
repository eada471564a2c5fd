"""Layouts by name. A new one is one file here and its line in `LAYOUTS`."""

from __future__ import annotations

from spuraudit.data.layouts import manifest, salient1m, waterbirds
from spuraudit.data.layouts.layout import Layout

#: In the order in which a folder is asked whether it is one of them.
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (manifest.LAYOUT, salient1m.LAYOUT, waterbirds.LAYOUT)}
