"""Which device a network runs on."""

from __future__ import annotations

import re

import torch

from spuraudit.errors import UsageError


def resolve_device(text: str) -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:N' or 'mps' -> a device that exists here.

    'auto' takes the first CUDA device, else Apple's GPU, else the CPU.
    Raises UsageError for other words and for devices that this machine lacks.
    """
    if text == "cpu":
        return torch.device("cpu")
    if text == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if text == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("The device 'mps' is not available on this machine.", "Use --device cpu or auto.")
        return torch.device("mps")
    cuda = re.fullmatch(r"cuda(?::(\d+))?", text)
    if cuda is None:
        raise UsageError(f"The device {text!r} is unknown.", "Use auto, cpu, cuda, cuda:N or mps.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(cuda.group(1) or 0)
    if index >= count:
        seen = f"PyTorch sees {count} CUDA device{'s' if count != 1 else ''} here"
        raise UsageError(f"The device {text!r} is not available: {seen}.", "Use --device cpu or auto.")
    return torch.device(f"cuda:{index}")
