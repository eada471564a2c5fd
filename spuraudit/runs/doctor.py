"""What a machine has for scans: packages, devices, caches, disk. Imports nothing heavy, and torch for devices alone.

Whatever is broken is a line of the answer and never an exception: who asks has a machine on which something is wrong.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spuraudit import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

Status = Literal["ok", "missing", "warning"]

#: Free space below which a run folder of a large dataset may not fit, bytes.
LEAST_FREE = 2_000_000_000
#: As huggingface_hub reads its switches.
_YES = frozenset({"1", "true", "yes", "on"})
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Check:
    """One line. `hint`: the way out where the status is not ok; `blocks`: no scan can run while it is so."""

    topic: str
    name: str
    status: Status
    found: str
    hint: str = ""
    blocks: bool = False


def devices() -> list[Check]:
    """CPU, CUDA devices with their memory, Apple's GPU, as torch sees them."""
    cores, usable = os.cpu_count() or 1, _usable_cores()
    shown = f"{cores} cores" + (f", {usable} usable by this process" if usable != cores else "")
    try:
        import torch
    except Exception as error:  # a broken installation raises ImportError, OSError or its own kinds
        return [
            Check("devices", "CPU", "ok", shown),
            Check(
                "devices",
                "torch",
                "missing",
                f"cannot be imported ({first_line(error)})",
                "Install it again: pip install --force-reinstall torch",
                blocks=True,
            ),
        ]
    asked = os.environ.get("OMP_NUM_THREADS")
    threads = f"{torch.get_num_threads()} torch threads" + (f" (OMP_NUM_THREADS={asked})" if asked else "")
    return [Check("devices", "CPU", "ok", f"{shown}, {threads}"), *_cuda(torch), *_apple(torch)]


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _cuda(torch: ModuleType) -> Iterator[Check]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = f" (CUDA_VISIBLE_DEVICES={visible!r})" if visible is not None else ""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        found = torch.cuda.get_device_properties(index)
        yield Check("devices", f"cuda:{index}", "ok", f"{found.name}, {size_text(found.total_memory)}{limited}")
    if count:
        return
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        built = torch.version.cuda
        why = f"torch {torch.__version__} is built for CUDA {built}" if built else "this torch is built without CUDA"
        hint = "Install the torch build that fits the driver (pytorch.org), or go on with --device cpu."
        yield Check("devices", "CUDA", "warning", f"a driver is here, but torch sees no device: {why}{limited}", hint)
    else:
        hint = "Nothing to do: scans run on the CPU, only slower."
        yield Check("devices", "CUDA", "missing", f"no device{limited}", hint)


def _apple(torch: ModuleType) -> Iterator[Check]:
    if torch.backends.mps.is_available():
        yield Check("devices", "MPS", "ok", "Apple's GPU can be used")
    elif platform.system() == "Darwin":
        hint = "It needs macOS 12.3 and an arm64 build of torch; scans run on the CPU."
        yield Check("devices", "MPS", "missing", "not available", hint)


def hub_folder() -> Path:
    """The cache of the Hugging Face hub, as huggingface_hub finds it."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return _expanded(named) if named else hub_home() / "hub"


def hub_home() -> Path:
    """HF_HOME, else its place in the user's cache folder."""
    named = os.environ.get("HF_HOME")
    return _expanded(named) if named else _cache() / "huggingface"


def torch_folder() -> Path:
    """Where torch.hub, and timm for weights that are not on the hub, keep checkpoints."""
    named = os.environ.get("TORCH_HOME")
    return (_expanded(named) if named else _cache() / "torch") / "hub" / "checkpoints"


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME")
    return _expanded(named) if named else Path("~/.cache").expanduser()


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def caches() -> list[Check]:
    """Whether downloads are forbidden, and which weights are here already."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    forbidden = [name for name in names if os.environ.get(name, "").strip().lower() in _YES]
    state = (
        f"downloads are forbidden ({' and '.join(forbidden)})" if forbidden else "downloads only by --allow-download"
    )
    return [
        Check("weights", "offline", "ok", state),
        _folder("Hugging Face cache", hub_folder(), "models--*", "model"),
        _folder("torch cache", torch_folder(), "*.*", "file"),
        Check("weights", "hub token", "ok", "set" if _token() else "not set; public models need none"),
    ]


def _token() -> bool:
    """Whether there is one. It is never read: a size says it."""
    if any(os.environ.get(name, "").strip() for name in _TOKENS):
        return True
    named = os.environ.get("HF_TOKEN_PATH")
    file = _expanded(named) if named else hub_home() / "token"
    return file.is_file() and file.stat().st_size > 0


def _folder(name: str, folder: Path, pattern: str, unit: str) -> Check:
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    if not found:
        hint = "Published weights are fetched with --allow-download; checkpoint files need none."
        return Check("weights", name, "missing", f"{folder}: nothing is there", hint)
    several = "" if len(found) == 1 else "s"
    return Check("weights", name, "ok", f"{folder}: {len(found)} {unit}{several}, {size_text(_bytes(found))}")


def _bytes(paths: Iterable[Path]) -> int:
    """Of files, and of files below folders; links of the hub's cache count once, where they lead to."""
    total = 0
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        total += sum(file.lstat().st_size for file in inside if not file.is_symlink() and file.is_file())
    return total


def disk(folders: Mapping[str, Path]) -> list[Check]:
    """Free space of each folder's disk, and whether it can be written to. folders: what lies there -> folder."""
    return [_disk(name, folder) for name, folder in folders.items()]


def _disk(name: str, folder: Path) -> Check:
    place = next((one for one in (folder, *folder.absolute().parents) if one.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    text = f"{folder}: {size_text(free)} free"
    if not os.access(place, os.W_OK):
        return Check("disk", name, "warning", f"{text}, not writable", "Choose a writable folder with -o.")
    if free < LEAST_FREE:
        hint = "Free some space: a scan of 50,000 images writes up to a few GB of observations."
        return Check("disk", name, "warning", text, hint)
    return Check("disk", name, "ok", text)


def versions() -> list[Check]:
    """Python and spuraudit; the packages are in `runs.packages`."""
    return [
        Check("versions", "python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        Check("versions", "spuraudit", "ok", __version__),
    ]


def size_text(count: int) -> str:
    """Bytes in decimal units, such as 14.2 GB."""
    number, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.3g} {unit}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, else its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
