"""MODEL -> Model, on small networks with random weights written to disk."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from model_networks import build
from safetensors.torch import save_file
from torch import Tensor, nn

from spuraudit.errors import ModelError, UsageError
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.architectures import create, default_cfg
from spuraudit.models.timm_weights import weights_file


def save(path: Path, network: nn.Module, **extra: object) -> Path:
    state = network.state_dict()
    torch.save({"state_dict": state, **extra} if extra else state, path)
    return path


def same_function(model: object, network: nn.Module, side: int) -> bool:
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.eval()(model.normalise(pixels))
    # Not to the bit: loading lays convolution weights channels last. A logit near zero is a difference of large ones.
    scale = max(1.0, float(expected.abs().max()))
    return torch.allclose(model.logits(pixels), expected, rtol=1e-4, atol=1e-5 * scale)


def test_a_file_and_its_record(tmp_path: Path) -> None:
    network = build("test_resnet", num_classes=7)
    path = save(tmp_path / "mine.pth.tar", network, arch="test_resnet", epoch=4)
    model = load(str(path), device="cpu")
    record = model.record
    assert (record.name, record.file, record.source) == ("mine", "mine.pth.tar", "file")
    assert (record.arch, record.arch_origin) == ("test_resnet", "checkpoint")
    assert record.kwargs == {"num_classes": 7}
    assert record.num_classes == 7
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert record.size_bytes == path.stat().st_size
    assert len(record.sha256) == 64
    assert same_function(model, network, 160)
    assert not any(module.training for module in model.network.modules())
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert model.logits(torch.zeros(1, 3, 160, 160)).requires_grad is False
    assert str(tmp_path) not in record.model_dump_json()


def test_the_users_word_wins_over_the_checkpoints(tmp_path: Path) -> None:
    network = build("mobilenetv2_035", pad_type="same")
    args = {"pad_type": "same", "drop": 0.3, "mean": [0.5] * 3, "std": [0.25] * 3}
    path = save(tmp_path / "net.ckpt", network, arch="mobilenetv2_035", args=args)
    model = load(str(path), device="cpu")
    assert model.record.kwargs == {"pad_type": "same", "drop_rate": 0.3, "num_classes": 10}
    assert "pad_type=same" in model.record.arch_origin
    assert any("pad_type=same" in note for note in model.record.notes)
    assert model.record.preprocess.mean == (0.5, 0.5, 0.5)
    assert model.record.preprocess.origin["mean"] == "checkpoint"
    assert model.network.drop_rate == 0.3
    assert same_function(model, network, 224)

    other = load(
        str(path),
        arch="mobilenetv2_035",
        kwargs={"pad_type": "symmetric"},
        overrides=PreprocessOverrides(mean=(0.1,)),
        device="cpu",
    )
    assert other.record.arch_origin.startswith("--arch")
    assert other.record.kwargs["pad_type"] == "symmetric"
    assert "pad_type" not in other.record.arch_origin
    assert other.record.preprocess.mean == (0.1, 0.1, 0.1)
    assert other.record.preprocess.origin["std"] == "checkpoint"
    assert not same_function(other, network, 224)


def test_arguments_of_the_constructor_in_the_file(tmp_path: Path) -> None:
    kwargs = {"width": 4, "pool": True, "img_size": 32, "num_classes": 3}
    network = create("paper_cnn", kwargs)
    path = save(tmp_path / "net.pt", network, arch="paper_cnn", model_kwargs=kwargs)
    model = load(str(path), device="cpu")
    geometry = model.record.preprocess.geometry
    assert (geometry.height, geometry.width, geometry.crop_pct) == (32, 32, 1.0)
    assert model.record.preprocess.origin["img_size"] == "checkpoint"
    assert model.record.preprocess.origin["mean"] == "paper_cnn"
    assert model.record.kwargs == kwargs
    assert same_function(model, network, 32)
    # the same by hand, for a file that says nothing
    bare = save(tmp_path / "bare.pt", network)
    by_hand = load(str(bare), arch="paper_cnn", kwargs={"width": 4, "pool": True, "img_size": 32}, device="cpu")
    assert by_hand.record.preprocess.origin["img_size"] == "--model-kwargs"
    assert same_function(by_hand, network, 32)


def test_input_size_of_a_convolutional_network_is_geometry_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "net.pt", build("test_resnet"))
    model = load(str(path), arch="test_resnet", overrides=PreprocessOverrides(img_size=(96, 64)), device="cpu")
    geometry = model.record.preprocess.geometry
    assert (geometry.height, geometry.width) == (96, 64)
    assert model.record.preprocess.origin["img_size"] == "--img-size"
    assert model.logits(torch.zeros(2, 3, 96, 64)).shape == (2, 10)


def test_input_size_reaches_a_vision_transformer(tmp_path: Path) -> None:
    network = build("test_vit", img_size=64)
    path = save(tmp_path / "net.pt", network)
    model = load(str(path), arch="test_vit", overrides=PreprocessOverrides(img_size=64), device="cpu")
    assert same_function(model, network, 64)
    assert model.record.notes == []
    with pytest.raises(ModelError, match="pos_embed") as caught:
        load(str(path), arch="test_vit", device="cpu")
    assert "--img-size" in caught.value.hint


def test_position_tables_move_to_another_size_and_it_is_said(tmp_path: Path) -> None:
    network = build("test_vit")  # 160 pixels
    path = save(tmp_path / "net.pt", network)
    model = load(str(path), arch="test_vit", overrides=PreprocessOverrides(img_size=96), device="cpu")
    assert any("resampled to 96x96" in note for note in model.record.notes)
    assert model.record.preprocess.geometry.height == 96
    network.set_input_size(img_size=(96, 96))
    assert same_function(model, network, 96)


def test_size_said_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="given twice"):
        load("x.pt", kwargs={"img_size": 64}, overrides=PreprocessOverrides(img_size=64), device="cpu")


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    network = build("test_resnet").half()
    path = save(tmp_path / "net.pt", network)
    model = load(str(path), arch="test_resnet", device="cpu")
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}
    assert same_function(model, network.float(), 160)


def test_files_older_than_batchnorms_counter(tmp_path: Path) -> None:
    network = build("test_resnet")
    old = {name: tensor for name, tensor in network.state_dict().items() if "num_batches_tracked" not in name}
    assert len(old) < len(network.state_dict())
    torch.save(old, tmp_path / "old.pth")
    model = load(str(tmp_path / "old.pth"), arch="test_resnet", device="cpu")
    assert same_function(model, network, 160)


def test_a_deployment_file_is_fused_first(tmp_path: Path) -> None:
    network = build("mobileone_s0").eval()
    with torch.no_grad():  # statistics that make fusing a real change of the weights
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 2.0)
                module.running_mean.uniform_(-0.2, 0.2)
    fused = timm.utils.model.reparameterize_model(network)
    path = tmp_path / "net.safetensors"
    save_file(fused.state_dict(), path, metadata={"arch": "mobileone_s0"})
    model = load(str(path), device="cpu")
    assert any("fused" in note for note in model.record.notes)
    assert same_function(model, fused, 224)


BAD = {
    "another network": ("test_resnet", {}, "test_vit", {}, "does not fit the architecture 'test_vit'", "Check --arch"),
    "another width": (
        "mobilenetv2_035",
        {},
        "mobilenetv2_050",
        {},
        r"\d+ with another shape \(\S+ is \(\d+, .*\) in the file, \(\d+, .*\) in the network",
        "channel_multiplier",
    ),
    "another depth": ("test_vit", {"depth": 3}, "test_vit", {}, "36 missing in the file", "Some layers differ"),
    "another head": ("test_resnet", {}, "test_resnet", {"num_classes": 4}, "2 with another shape", "num_classes"),
    "no classifier": (
        "test_resnet",
        {"num_classes": 0},
        "test_resnet",
        {},
        "missing in the file",
        "Some layers differ",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_do_not_fit(case: str, tmp_path: Path) -> None:
    stored, stored_kwargs, arch, kwargs, message, hint = BAD[case]
    path = save(tmp_path / "net.pt", build(stored, **stored_kwargs))
    with pytest.raises(ModelError, match=message) as caught:
        load(str(path), arch=arch, kwargs=kwargs, device="cpu")
    assert hint in caught.value.hint
    assert "net.pt" in caught.value.message


def test_integers_are_not_weights(tmp_path: Path) -> None:
    state = {
        name: (t * 100).to(torch.int8) if t.ndim > 1 else t for name, t in build("test_resnet").state_dict().items()
    }
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"stored as torch\.int8"):
        load(str(tmp_path / "net.pt"), arch="test_resnet", device="cpu")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    network = build("test_resnet")
    with torch.no_grad():
        network.fc.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"NaN or infinite: fc\.weight"):
        load(str(save(tmp_path / "net.pt", network)), arch="test_resnet", device="cpu")


def test_activations_that_overflow(tmp_path: Path) -> None:
    network = build("test_resnet")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e30)
    with pytest.raises(ModelError, match="answers a test image with NaN or infinity"):
        load(str(save(tmp_path / "net.pt", network)), arch="test_resnet", device="cpu")


def test_a_feature_extractor_is_not_a_classifier(tmp_path: Path) -> None:
    network = build("test_resnet", num_classes=0, global_pool="")
    path = save(tmp_path / "net.pt", network)
    with pytest.raises(ModelError, match="not with at least two logits per image"):
        load(str(path), arch="test_resnet", kwargs={"num_classes": 0, "global_pool": ""}, device="cpu")


def test_an_image_size_the_network_refuses(tmp_path: Path) -> None:
    path = save(tmp_path / "net.pt", create("paper_cnn", {}))
    with pytest.raises(ModelError, match=r"does not fit.*classifier\.weight") as caught:
        load(str(path), arch="paper_cnn", overrides=PreprocessOverrides(img_size=64), device="cpu")
    assert caught.value.hint


def test_who_names_the_architecture(tmp_path: Path) -> None:
    network = build("test_resnet")
    bare = save(tmp_path / "bare.pt", network)
    assert load(str(bare), device="cpu").record.arch_origin == "identified by names and shapes of the weights"
    wrong = save(tmp_path / "wrong.pt", network, arch="test_resnett")
    found = load(str(wrong), device="cpu").record
    assert (found.arch, found.arch_origin) == ("test_resnet", "identified by names and shapes of the weights")
    assert "The file says 'test_resnett', which is unknown: identified instead." in found.notes
    corrected = load(str(wrong), arch="test_resnet", device="cpu")
    assert corrected.record.arch_origin == "--arch (the checkpoint says 'test_resnett')"


def test_a_file_that_names_what_nobody_knows(tmp_path: Path) -> None:
    own = save(tmp_path / "own.pt", torch.nn.Sequential(torch.nn.Linear(3, 4)), arch="resnet51")
    with pytest.raises(
        ModelError, match=r"own\.pt: Unknown architecture 'resnet51' \(checkpoint\), and .* none"
    ) as caught:
        load(str(own), device="cpu")
    assert "--arch overrules what the file says. Did you mean " in caught.value.hint
    assert "'resnet50'" in caught.value.hint
    narrow = create("mobilenet_edgetpu_100", {"channel_multiplier": 0.75})
    other = save(tmp_path / "other.pt", narrow, arch="MyNet")
    with pytest.raises(
        ModelError, match=r"'MyNet' \(checkpoint\)\. The names .* another width or input size"
    ) as caught:
        load(str(other), device="cpu")
    assert caught.value.hint.endswith("--arch overrules what the file says.")
    twins = save(tmp_path / "twins.pt", create("mobilenetv3_small_075", {}), arch="MyNet")
    with pytest.raises(ModelError, match=r"'MyNet' \(checkpoint\), and its weights fit several") as caught:
        load(str(twins), device="cpu")
    assert "--arch overrules" in caught.value.hint


@pytest.mark.parametrize("error", ["{}['logits']", "[][0]"])
def test_a_forward_that_looks_up_what_is_not_there(error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "looks.py").write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        f"        return {error}\n\ndef build():\n    return Net()\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="does not answer an image of 224x224 pixels"):
        load("looks.py:build", trust_code=True, device="cpu", overrides=PreprocessOverrides(mean=(0.5,), std=(0.5,)))


def test_an_argument_of_the_file_can_be_taken_out(tmp_path: Path) -> None:
    path = save(tmp_path / "net.pt", create("paper_cnn", {}), arch="paper_cnn", args={"drop": 0.5})
    with pytest.raises(ModelError, match=r"refuses drop_rate=0\.5") as caught:
        load(str(path), device="cpu")
    assert "drop_rate=none" in caught.value.hint
    assert load(str(path), kwargs={"drop_rate": None}, device="cpu").record.num_classes == 10


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("no/such/file.pt", "does not exist", "timm:NAME"),
        ("resnet18", "There is no file resnet18", "timm:resnet18"),
        ("openclip:ViT-B-32,openai", "models from 'openclip:' are not known", "'open_clip'"),
        ("timm:resnet188", "Unknown architecture 'resnet188'", "'resnet18'"),
        ("timm:resnet18.a9_in1k", "no weights with the tag 'a9_in1k'", "'a1_in1k'"),
        ("timm:paper_cnn", "no published weights", "--arch paper_cnn"),
    ],
)
def test_specs_that_name_nothing(spec: str, message: str, hint: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(spec, device="cpu")
    assert hint in caught.value.hint


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty local caches, and a hub that nobody answers for."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


def put_in_cache(hub: Path, repo: str, state: dict[str, Tensor]) -> None:
    """The layout of huggingface_hub's cache: refs/main names a snapshot."""
    folder = hub / f"models--{repo.replace('/', '--')}"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    save_file(state, folder / "snapshots" / "abc" / "model.safetensors")


