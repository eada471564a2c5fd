"""What `import spuraudit` offers, and what it must not load."""

from __future__ import annotations

import subprocess
import sys

import spuraudit


def test_every_public_name_can_be_imported() -> None:
    assert sorted(spuraudit.__all__) == spuraudit.__all__
    for name in spuraudit.__all__:
        assert getattr(spuraudit, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(spuraudit, "no_such_name")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, spuraudit; print(sorted({'torch', 'numpy', 'pydantic', 'typer'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
