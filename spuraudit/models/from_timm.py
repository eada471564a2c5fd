"""timm:NAME -> a draft with the published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spuraudit.errors import UsageError
from spuraudit.models.architectures import check_kwargs, default_cfg
from spuraudit.models.preprocess import resolve
from spuraudit.models.request import Draft, asked_size
from spuraudit.models.timm_weights import create_pretrained
from spuraudit.models.weights import digest
from spuraudit.models.zero_shot import refuse_text_options

if TYPE_CHECKING:
    from spuraudit.models.request import Request


def draft_from_timm(name: str, request: Request) -> Draft:
    """timm's network `name` (architecture, or architecture.tag). Raises ModelError, UsageError."""
    if request.arch is not None and request.arch != name:
        raise UsageError(
            f"timm:{name} names its architecture; --arch {request.arch} contradicts it.", "Leave --arch out."
        )
    refuse_text_options(request)
    cfg = default_cfg(name)
    check_kwargs(name, request.kwargs)
    asked = asked_size(request)
    kwargs: dict[str, Any] = dict(request.kwargs)
    if asked is not None and cfg.get("fixed_input_size"):
        kwargs["img_size"] = asked.size
    network, notes = create_pretrained(name, kwargs, request.allow_download)
    preprocess = resolve(
        cfg,
        cfg_origin="timm",
        overrides=request.overrides,
        built_for=asked.size if asked else None,
        built_for_origin=asked.origin if asked else "",
    )
    identity = {
        "name": name,
        "source": "timm",
        "sha256": digest(network),
        "arch": name,
        "arch_origin": "name",
        "kwargs": dict(request.kwargs),
    }
    return Draft(network, preprocess, identity, notes)
