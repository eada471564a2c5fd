"""`--data salient1m` end to end: a network with 1000 outputs on a small tree with the release's names."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

import spuraudit


@pytest.mark.slow
def test_a_scan_of_the_release(salient: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "model.pt")
    model = spuraudit.load_model(str(tmp_path / "model.pt"), arch="mobilenetv3_small_050", device="cpu")
    settings = spuraudit.ScanSettings(allow_chance=True, trials=1, swap_trials=1)
    dataset = spuraudit.open_dataset("salient1m", data_dir=salient)
    record = spuraudit.scan(model, dataset, tmp_path / "run", settings)
    assert record.data.layout == "salient1m"
    geometry = record.model.preprocess.geometry
    assert (geometry.crop_pct, geometry.crop_mode) == (0.875, "center")
    assert record.model.preprocess.origin["crop_pct"] == "dataset"
    assert {audit.name for audit in record.audits if audit.status == "run"} == {"noise", "feature_drop", "region_swap"}
    # Annotated spurious features are audited under their own names, the rest of the surroundings is not a feature.
    roles = {finding.role for finding in record.findings if finding.audit == "feature_drop"}
    assert roles == {"core", "spurious"}
    noise = next(audit for audit in record.audits if audit.name == "noise")
    assert 0 < noise.images < record.data.images  # classes without a core feature are not in its numbers
    assert any("core mask" in exclusion.reason for exclusion in record.exclusions)
