"""Text heads of zero-shot models: computed once per text tower, class names and templates, and kept on disk.

1000 classes in 80 templates are 80,000 prompts: minutes on a CPU, once, and the same numbers every time. So a prompt is
encoded up to its end and no further where that is all the same, beside prompts of its length.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import TextTransformer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spuraudit.errors import ModelError, RunError
from spuraudit.models.weights import digest
from spuraudit.record.folder import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from spuraudit.models.request import Request
    from spuraudit.models.zero_shot import Prompts

    Tokenizer = Callable[[list[str]], Tensor]

_NAME = "head"
_BATCH = 256
#: More prompts than this take long enough on a CPU to say so.
_MANY = 2000


def cache_folder() -> Path | None:
    """Where heads are kept: under SPURAUDIT_CACHE, else the user's cache folder; None where there is no home."""
    own, general = os.environ.get("SPURAUDIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own) / "text_heads"
    try:
        return (Path(general) if general else Path.home() / ".cache") / "spuraudit" / "text_heads"
    except RuntimeError:
        return None


def text_head(
    text: Any, arch: str, config: Mapping[str, Any], tokenizer: Tokenizer, prompts: Prompts, request: Request
) -> Tensor:
    """(D, K) float32, the unit vectors of the classes: from disk, else computed and then kept.

    text: a model of open_clip without its image tower. arch, config: its architecture there. request: its device
    computes, and it is told where that takes long. The key holds all that the numbers depend on but the kind of
    device. A damaged file is computed again; a folder that cannot be written to is no error.
    Raises ModelError where the tokenizer cannot tell two names apart.
    """
    parts = {
        "weights": digest(text),
        "arch": arch,  # names the tokenizer
        "config": {name: value for name, value in config.items() if name != "vision_cfg"},
        "class_names": prompts.class_names,
        "templates": prompts.templates,
        "precision": "fp32",
        "open_clip": open_clip.__version__,
    }
    folder = cache_folder()
    if folder is None:
        return _computed(text, arch, tokenizer, prompts, request)
    path = folder / f"{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}.safetensors"
    head = _read(path, len(prompts.class_names))
    if head is None:
        head = _computed(text, arch, tokenizer, prompts, request)
        with suppress(RunError):
            write_bytes(path, save({_NAME: head}, metadata={"sha256": _sha256(head)}))
    return head


def _read(path: Path, classes: int) -> Tensor | None:
    """None where the file is absent or not what was written."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            head: Tensor = file.get_tensor(_NAME)
            stated = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, ValueError):
        return None
    whole = head.dtype == torch.float32 and head.ndim == 2 and head.shape[1] == classes and _sha256(head) == stated
    return head if whole else None


def _sha256(head: Tensor) -> str:
    return hashlib.sha256(head.contiguous().numpy().tobytes()).hexdigest()


def _computed(text: Any, arch: str, tokenizer: Tokenizer, prompts: Prompts, request: Request) -> Tensor:
    """Mean over templates of unit vectors, made unit again; sums in float64 on the CPU."""
    tokens, templates = tokenizer(prompts.texts), len(prompts.templates)
    _refuse_same(tokens[::templates], arch, prompts.class_names)
    if len(tokens) > _MANY:
        request.say(f"Encoding {len(tokens):,} prompts of {arch} on {request.device}; the result is kept on disk.")
    text = text.to(request.device)
    ends = _ends(text, tokens)
    lengths = torch.full((len(tokens),), tokens.shape[1]) if ends is None else ends
    total: Tensor | None = None
    with torch.no_grad():
        for chosen in torch.split(torch.argsort(lengths, stable=True), _BATCH):
            some = tokens[chosen].to(request.device)
            if ends is None:
                embedded = text.encode_text(some, normalize=True).cpu().double()
            else:
                embedded = _encode_cut(text, some[:, : int(lengths[chosen].max())]).cpu().double()
            if total is None:
                total = embedded.new_zeros(len(prompts.class_names), embedded.shape[1])
            total.index_add_(0, chosen // templates, embedded)
        assert total is not None  # there are at least two names and a template
        return F.normalize(total, dim=1).float().t().contiguous()


def _refuse_same(tokens: Tensor, arch: str, names: tuple[str, ...]) -> None:
    """Names that the tokenizer cannot tell apart would always answer the first. tokens: (K, context)."""
    seen: dict[bytes, str] = {}
    for name, row in zip(names, tokens.numpy(), strict=True):
        other = seen.setdefault(row.tobytes(), name)
        if other != name:
            raise ModelError(
                f"The class names {other[:80]!r} and {name[:80]!r} are the same to the tokenizer of {arch}.",
                "It may ignore case, and it cuts long texts: tell the names apart by other, earlier words.",
            )


def _tower(text: Any) -> tuple[str, Any]:
    """Prefix of the text tower's tensors, and what holds them."""
    return ("text.", text.text) if hasattr(text, "text") else ("", text)


def _ends(text: Any, tokens: Tensor) -> Tensor | None:
    """Tokens of each prompt up to its end (N,), where nothing behind it can matter; else None.

    Under a causal mask the end token sees what stands before it, and the pooling reads the end token alone.
    """
    tower = _tower(text)[1]
    if type(text) is open_clip.CLIP:
        pooling = tower.text_pool_type
    elif type(text) is open_clip.CustomTextCLIP and type(tower) is TextTransformer and tower.cls_emb is None:
        pooling = tower.pool_type
    else:
        return None
    return tokens.argmax(dim=1) + 1 if pooling == "argmax" and tower.attn_mask is not None else None


def _encode_cut(text: Any, tokens: Tensor) -> Tensor:
    """encode_text of (B, L) ids, L up to the context, to which the tower's tables are cut -> (B, D) unit vectors."""
    prefix, tower = _tower(text)
    length = tokens.shape[1]
    tables = {
        f"{prefix}positional_embedding": tower.positional_embedding[:length],
        f"{prefix}attn_mask": tower.attn_mask[:length, :length],
    }
    answer: tuple[Any, Tensor, Tensor] = torch.func.functional_call(text, tables, kwargs={"text": tokens})
    return answer[1]
