"""The real checkpoints beside the checkout: each loads as its README says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spuraudit.errors import ModelError
from spuraudit.models import Model, PreprocessOverrides, load
from spuraudit.models.mc_dropout import draw_masks, mc_logits, prepare

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
HALF = PreprocessOverrides(mean=(0.5,), std=(0.5,))
NOTHING = PreprocessOverrides()

# file -> --arch, --model-kwargs, overrides, parameters, mean, start of the sha256
FILES = {
    "mobilenetv2_100.pt": ("mobilenetv2_100", {}, NOTHING, 3_504_872, 0.485, "a87a6e20"),
    "mobilenetv2_100.tf_same.pt": ("mobilenetv2_100", {"pad_type": "same"}, HALF, 3_504_872, 0.5, "d088cec5"),
    "mobilenetv1_100.pt": ("mobilenetv1_100", {"pad_type": "same"}, NOTHING, 4_231_976, 0.5, "973f4025"),
    "mobilenetv1_100.module_prefix.pth.tar": (None, {}, NOTHING, 4_231_976, 0.5, "c24a1f45"),
    "mobileone_s0.pt": ("mobileone_s0", {}, NOTHING, 5_293_272, 0.485, "69fa6b80"),
    "mobileone_s0.fused.safetensors": (None, {}, NOTHING, 2_078_504, 0.485, "66d28bf2"),
    "mobilenet_edgetpu_100.w075.pt": (
        "mobilenet_edgetpu_100",
        {"channel_multiplier": 0.75, "pad_type": "same"},
        HALF,
        2_988_160,
        0.5,
        "ff9dd41a",
    ),
}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"no real weights in {WEIGHTS}"),
]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {
        file: load(str(WEIGHTS / file), arch=arch, kwargs=kwargs, overrides=overrides, device="cpu")
        for file, (arch, kwargs, overrides, *_) in FILES.items()
    }


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """Smooth random colours: closer to photos than noise is."""
    coarse = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=224, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("file", FILES)
def test_loads(file: str, models: dict[str, Model], pixels: Tensor) -> None:
    _, kwargs, overrides, parameters, mean, sha256 = FILES[file]
    model = models[file]
    assert model.record.parameters == parameters
    assert model.record.num_classes == 1000
    assert model.record.sha256.startswith(sha256)
    assert model.record.preprocess.mean[0] == mean
    assert model.record.preprocess.origin["mean"] == ("--mean" if overrides is HALF else model_origin(file))
    assert set(kwargs.items()) <= set(model.record.kwargs.items())
    logits = model.logits(pixels)
    assert logits.shape == (2, 1000)
    assert torch.isfinite(logits).all()


def model_origin(file: str) -> str:
    return "checkpoint" if file.endswith(".tar") else "timm"


def test_the_checkpoints_own_arguments_are_used_and_named(models: dict[str, Model]) -> None:
    model = models["mobilenetv1_100.module_prefix.pth.tar"]
    assert model.record.arch == "mobilenetv1_100"
    assert model.record.kwargs == {"pad_type": "same"}
    assert model.record.arch_origin == "checkpoint, with pad_type=same from the checkpoint"
    assert "The prefix 'module.' was removed from all names." in model.record.notes
    assert model.record.preprocess.origin["std"] == "checkpoint"


def test_both_containers_hold_the_same_function(models: dict[str, Model], pixels: Tensor) -> None:
    plain = models["mobilenetv1_100.pt"].logits(pixels)
    packed = models["mobilenetv1_100.module_prefix.pth.tar"].logits(pixels)
    assert torch.allclose(plain, packed, atol=2e-2 * float(plain.abs().max()))


def test_fused_and_plain_agree(models: dict[str, Model], pixels: Tensor) -> None:
    plain = models["mobileone_s0.pt"].logits(pixels).softmax(dim=1)
    fused = models["mobileone_s0.fused.safetensors"].logits(pixels).softmax(dim=1)
    assert torch.allclose(plain, fused, atol=1e-3)
    assert plain.argmax(dim=1).tolist() == fused.argmax(dim=1).tolist()
    assert any("fused" in note for note in models["mobileone_s0.fused.safetensors"].record.notes)


def test_the_wrong_width_is_named() -> None:
    with pytest.raises(ModelError, match="277 with another shape") as caught:
        load(str(WEIGHTS / "mobilenet_edgetpu_100.w075.pt"), arch="mobilenet_edgetpu_100", device="cpu")
    assert "channel_multiplier=0.75" in caught.value.hint


def test_a_family_that_fixes_the_width_itself() -> None:
    with pytest.raises(ModelError, match=r"refuses channel_multiplier=0\.75"):
        load(
            str(WEIGHTS / "mobilenetv1_100.pt"),
            arch="mobilenetv1_100",
            kwargs={"channel_multiplier": 0.75},
            device="cpu",
        )


@pytest.mark.parametrize("file", ["mobilenetv2_100.pt", "mobilenetv1_100.module_prefix.pth.tar"])
def test_dropout_leaves_batch_norm_alone(file: str, models: dict[str, Model], pixels: Tensor) -> None:
    """With trivial statistics, as the second file has, batch norm in train mode would destroy the network."""
    model = models[file]
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    clean = model.logits(pixels)
    plan = prepare(model, pixels, rate=0.2)
    assert plan.where == ("classifier",)
    logits = mc_logits(model, plan, pixels, draw_masks(plan, 1, 6))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())
    assert torch.equal(clean, model.logits(pixels))
    # the passes scatter around the deterministic answer
    assert float((logits.mean(dim=0) - clean).abs().mean()) < float(logits.std(dim=0).mean())
