"""`spuraudit fix` on real weights and photos: an ImageNet network becomes a classifier of birds, and timm loads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import timm
import torch
from safetensors import safe_open

from spuraudit.cli.main import main
from spuraudit.record.fix import read_fix
from spuraudit.record.folder import read_record, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def test_an_imagenet_network_learns_birds(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = shared / "data/weights/mobilenetv2_100.pt"
    before = sha256_of(weights)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    command = ["fix", str(weights), "--arch", "mobilenetv2_100", "--img-size", "96", "--start", "new-head"]
    command += ["--data", str(shared / "data/mini_waterbirds"), "--limit-train", "64", "--limit", "40", "--epochs", "1"]
    command += ["--lr", "1e-3", "--train-batch", "16", "--method", "swap", "--audits", "noise", "--trials", "1"]
    command += ["--device", "cpu", "--workers", "1", "-q", "--run", "fix", "-o", "fixed.safetensors"]
    assert main(command) == 0
    assert torch.get_num_threads() == threads
    assert sha256_of(weights) == before
    record = read_fix(tmp_path / "fix")
    assert record.arms.before is None
    assert (record.data.train.images, record.data.held_out.images, record.steps) == (64, 40, 4)
    assert record.model.sha256 == before
    assert read_record(tmp_path / "fix" / "fixed").model.preprocess.geometry.height == 96
    network = timm.create_model("mobilenetv2_100", num_classes=2, checkpoint_path="fixed.safetensors")
    with safe_open("fixed.safetensors", framework="pt") as file:
        assert all(torch.equal(tensor, file.get_tensor(name)) for name, tensor in network.state_dict().items())
        origin = json.loads(file.metadata()["provenance"])
    assert origin["from"]["sha256"] == before
    delivered = torch.load(weights, weights_only=True)
    kernel = network.state_dict()["conv_stem.weight"]
    assert not torch.equal(kernel, delivered["conv_stem.weight"])
    assert float((kernel - delivered["conv_stem.weight"]).abs().max()) < 0.1