@pytest.mark.parametrize("offline", [False, True])
def test_nothing_is_downloaded_without_being_asked(offline: bool, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    size = r"about 1\.48 MB: 0\.4 M parameters in float32"
    place = r"huggingface\.co/timm/test_vit\.r160_in1k \(licence: apache-2\.0\)"
    with pytest.raises(ModelError, match=f"{place}, {size}") as caught:
        load("timm:test_vit", device="cpu", allow_download=offline)
    assert ("HF_HUB_OFFLINE is set" if offline else "not in the local cache") in caught.value.message
    assert "--allow-download" in caught.value.hint
    assert "--arch test_vit" in caught.value.hint
    assert not hub.exists()


def test_weights_in_the_hubs_cache_are_used(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    network = build("test_vit", num_classes=1000)
    put_in_cache(hub, "timm/test_vit.r160_in1k", network.state_dict())
    model = load("timm:test_vit", device="cpu")
    record = model.record
    assert (record.source, record.name, record.arch, record.arch_origin) == ("timm", "test_vit", "test_vit", "name")
    assert (record.file, record.size_bytes, record.num_classes) == (None, None, 1000)
    assert same_function(model, network, 160)
    assert record.preprocess.geometry.crop_pct == 0.95
    # identity is that of the weights in memory
    again = load("timm:test_vit.r160_in1k", device="cpu")
    assert again.record.sha256 == record.sha256
    assert len(record.sha256) == 64

    smaller = load("timm:test_vit", overrides=PreprocessOverrides(img_size=96), kwargs={"drop_rate": 0.1}, device="cpu")
    assert smaller.record.preprocess.geometry.height == 96
    assert smaller.record.kwargs == {"drop_rate": 0.1}
    assert smaller.network.head_drop.p == 0.1
    with pytest.raises(ModelError, match="another head would be random"):
        load("timm:test_vit", kwargs={"num_classes": 10}, device="cpu")
    with pytest.raises(ModelError, match="cannot be loaded into 'test_vit'"):
        load("timm:test_vit", kwargs={"depth": 9}, device="cpu")
    with pytest.raises(UsageError, match="contradicts"):
        load("timm:test_vit", arch="test_resnet", device="cpu")


def test_damaged_weights_in_the_cache(hub: Path) -> None:
    network = build("test_vit", num_classes=1000)
    state = network.state_dict()
    state["head.bias"][3] = torch.inf
    put_in_cache(hub, "timm/test_vit.r160_in1k", state)
    with pytest.raises(ModelError, match=r"NaN or infinite: head\.bias"):
        load("timm:test_vit", device="cpu")


def test_weights_in_torch_hubs_cache_are_used(hub: Path, tmp_path: Path) -> None:
    network = timm.create_model("legacy_seresnet18").eval()
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    with pytest.raises(ModelError, match=r"seresnet18-4bb0ce65\.pth"):
        load("timm:legacy_seresnet18", device="cpu")
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "seresnet18-4bb0ce65.pth")
    model = load("timm:legacy_seresnet18", device="cpu")
    assert same_function(model, network, 64)


@pytest.fixture
def server(tmp_path: Path) -> object:
    """A web server over tmp_path/served."""
    (tmp_path / "served").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"))

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_allowed_downloads_land_in_the_cache(hub: Path, server: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "net.pth").write_bytes(b"weights")
    cfg = {**default_cfg("test_vit"), "hf_hub_id": None, "url": f"{server}/net.pth"}
    place = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    with pytest.raises(ModelError, match="nothing is downloaded without being asked to"):
        weights_file("test_vit", cfg, allow_download=False)
    assert not place.exists()
    told = (f"Fetched {server}/net.pth (7 bytes).",)
    assert weights_file("test_vit", cfg, allow_download=True) == (place, told)
    assert place.read_bytes() == b"weights"
    assert weights_file("test_vit", cfg, allow_download=True) == (place, ())
    gone = {**cfg, "url": f"{server}/gone.pth"}
    with pytest.raises(ModelError, match=r"could not be fetched from .*gone\.pth"):
        weights_file("test_vit", gone, allow_download=True)
    assert list(place.parent.iterdir()) == [place]
