"""DINO, MoCo v3 and SimCLR: random files of the published names and shapes, against networks computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from spuraudit.errors import ModelError
from spuraudit.models.adapters import BUILDERS
from spuraudit.models.adapters.mocov3 import position_table
from spuraudit.record.zoo_schema import ADAPTERS

State = dict[str, Tensor]
VIT_S, VIT_B = 384, 768


def normal(*shape: int, scale: float = 0.05) -> Tensor:
    return torch.randn(*shape) * scale


def vit_state(width: int, patch: int, positions: Tensor | None = None) -> State:
    """The names and shapes of a ViT without head, as in DINO's and timm 0.4.9's vision_transformer.py."""
    tokens = 1 + (224 // patch) ** 2
    state = {
        "cls_token": normal(1, 1, width),
        "pos_embed": normal(1, tokens, width) if positions is None else positions,
        "patch_embed.proj.weight": normal(width, 3, patch, patch),
        "patch_embed.proj.bias": normal(width),
    }
    for block in range(12):
        layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for norm in ("norm1", "norm2"):
            state[f"blocks.{block}.{norm}.weight"] = 1 + normal(width)
            state[f"blocks.{block}.{norm}.bias"] = normal(width)
        for layer, shape in layers.items():
            state[f"blocks.{block}.{layer}.weight"] = normal(*shape)
            state[f"blocks.{block}.{layer}.bias"] = normal(shape[0])
    state["norm.weight"], state["norm.bias"] = 1 + normal(width), normal(width)
    return state


def vit_blocks(state: State, images: Tensor, heads: int) -> list[Tensor]:
    """The tokens after every block, written out: (B, tokens, width) each."""
    width = state["cls_token"].shape[-1]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    kernel = state["patch_embed.proj.weight"]
    patches = F.conv2d(images, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1])
    x = torch.cat([state["cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT], 1) + state["pos_embed"]
    seen = []
    for block in range(12):
        here = f"blocks.{block}"
        qkv = linear(norm(x, f"{here}.norm1"), f"{here}.attn.qkv")
        q, k, v = qkv.reshape(*x.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT * (width // heads) ** -0.5).softmax(-1)
        x = x + linear((attention @ v).transpose(1, 2).flatten(2), f"{here}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{here}.norm2"), f"{here}.mlp.fc1")), f"{here}.mlp.fc2")
        seen.append(norm(x, "norm"))
    return seen


def resnet_state() -> State:
    """torchvision's ResNet-50, every norm with statistics of its own."""
    network = torchvision.models.resnet50()
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.copy_(torch.rand_like(tensor) * 0.5 + 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(torch.randn_like(tensor) * 0.1)
    return dict(network.state_dict())


def torchvision_answer(state: State, images: Tensor, pool: nn.Module | None = None) -> Tensor:
    network = torchvision.models.resnet50().eval()
    network.load_state_dict(state)
    if pool is not None:
        network.maxpool = pool
    answer: Tensor = network(images)
    return answer


def save(content: object, file: Path) -> Path:
    torch.save(content, file)
    return file


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.05, "a replica that answers the same to everything proves nothing"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 224, 224)


def module(state: State, inner: str = "") -> State:
    """As DistributedDataParallel names it."""
    return {f"module.{inner}{name}": tensor for name, tensor in state.items()}


def test_every_adapter_of_the_schema_has_a_builder() -> None:
    assert set(BUILDERS) == set(ADAPTERS)


@pytest.mark.parametrize(("arch", "patch"), [("vits16", 16), ("vits8", 8)])
@torch.no_grad()
def test_dino_vit_reads_the_class_tokens_of_four_blocks(tmp_path: Path, arch: str, patch: int, images: Tensor) -> None:
    images = images[:1] if patch == 8 else images
    state = vit_state(VIT_S, patch)
    weight, bias = normal(1000, 4 * VIT_S), normal(1000)
    head = {"epoch": 100, "state_dict": {"module.linear.weight": weight, "module.linear.bias": bias}, "best_acc": 77.0}
    files = {
        "backbone": save(state, tmp_path / f"dino_deitsmall{patch}_pretrain.pth"),
        "head": save(head, tmp_path / f"dino_deitsmall{patch}_linearweights.pth"),
    }
    adapted = BUILDERS["dino"](arch, files)
    tokens = torch.cat([block[:, 0] for block in vit_blocks(state, images, heads=6)[-4:]], dim=-1)
    assert_same(adapted.network.eval()(images), tokens @ weight.mT + bias)
    assert adapted.fixed_size
    assert adapted.network.get_classifier().weight.shape == (1000, 1536)  # type: ignore[operator]
    assert [checkpoint.file for checkpoint in adapted.checkpoints] == [files["backbone"].name, files["head"].name]


@torch.no_grad()
def test_dino_resnet_reads_the_pooled_features(tmp_path: Path, images: Tensor) -> None:
    state = resnet_state()
    weight, bias = state.pop("fc.weight"), state.pop("fc.bias")
    files = {
        "backbone": save(state, tmp_path / "dino_resnet50_pretrain.pth"),
        "head": save({"state_dict": module({"weight": weight, "bias": bias}, "linear.")}, tmp_path / "head.pth"),
    }
    adapted = BUILDERS["dino"]("resnet50", files)
    expected = torchvision_answer({**state, "fc.weight": weight, "fc.bias": bias}, images)
    assert_same(adapted.network.eval()(images), expected)


