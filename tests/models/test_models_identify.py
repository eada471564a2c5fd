"""A bare state dict finds its architecture, or says which ones it could be and what decides."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import timm
import torch
from timm.models import model_entrypoint

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, create
from spuraudit.models.checkpoint import read_checkpoint
from spuraudit.models.identify import identify, load_index
from spuraudit.models.layouts import behaviour_key, shapes_of, weights_key
from spuraudit.models.loading import load


def meta(arch: str, **kwargs: object) -> torch.nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return create(arch, kwargs).eval()


def one_of_each_file() -> list[str]:
    """The architecture with the shortest name of each of timm's model files, and our own."""
    files: dict[str, list[str]] = defaultdict(list)
    for arch in timm.list_models():
        files[model_entrypoint(arch).__module__].append(arch)
    return [*OWN, *(min(archs, key=len) for archs in files.values())]


def test_the_index_holds_every_architecture() -> None:
    index = load_index()
    if index.timm != timm.__version__:
        pytest.skip(f"the index was built from timm {index.timm}, here is {timm.__version__}")
    assert {entry.arch for entry in index.entries} == {*OWN, *timm.list_models()}
    assert len(index.entries) > 1300


@pytest.mark.slow
@pytest.mark.parametrize("arch", one_of_each_file())
def test_an_architectures_own_weights_lead_back_to_it(arch: str) -> None:
    """One architecture of every model file, with another number of classes."""
    if load_index().timm != timm.__version__:
        pytest.skip("the index is of another timm")
    network = meta(arch)
    (entry,) = (entry for entry in load_index().entries if entry.arch == arch)
    assert entry.behaviour == behaviour_key(network)
    try:
        found = identify(network.state_dict(), "file.pt")
    except ModelError as error:
        assert "compute differently" in error.message  # noqa: PT017
        assert arch in error.message  # noqa: PT017
    else:
        assert arch in (found.arch, *found.equal)


@pytest.mark.parametrize(
    "arch", ["mobilenetv2_100", "vit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224"]
)
def test_the_number_of_classes_does_not_matter(arch: str) -> None:
    found = identify(meta(arch, num_classes=7).state_dict(), "file.pt")
    assert arch in (found.arch, *found.equal)


def test_twins_that_compute_differently_are_listed_with_the_difference() -> None:
    with pytest.raises(ModelError) as caught:
        identify(meta("mobilenetv3_small_075").state_dict(), "file.pt")
    message, hint = caught.value.message, str(caught.value.hint)
    assert "mobilenetv3_small_075" in message
    assert "tf_mobilenetv3_small_075: " in message
    assert "padding" in message or "type Conv2dSame" in message
    assert "--arch mobilenetv3_small_075" in hint


def test_twins_that_compute_the_same_are_named() -> None:
    found = identify(meta("deit_tiny_patch16_224").state_dict(), "file.pt")
    assert {found.arch, *found.equal} >= {"deit_tiny_patch16_224", "vit_tiny_patch16_224"}
    assert "other preprocessing" in found.origin


def test_another_width_is_said() -> None:
    with pytest.raises(ModelError, match="another width or input size") as caught:
        identify(meta("mobilenet_edgetpu_100", channel_multiplier=0.75).state_dict(), "file.pt")
    assert "mobilenet_edgetpu_100" in caught.value.message
    assert "--arch mobilenet_edgetpu_100" in str(caught.value.hint)


def test_unknown_weights_are_unknown() -> None:
    with pytest.raises(ModelError, match="of none that is known"):
        identify({"layer.weight": torch.zeros(3, 4)}, "file.pt")


def test_a_fused_network_is_known_by_its_fused_form() -> None:
    from timm.utils.model import reparameterize_model

    fused = reparameterize_model(create("mobileone_s0", {}).eval(), inplace=True)
    assert identify(fused.state_dict(), "file.pt").arch == "mobileone_s0"


def test_a_file_without_a_name_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create("mobilenetv2_050", {"num_classes": 5}).state_dict(), tmp_path / "bare.pt")
    model = load(str(tmp_path / "bare.pt"), device="cpu")
    assert model.record.arch == "mobilenetv2_050"
    assert model.record.num_classes == 5
    assert str(model.record.arch_origin).startswith("identified")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "arch"),
    [
        ("mobilenetv1_100.pt", "mobilenetv1_100"),
        ("mobilenetv2_100.pt", "mobilenetv2_100"),
        ("mobilenetv2_100.tf_same.pt", "mobilenetv2_100"),
        ("mobileone_s0.pt", "mobileone_s0"),
        ("mobileone_s0.fused.safetensors", "mobileone_s0"),
    ],
)
def test_real_weights(shared: Path, file: str, arch: str) -> None:
    assert identify(read_checkpoint(shared / "data/weights" / file).tensors, file).arch == arch


def test_dropout_and_outputs_are_no_behaviour_activations_are() -> None:
    key = behaviour_key(meta("resnet18"))
    assert behaviour_key(meta("resnet18", num_classes=3, drop_rate=0.4)) == key
    assert behaviour_key(meta("resnet18", act_layer=torch.nn.ReLU6)) != key


def test_batch_norms_counters_do_not_matter() -> None:
    state = meta("resnet18").state_dict()
    without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(without) < len(state)
    assert weights_key(shapes_of(state), ["fc"]) == weights_key(shapes_of(without), ["fc"])
