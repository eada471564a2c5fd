"""A real checkpoint on real masked photos agrees with figures that were measured by other code.

The figures (../shared/data/README.md, 1.1): MobileNetV2 with ImageNet weights on the three ImageNet species of the
Leeds butterflies, 227 photos, sigma 0.25, clamped, 1000-way: clean 226 right; core 97.94 +- 0.17, spurious
33.38 +- 2.31 (class means, s.d. over trials); with another random stream core within 1 point, spurious within 5.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import spuraudit

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.shared
@pytest.mark.slow
def test_mobilenetv2_on_the_butterflies(shared: Path, tmp_path: Path) -> None:
    model = spuraudit.load_model(str(shared / "data/weights/mobilenetv2_100.pt"), arch="mobilenetv2_100")
    dataset = spuraudit.open_dataset(str(ROOT / "examples/butterflies"), data_dir=shared / "data/leeds_butterfly_256")
    settings = spuraudit.ScanSettings(audits=("noise",), trials=2)
    record = spuraudit.scan(model, dataset, tmp_path / "run", settings)
    value = {m.metric: m.value for m in record.measurements if set(m.scope) <= {"sigma"}}
    assert record.data.images == 227
    assert value["clean_accuracy_images"] == pytest.approx(226 / 227)
    assert value["clean_accuracy"] == pytest.approx(0.9939, abs=5e-4)
    assert value["core_accuracy"] == pytest.approx(0.9794, abs=0.015)
    assert value["spurious_accuracy"] == pytest.approx(0.3338, abs=0.05)
    assert value["rcs"] == pytest.approx(0.940, abs=0.05)
