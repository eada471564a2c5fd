"""Which numbers a network computes with: float32, or bfloat16 and float16 where autocast deems them safe."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, cast, get_args

import torch

from spuraudit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

Precision = Literal["fp32", "bf16", "fp16"]
_REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(text: str, device: torch.device) -> Precision:
    """'fp32', 'bf16' or 'fp16' -> the same, once it is sure that the device computes with it.

    Raises UsageError for other words, for float16 on a CPU, and where this device or this version of PyTorch lacks the
    type.
    """
    known = get_args(Precision)
    if text not in known:
        raise UsageError(f"The precision {text!r} is unknown.", did_you_mean(text, known) or "Use fp32, bf16 or fp16.")
    precision = cast("Precision", text)
    if precision == "fp16" and device.type == "cpu":
        # PyTorch would do it. Without special instructions it emulates: timm's resnet18 took 35 times, ViT-Ti/16 5
        # times as long as in float32 on an AVX-512 machine (torch 2.14), where bfloat16 took half of float32's time.
        raise UsageError(
            "float16 on a CPU is slower than float32, by a factor of 5 to 35 on most machines.",
            "Use --precision bf16, which is faster, or a GPU.",
        )
    if precision in _REDUCED and not _computes(precision, device):
        other = "fp16 or fp32" if precision == "bf16" and device.type != "cpu" else "fp32"
        raise UsageError(
            f"PyTorch {torch.__version__} does not compute in {precision} on {device} here.",
            f"Use --precision {other}.",
        )
    return precision


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Inference in this precision, with the same algorithms in every run.

    For 'fp32' no TF32 in convolutions, and no autocast that the caller may have open; else torch.autocast: matrix
    products and convolutions in the reduced type, the rest as torch deems safe. The weights stay as they are.
    """
    with torch.inference_mode(), _autocast(precision, device):
        if device.type == "cuda":
            # cuDNN would choose algorithms by timing them, and run float32 convolutions in TF32.
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                yield
        else:
            yield


def _autocast(precision: Precision, device: torch.device) -> torch.autocast:
    dtype = _REDUCED.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def _computes(precision: Precision, device: torch.device) -> bool:
    """Whether a product comes out in the type asked for: where autocast cannot have it, it only warns and goes on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with computing_in(precision, device):
                product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    except (RuntimeError, TypeError):
        return False
    return product.dtype == _REDUCED[precision]
