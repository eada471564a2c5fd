"""spuraudit tells whether an image classifier looks at the object or at what happens to be around it."""

from __future__ import annotations

__version__ = "0.1.0"