@pytest.mark.parametrize(
    ("arch", "width"), [("vit_small", VIT_S), pytest.param("vit_base", VIT_B, marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_mocov3_vits_have_twelve_heads(tmp_path: Path, arch: str, width: int, images: Tensor) -> None:
    state = vit_state(width, 16, position_table(14, width))
    head = {"head.weight": normal(1000, width), "head.bias": normal(1000)}
    content = {"epoch": 90, "arch": arch, "state_dict": module({**state, **head}), "best_acc1": torch.tensor(73.2)}
    adapted = BUILDERS["mocov3"](arch, {"file": save(content, tmp_path / "linear.pth.tar")})
    features = vit_blocks(state, images, heads=12)[-1][:, 0]
    assert_same(adapted.network.eval()(images), features @ head["head.weight"].mT + head["head.bias"])
    assert adapted.fixed_size
    if arch == "vit_small":
        six = vit_blocks(state, images, heads=6)[-1][:, 0]
        assert (six - features).abs().max() > 0.01, "the number of heads matters, though no tensor shows it"


def test_mocov3_positions_are_those_of_its_code() -> None:
    side, width, temperature = 14, VIT_S, 10000.0
    grid_w, grid_h = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    omega = 1.0 / temperature ** (torch.arange(width // 4).float() / (width // 4))
    out_w = torch.einsum("m,d->md", grid_w.flatten(), omega)
    out_h = torch.einsum("m,d->md", grid_h.flatten(), omega)
    literal = torch.cat([torch.sin(out_w), torch.cos(out_w), torch.sin(out_h), torch.cos(out_h)], dim=1)
    torch.testing.assert_close(position_table(side, width)[0, 1:], literal)
    assert position_table(side, width)[0, 0].abs().max() == 0


@torch.no_grad()
def test_mocov3_resnet_is_torchvisions(tmp_path: Path, images: Tensor) -> None:
    state = resnet_state()
    content = {"arch": "resnet50", "state_dict": module(state)}
    adapted = BUILDERS["mocov3"]("resnet50", {"file": save(content, tmp_path / "linear-1000ep.pth.tar")})
    assert_same(adapted.network.eval()(images), torchvision_answer(state, images))
    assert not adapted.fixed_size


class SamePool(nn.Module):
    """tf.layers.max_pooling2d(pool_size=3, strides=2, padding='SAME')."""

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        total = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
        before, after = total // 2, total - total // 2
        return F.max_pool2d(F.pad(x, (before, after, before, after), value=-torch.inf), 3, 2)


def tensorflow_variables(state: State) -> State:
    """The variables of simclr's resnet.py, numbered as its layers are made; the table of 53 written out by rule."""
    order = [("conv1", "bn1")]
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            here = f"layer{stage}.{block}."
            order += [(f"{here}downsample.0", f"{here}downsample.1")] if block == 0 else []
            order += [(f"{here}conv{part}", f"{here}bn{part}") for part in (1, 2, 3)]
    assert len(order) == 53
    found = {"head_supervised/linear_layer/dense/kernel": state["fc.weight"].T.contiguous()}
    found["head_supervised/linear_layer/dense/bias"] = state["fc.bias"]
    found["head_supervised/linear_layer/dense/bias/Momentum"] = torch.zeros(1000)
    for number, (convolution, norm) in enumerate(order):
        suffix = f"_{number}" if number else ""
        kernel = state[f"{convolution}.weight"].permute(2, 3, 1, 0)
        found[f"base_model/conv2d{suffix}/kernel"] = kernel.contiguous()
        here = f"base_model/batch_normalization{suffix}"
        found[f"{here}/gamma"], found[f"{here}/beta"] = state[f"{norm}.weight"], state[f"{norm}.bias"]
        found[f"{here}/moving_mean"] = state[f"{norm}.running_mean"]
        found[f"{here}/moving_variance"] = state[f"{norm}.running_var"]
    return found


def test_the_simclr_replica_numbers_layers_as_the_checkpoint_does() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensorflow_variables(resnet_state()).items()}
    for number, shape in {
        "": (7, 7, 3, 64), "_1": (1, 1, 64, 256), "_2": (1, 1, 64, 64), "_3": (3, 3, 64, 64), "_4": (1, 1, 64, 256),
        "_5": (1, 1, 256, 64), "_11": (1, 1, 256, 512), "_24": (1, 1, 512, 1024), "_43": (1, 1, 1024, 2048),
        "_44": (1, 1, 1024, 512), "_52": (1, 1, 512, 2048),
    }.items():  # fmt: skip
        assert shapes[f"base_model/conv2d{number}/kernel"] == shape


@pytest.mark.parametrize("kind", ["safetensors", "converter"])
@torch.no_grad()
def test_simclr_pools_as_tensorflow_does(tmp_path: Path, kind: str, images: Tensor) -> None:
    state = resnet_state()
    if kind == "safetensors":
        file = tmp_path / "simclr_resnet50_1x.safetensors"
        save_file(tensorflow_variables(state), str(file))
    else:
        file = save({"state_dict": state}, tmp_path / "resnet50-1x.pth")
    adapted = BUILDERS["simclr"]("resnet50_1x", {"file": file})
    network = adapted.network.eval()
    assert_same(network(images), torchvision_answer(state, images, SamePool()))
    assert (network(images) - torchvision_answer(state, images)).abs().max() > 1e-3
    odd = images[..., :221, :221]
    assert_same(network(odd), torchvision_answer(state, odd, SamePool()))
    assert (adapted.cfg["mean"], adapted.cfg["std"]) == ((0, 0, 0), (1, 1, 1))
    assert any("fc.bias" in note for note in adapted.notes) == (kind == "converter")


def dino_files() -> tuple[State, State]:
    backbone = vit_state(VIT_S, 16)
    return backbone, {"module.linear.weight": normal(1000, 1536), "module.linear.bias": normal(1000)}


@pytest.mark.parametrize(
    ("wrong", "message", "hint"),
    [
        (
            "swapped",
            r"a\.pth is no linear head for 1536 features: it holds cls_token",
            "dino_deitsmall16_linearweights",
        ),
        ("patch", r"patch_embed\.proj\.weight is \(384, 3, 16, 16\) in the file", "deitsmall8_pretrain"),
        (
            "width",
            r"holds linear\.weight \(1000, 384\), linear\.bias \(1000,\), not linear\.weight \(classes, 1536\)",
            "",
        ),
        ("training", r"unknown to the network \(head\.mlp\.0\.weight\)", "deitsmall16_pretrain"),
        ("missing", r"1 missing in the file \(blocks\.11\.mlp\.fc2\.bias\)", "deitsmall16_pretrain"),
    ],
)
def test_wrong_dino_files_are_refused(tmp_path: Path, wrong: str, message: str, hint: str) -> None:
    backbone, head = dino_files()
    if wrong == "width":
        head["module.linear.weight"] = normal(1000, 384)
    elif wrong == "training":
        backbone["head.mlp.0.weight"] = normal(8, 384)
    elif wrong == "missing":
        del backbone["blocks.11.mlp.fc2.bias"]
    files = {
        "backbone": save(backbone, tmp_path / "a.pth"),
        "head": save({"state_dict": head}, tmp_path / "b.pth"),
    }
    if wrong == "swapped":
        files = {"backbone": files["head"], "head": files["backbone"]}
    with pytest.raises(ModelError, match=message) as error:
        BUILDERS["dino"]("vits8" if wrong == "patch" else "vits16", files)
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("learned positions", r"pos_embed is not MoCo v3's fixed sin-cos table \(largest difference"),
        ("another arch", "says of itself that it is a 'vit_base', not a 'vit_small'"),
        ("encoder alone", r"holds no linear classifier \(head\.weight and head\.bias\): it begins with cls_token"),
        ("no positions", r"1 missing in the file \(pos_embed\)"),
        ("narrower", r"with another shape \(cls_token is \(1, 1, 192\) in the file"),
    ],
)
def test_wrong_mocov3_files_are_refused(tmp_path: Path, wrong: str, message: str) -> None:
    width = 192 if wrong == "narrower" else VIT_S
    state = vit_state(width, 16, None if wrong == "learned positions" else position_table(14, width))
    if wrong == "no positions":
        del state["pos_embed"]
    if wrong != "encoder alone":
        state |= {"head.weight": normal(1000, width), "head.bias": normal(1000)}
    content = {"state_dict": module(state)} | ({"arch": "vit_base"} if wrong == "another arch" else {})
    with pytest.raises(ModelError, match=message) as error:
        BUILDERS["mocov3"]("vit_small", {"file": save(content, tmp_path / "x.pth.tar")})
    assert "linear-vit-s-300ep.pth.tar" in str(error.value.hint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"1 missing \(base_model/conv2d_52/kernel\)"),
        ("unknown", r"1 unknown \(head_contrastive/nl_0/dense/kernel\)"),
        ("wide", r"with another shape \(conv1\.weight is \(128, 3, 7, 7\) in the file"),
        ("torchvision", r"1 missing in the file \(layer4\.2\.conv3\.weight\)"),
    ],
)
def test_wrong_simclr_files_are_refused(tmp_path: Path, change: str, message: str) -> None:
    state = resnet_state()
    found = dict(state) if change == "torchvision" else tensorflow_variables(state)
    if change == "missing":
        del found["base_model/conv2d_52/kernel"]
    elif change == "unknown":
        found["head_contrastive/nl_0/dense/kernel"] = normal(2048, 8)
    elif change == "wide":
        found["base_model/conv2d/kernel"] = normal(7, 7, 3, 128)
    else:
        del found["layer4.2.conv3.weight"]
    with pytest.raises(ModelError, match=message) as error:
        BUILDERS["simclr"]("resnet50_1x", {"file": save(found, tmp_path / "x.pth")})
    assert "google-research/simclr" in str(error.value.hint)
