"""Reduced precision: nearly the same answers from untouched weights, and never a silent float32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from model_networks import as_model, build

from spuraudit.errors import ModelError, UsageError
from spuraudit.models.loading import load
from spuraudit.models.model import Model
from spuraudit.models.precision import resolve_precision

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

SIDE = 64
CPU = torch.device("cpu")


def in_precision(model: Model, precision: str) -> Model:
    return replace(model, record=model.record.model_copy(update={"precision": precision}))


@pytest.fixture(scope="module")
def net() -> Model:
    """A ResNet with every kind of operation that autocast treats differently: convolution, norm, pooling, linear."""
    return as_model(build("test_resnet.r160_in1k"), SIDE)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_float32_is_the_bare_network(net: Model, pixels: Tensor) -> None:
    with torch.inference_mode():
        bare = net.network(net.normalise(pixels))
    assert torch.equal(net.logits(pixels), bare)


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_vit.r160_in1k"])
def test_bfloat16_answers_differ_slightly(name: str, pixels: Tensor) -> None:
    kwargs = {"img_size": SIDE} if "vit" in name else {}
    full = as_model(build(name, **kwargs), SIDE)
    exact, rounded = full.logits(pixels), in_precision(full, "bf16").logits(pixels)
    assert rounded.dtype == torch.float32
    # Between one and many roundings to 8 bits of mantissa, against the spread of the answers.
    error = (rounded - exact).abs().max() / (exact - exact.mean(dim=0)).abs().max()
    assert 1e-4 < error < 0.3
    assert (rounded.argmax(dim=1) == exact.argmax(dim=1)).float().mean() >= 0.9


def test_the_network_is_left_as_found(net: Model, pixels: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in net.network.state_dict().items()}
    types = {name: tensor.dtype for name, tensor in net.network.state_dict().items()}
    plain = net.logits(pixels)
    in_precision(net, "bf16").logits(pixels)
    after = net.network.state_dict()
    assert {name: tensor.dtype for name, tensor in after.items()} == types
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(net.logits(pixels), plain)


def test_computing_is_the_context_of_logits(net: Model, pixels: Tensor) -> None:
    rounded = in_precision(net, "bf16")
    with rounded.computing():
        inside = rounded.network(rounded.normalise(pixels))
        assert torch.is_inference_mode_enabled()
        assert (pixels[0, 0] @ pixels[0, 1]).dtype == torch.bfloat16
    assert not torch.is_inference_mode_enabled()
    assert inside.dtype == torch.bfloat16
    assert torch.equal(inside.float(), rounded.logits(pixels))
    with net.computing():
        assert (pixels[0, 0] @ pixels[0, 1]).dtype == torch.float32


def test_computing_ends_where_something_fails(net: Model) -> None:
    with pytest.raises(ZeroDivisionError), in_precision(net, "bf16").computing():
        raise ZeroDivisionError
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")


def test_float32_stays_float32_inside_autocast_of_the_caller(net: Model, pixels: Tensor) -> None:
    plain = net.logits(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.logits(pixels), plain)


@pytest.mark.parametrize("text", ["fp32", "bf16"])
def test_precisions_of_a_cpu(text: str) -> None:
    assert resolve_precision(text, CPU) == text


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="slower") as caught:
        resolve_precision("fp16", CPU)
    assert "bf16" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "float32", "fp8", "BF16", "int8"])
def test_unknown_words(text: str) -> None:
    with pytest.raises(UsageError, match="unknown") as caught:
        resolve_precision(text, CPU)
    assert "fp" in (caught.value.hint or "")


def test_a_device_without_the_type_is_refused() -> None:
    """`meta` tensors have no autocast at all: what PyTorch says there must not pass for an answer."""
    with pytest.raises(UsageError, match="does not compute in bf16"):
        resolve_precision("bf16", torch.device("meta"))


def checkpoint(folder: Path, scale: float = 1.0) -> str:
    network: nn.Module = build("test_resnet.r160_in1k")
    state = {name: tensor * scale if name == "fc.weight" else tensor for name, tensor in network.state_dict().items()}
    torch.save(state, folder / "net.pt")
    return str(folder / "net.pt")


def test_loading_records_the_precision(tmp_path: Path, pixels: Tensor) -> None:
    file = checkpoint(tmp_path)
    full = load(file, arch="test_resnet.r160_in1k", device="cpu")
    rounded = load(file, arch="test_resnet.r160_in1k", device="cpu", precision="bf16")
    assert (full.record.precision, rounded.record.precision) == ("fp32", "bf16")
    assert full.record.model_copy(update={"precision": "bf16"}) == rounded.record
    assert all(tensor.dtype == torch.float32 for tensor in rounded.network.parameters())
    assert not torch.equal(full.logits(pixels), rounded.logits(pixels))
    assert torch.equal(in_precision(full, "bf16").logits(pixels), rounded.logits(pixels))


def test_loading_refuses_before_it_reads_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown"):
        load(str(tmp_path / "missing.pt"), device="cpu", precision="half")
    with pytest.raises(ModelError, match="does not exist"):
        load(str(tmp_path / "missing.pt"), device="cpu", precision="bf16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_reduced_precision_on_a_gpu(pixels: Tensor, precision: str, dtype: torch.dtype) -> None:
    device = torch.device("cuda:0")
    assert resolve_precision(precision, device) == precision
    model = as_model(build("test_resnet.r160_in1k"), SIDE)
    on_gpu = replace(in_precision(model, precision), network=model.network.to(device), device=device)
    with on_gpu.computing():
        assert on_gpu.network(on_gpu.normalise(pixels.to(device))).dtype == dtype
    assert on_gpu.logits(pixels.to(device)).dtype == torch.float32
