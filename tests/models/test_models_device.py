from __future__ import annotations

import pytest
import torch

from spuraudit.errors import UsageError
from spuraudit.models.device import resolve_device


def test_devices_that_exist() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    torch.zeros(1, device=resolve_device("auto"))


@pytest.mark.parametrize("text", ["gpu", "", "cuda:", "cuda:x", "CPU", "cpu:0"])
def test_unknown_words(text: str) -> None:
    with pytest.raises(UsageError, match="unknown") as caught:
        resolve_device(text)
    assert "cuda:N" in caught.value.hint


def test_a_device_that_is_not_here() -> None:
    with pytest.raises(UsageError, match="PyTorch sees"):
        resolve_device("cuda:99")
    if not torch.backends.mps.is_available():
        with pytest.raises(UsageError, match="not available"):
            resolve_device("mps")
