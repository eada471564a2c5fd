"""The wheel as a stranger gets it: installed into a fresh venv, run from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from spuraudit.record.folder import to_json
from spuraudit.record.scan import ScanRecord
from spuraudit.record.schema import json_schema

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a venv that holds the built wheel; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    # No isolation: the build backend of this environment serves, and nothing is downloaded.
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python.parent


def _run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [installed / "spuraudit", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_wheel_ships_its_templates_and_zoo(installed: Path, tmp_path: Path) -> None:
    code = (
        "import spuraudit, spuraudit.resources as r; print(spuraudit.__file__, r.templates_dir(), r.model_zoo_file())"
    )
    shown = subprocess.run([installed / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    for place in shown.stdout.split():
        assert str(installed.parent) in place
        assert Path(place).exists()


@pytest.mark.slow
def test_the_wheel_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    schema = _run(installed, tmp_path, "schema")
    assert schema.returncode == 0, schema.stderr
    assert json.loads(schema.stdout) == json_schema("scan")
    run = tmp_path / "elsewhere"
    run.mkdir()
    (run / "scan.json").write_bytes(to_json(_smallest_record()))
    rendered = _run(installed, tmp_path, "report", "elsewhere")
    assert rendered.returncode == 0, rendered.stderr
    assert "<html" in (run / "report.html").read_text(encoding="utf-8")
    gate = _run(installed, tmp_path, "gate", "elsewhere", "--rule", "rcs >= 0.2")
    assert gate.returncode == 2, gate.stdout + gate.stderr  # nothing was measured: never a pass


def _smallest_record() -> ScanRecord:
    geometry = {"height": 8, "width": 8, "crop_pct": 1.0}
    preprocess = {"geometry": geometry, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return ScanRecord.model_validate(
        {
            "schema": "spuraudit/scan",
            "tool": {"version": "0"},
            "run": {
                "id": "0" * 16,
                "plan_sha256": "0" * 64,
                "started": "2026-01-01T00:00:00+00:00",
                "seconds": 0,
                "resumed_parts": 0,
                "argv": [],
                "seed": 0,
            },
            "model": {
                "name": "m",
                "source": "file",
                "arch": "a",
                "arch_origin": "--arch",
                "parameters": 1,
                "num_classes": 2,
                "preprocess": preprocess,
            },
            "data": {
                "name": "d",
                "source": "d",
                "layout": "manifest",
                "fingerprint": "f",
                "images": 0,
                "available": 0,
                "classes": [],
                "features": [],
            },
            "audits": [],
            "definitions": {},
            "measurements": [],
            "findings": [],
            "environment": {"python": "3", "platform": "p", "device": "cpu", "packages": {}},
            "observations": [],
        }
    )
