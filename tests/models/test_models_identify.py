"""A bare state dict finds its architecture, or says which ones it could be and what decides."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torchvision
from timm.models import model_entrypoint

from spuraudit.errors import ModelError
from spuraudit.models.architectures import OWN, create, known_architectures
from spuraudit.models.checkpoint import read_checkpoint
from spuraudit.models.from_file import draft_from_file
from spuraudit.models.identify import identify, load_index, undecided
from spuraudit.models.layouts import behaviour_key, shapes_of, weights_key
from spuraudit.models.loading import load
from spuraudit.models.request import Request
from spuraudit.models.wrappers import _ASIDE

#: All architectures are built in so many tests, which can run beside each other.
CHUNKS = 16


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


def of_these_libraries() -> bool:
    libraries = {"timm": timm, "torchvision": torchvision, "open_clip": open_clip}
    here = {name: library.__version__.partition("+")[0] for name, library in libraries.items()}
    return load_index().versions == here


def names_found(network: torch.nn.Module) -> set[str]:
    """All architectures that a network's own state dict leads to."""
    return {arch for one in identify(network.state_dict(), "file.pt") for arch in (one.arch, *one.equal)}


def test_the_index_holds_every_architecture() -> None:
    index = load_index()
    if not of_these_libraries():
        pytest.skip(f"the index was built from {index.versions}")
    assert {entry.arch for entry in index.entries} == set(known_architectures())
    assert len(index.entries) > 1500


@pytest.mark.slow
@pytest.mark.parametrize("arch", one_of_each_file())
def test_an_architectures_own_weights_lead_back_to_it(arch: str) -> None:
    """One architecture of every model file."""
    if not of_these_libraries():
        pytest.skip("the index is of other libraries")
    network = meta(arch)
    (entry,) = (entry for entry in load_index().entries if entry.arch == arch)
    assert entry.behaviour == behaviour_key(network)
    assert arch in names_found(network)


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_architectures_own_weights_lead_back_to_it(chunk: int) -> None:
    """At most eleven rivals, and no part of a network that would be taken for a loss or a metric."""
    lost, crowded, aside = [], [], []
    for entry in load_index().entries[chunk::CHUNKS]:
        network = meta(entry.arch)
        state = network.state_dict()
        found = identify(state, "file.pt")
        if not any(entry.arch in (one.arch, *one.equal) for one in found):
            lost.append(entry.arch)
        if len(found) > 12:
            crowded.append((entry.arch, len(found)))
        aside += [entry.arch for name in {name.partition(".")[0] for name in state} if _ASIDE.match(name)]
    assert (lost, crowded, aside) == ([], [], [])


@pytest.mark.parametrize(
    "arch", ["mobilenetv2_100", "vit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224"]
)
def test_the_number_of_classes_does_not_matter(arch: str) -> None:
    assert arch in names_found(meta(arch, num_classes=7))


def test_twins_that_compute_differently_are_rivals_and_the_difference_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "file.pt"
    torch.save(create("mobilenetv3_small_075", {"num_classes": 3}).state_dict(), path)
    draft = draft_from_file(str(path), Request())
    assert draft.identity["arch"] == "mobilenetv3_small_075"
    assert "tf_mobilenetv3_small_075" in draft.rivals
    message, hint = draft.undecided.message, draft.undecided.hint
    assert "mobilenetv3_small_075" in message
    assert "tf_mobilenetv3_small_075: " in message
    assert "compute differently" in message
    assert "padding" in message or "type Conv2dSame" in message
    assert "--arch mobilenetv3_small_075" in hint
    with pytest.raises(ModelError, match="compute differently"):
        load(str(path), device="cpu")


def test_labelled_images_may_choose_among_rivals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "file.pt"
    torch.save(create("mobilenetv3_small_075", {"num_classes": 3}).state_dict(), path)
    model = load(str(path), device="cpu", choose=lambda models: models[-1])
    assert model.record.arch == draft_from_file(str(path), Request()).rivals[-1]
    assert model.record.num_classes == 3


def test_best_first() -> None:
    found = identify(meta("resnet50").state_dict(), "file.pt")
    assert found[0].arch == "resnet50"
    assert "torchvision:resnet50" in found[0].equal
    message = undecided(found, "file.pt").message if len(found) > 1 else "  resnet50"
    assert "  resnet50" in message


def test_twins_that_compute_the_same_are_named() -> None:
    found = identify(meta("deit_tiny_patch16_224").state_dict(), "file.pt")
    first = next(one for one in found if "deit_tiny_patch16_224" in (one.arch, *one.equal))
    assert {first.arch, *first.equal} >= {"deit_tiny_patch16_224", "vit_tiny_patch16_224"}
    assert "other preprocessing" in first.origin


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
    assert identify(fused.state_dict(), "file.pt")[0].arch == "mobileone_s0"


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
    (found,) = identify(read_checkpoint(shared / "data/weights" / file).tensors, file)
    assert found.arch == arch


def test_dropout_and_outputs_are_no_behaviour_activations_are() -> None:
    key = behaviour_key(meta("resnet18"))
    assert behaviour_key(meta("resnet18", num_classes=3, drop_rate=0.4)) == key
    assert behaviour_key(meta("resnet18", act_layer=torch.nn.ReLU6)) != key


def test_batch_norms_counters_do_not_matter() -> None:
    state = meta("resnet18").state_dict()
    without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(without) < len(state)
    assert weights_key(shapes_of(state), ["fc"]) == weights_key(shapes_of(without), ["fc"])
