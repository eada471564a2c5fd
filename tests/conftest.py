"""What every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photos beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("the real weights and photos (../shared) are not here")
    return SHARED
